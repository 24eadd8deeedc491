// Judges: what each scores, what that costs, whether its scores teach, and what it says of the arms.
import { html } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { hueOf } from "../colours.js";
import { compact, count, percent, query, reward as number, usd } from "../format.js";
import { Arm, Card, Command, Interval, plural, ShareBar, Tile, Waiting } from "../ui.js";
import { Comparisons } from "./comparisons.js";

export function Judges({ policy }) {
  const found = usePoll("v1/judges", { every: 10_000 });
  const savings = usePoll(`v1/savings?${query({ policy })}`, { every: 30_000 });
  if (!found.data) return html`<${Waiting} poll=${found} what="judges" />`;
  const judges = found.data.judges.filter((one) => !one.policies.length || one.policies.includes(policy));
  const taken = savings.data?.words.judges;
  if (!judges.length) {
    return html`<${Card} title="No judge scores answers here">
      <p>People rate few answers. A judge, another model or a program of yours, scores a share of what the gateway answered, and its scores teach like other rewards. Name one below <code>judges</code> in the configuration:</p>
      <${Command} text=${"judges:\n  quality:\n    upstream: openai\n    model: gpt-5.2-mini\n    share: 0.05\n    usd_per_day: 5"} /><//>`;
  }
  return html`${taken && html`<p class="advice" id="taken">${taken}</p>`}
    ${judges.map((one) => html`<${Judge} key=${one.judge} judge=${one} policy=${policy} />`)}`;
}

/** In two words whether its scores teach: [words, tone]. */
function standing(judge) {
  if (!judge.counts) return ["not trusted", "bad"];
  return judge.labels >= judge.labels_needed ? ["trusted", "good"] : ["not tested yet", "plain"];
}

function Judge({ judge, policy }) {
  const [words, tone] = standing(judge);
  const who = judge.model ? `${judge.model} of ${judge.upstream}` : "called by a client of yours";
  const comparisons = judge.comparisons.filter((one) => one.policy === policy);
  return html`<section class="judge" aria-label=${`Judge ${judge.judge}`}>
    <${Card} title=${judge.judge} side=${html`<span class="badge ${tone}">${words}</span>`} note=${`${who}. It scores ${percent(judge.share)} of the answers ${judge.policies.length ? `of ${judge.policies.join(", ")}` : "of every policy"}, drawn by a coin.`}>
      <p class="verdict">${judge.words}</p>
      <div class="tiles inner">
        <${Tile} label="Scored" value=${compact(judge.judged)} sub=${`of ${compact(judge.sampled)} drawn`} />
        <${Tile} label="Waiting" value=${count(judge.waiting)} sub=${`${count(judge.leased)} being scored; ${count(judge.failed)} failed, ${count(judge.dropped)} dropped`} />
        <${Tile} label="Spent today" value=${usd(judge.spend_day_usd)} sub=${`${judge.usd_per_day === null ? "no limit" : `of ${usd(judge.usd_per_day)}`}; ${usd(judge.spend_usd)} in all, taken off savings`} />
        <${Tile} label="Mean score" value=${number(judge.mean_score)} sub="of the newest, each weighing as in the traffic" />
      </div>
      <div class="grid two"><${Trust} judge=${judge} /><${People} judge=${judge} /></div>
    <//>
    ${judge.by_arm.length > 0 && html`<${ByArm} judge=${judge} />`}
    ${judge.probes && html`<${Probes} judge=${judge} />`}
    ${comparisons.map((one) => html`<${Comparisons} key=${one.baseline} one=${one} />`)}
  </section>`;
}

/** Evidence by its logarithm, as a share of what is needed. */
const partOf = ({ evidence, needed }) => Math.min(Math.max(Math.log(Math.max(evidence, 1)) / Math.log(needed), 0), 1);

function Trust({ judge }) {
  const share = partOf(judge.favour);
  return html`<div><h3>Does it teach?</h3><p>${judge.trust}</p>
    ${judge.counts && html`<${ShareBar} share=${share} hue=${share > 0.5 ? "bad" : "accent"} label=${`${judge.favour.evidence.toPrecision(2)} of ${count(judge.favour.needed)}`} /><p class="keys">evidence that it favours a model; at the end it is looked at closely</p>`}</div>`;
}

function People({ judge }) {
  const agrees = judge.agreement === null ? "People have labelled none of these answers yet." : `It agrees with people on ${percent(judge.agreement, 0)} of ${plural(judge.labels, "labelled answer")}.`;
  if (!judge.people) return html`<div><h3>What people would say</h3><p>${agrees} ${judge.labels > 0 ? "Ten labels give an interval." : ""}</p></div>`;
  const { mean, interval, worth } = judge.people;
  return html`<div><h3>What people would say</h3><p>${agrees} Of all answers they would say <b class="num">${number(mean)}</b>, between ${number(interval[0])} and ${number(interval[1])} (95 %), worth ${count(worth)} labels without the judge.</p>
    <${Interval} mean=${mean} pair=${interval} hue="accent" mark=${judge.mean_score} /><p class="keys">from 0 to 1; the mark is the judge's own mean</p></div>`;
}

const signed = (v) => (v === null ? "–" : `${v < 0 ? "−" : "+"}${number(Math.abs(v))}`);

const ByArm = ({ judge }) => html`<${Card} title="By model" note="Of the newest 5,000 answers that were served and scored. Beyond people: its score less theirs, where both have scored; the same for all models does no harm.">
  <div class="scroll" tabindex="0" role="region" aria-label=${`Scores of ${judge.judge} by model`}><table class="compact">
    <thead><tr><th scope="col">Model</th><th scope="col" class="right">Scored</th><th scope="col" class="right">Mean</th><th scope="col">From 0 to 1</th><th scope="col" class="right">Labels</th><th scope="col" class="right">Beyond people</th></tr></thead><tbody>
    ${judge.by_arm.map((one) => html`<tr key=${one.arm}><th scope="row"><${Arm} name=${one.arm} mark /></th><td class="num right">${count(one.judged)}</td><td class="num right">${number(one.mean_score)}</td>
      <td class="graph"><${Interval} mean=${one.mean_score} pair=${one.interval} hue=${hueOf(one.arm)} mark=${judge.mean_score} /></td>
      <td class="num right">${count(one.labels)}</td><td class="num right">${signed(one.beyond_people)}</td></tr>`)}</tbody></table></div><//>`;

function Probes({ judge }) {
  const { probes } = judge;
  const most = Math.max(1, ...probes.by_arm.map((one) => one.drawn));
  return html`<${Card} title="Probes" note=${`Other models answer ${percent(probes.share)} of the queries too, in the background, and it scores them: no user waits for them or sees them.`}>
    <p>${probes.words}</p>
    <${ShareBar} share=${Math.min(probes.spend_day_usd / probes.usd_per_day, 1)} hue="accent" label=${`${usd(probes.spend_day_usd)} of ${usd(probes.usd_per_day)} today`} />
    <p class="muted">${count(probes.waiting)} waiting, ${count(probes.failed)} failed, ${count(probes.lost)} lost, ${count(probes.dropped)} dropped; ${usd(probes.spend_usd)} in all.</p>
    ${probes.by_arm.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${`Probes of ${judge.judge} by model`}><table class="compact">
      <thead><tr><th scope="col">Model</th><th scope="col">Asked</th><th scope="col" class="right">Answered</th><th scope="col" class="right">Cost</th></tr></thead><tbody>
      ${probes.by_arm.map((one) => html`<tr key=${one.arm}><th scope="row"><${Arm} name=${one.arm} mark /></th>
        <td><${ShareBar} share=${one.drawn / most} hue=${hueOf(one.arm)} label=${count(one.drawn)} /></td><td class="num right">${count(one.answered)}</td><td class="num right">${usd(one.spend_usd)}</td></tr>`)}</tbody></table></div>`}<//>`;
}
