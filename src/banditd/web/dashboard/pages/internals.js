// Internals: how the learning itself is doing: curves, prior scales, the change detector, snapshots, the map.
import { html, useState } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { Lines } from "../charts.js";
import { ago, count, interval, moment, percent, query, reward, usd } from "../format.js";
import { hueOf } from "../colours.js";
import { WINDOWS, overall, useSeries } from "../series.js";
import { Arm, Card, Choice, Interval, ShareBar, Waiting, plural, scaleOf } from "../ui.js";
import { QueryMapCard } from "./map.js";
import { Alarms } from "./overview.js";

const GROUPS = {
  bias: ["the arm itself", "hue-0"],
  lexical: ["form of the query", "hue-1"],
  embedding: ["its meaning", "hue-2"],
  cluster: ["its cluster", "hue-3"],
  caller: ["caller's features", "hue-4"],
};

export function Internals({ policy, arms, go }) {
  const [window, setWindow] = useState("all");
  const recent = usePoll(window === "recent" ? `v1/stats/map?${query({ policy, limit: 500 })}` : null, { every: 4000 });
  const learning = usePoll(`v1/stats/learning?${query({ policy })}`, { every: 4000 });
  const stats = usePoll(`v1/stats?${query({ policy })}`, { every: 4000 });
  const report = usePoll(`v1/policies/${encodeURIComponent(policy)}/report`, { every: 10_000 });
  const snapshots = usePoll(`v1/policies/${encodeURIComponent(policy)}/snapshots?limit=7`, { every: 6000 });
  const contexts = usePoll(`v1/stats/contexts?${query({ policy })}`, { every: 15_000 });
  const series = useSeries(policy, window === "recent" ? "1h" : window, arms);
  const l = learning.data;
  if (!l) return html`<${Waiting} poll=${learning} what="what was learned" />`;
  if (!l.rewards) {
    return html`<${Card} title="Nothing learned yet"><p>Routing learns from rewards, and there is none yet. Reward a decision with a thumb on the <a href="#/decisions">decisions</a> page, or over HTTP: <code>POST /v1/rewards</code>.</p><//>`;
  }
  return html`
    <div class="row between"><${Choice} label="Window" value=${window} onChange=${setWindow} options=${[["recent", "Last 500"], ...Object.entries(WINDOWS).map(([name, [text]]) => [name, text])]} /></div>
    <div class="grid two">
      <${Card} title="Learning curve" note=${window === "recent" ? "Mean of the last 50 rewards at each of the last 500 decisions, beside what each arm alone would be expected to earn." : "Mean reward so far in this window, beside what each arm alone would be expected to earn on the same traffic."}>
        ${window === "recent" ? (recent.data ? html`<${Recent} points=${recent.data.points} l=${l} />` : html`<${Waiting} poll=${recent} what="recent decisions" />`) : series.columns ? html`<${Curve} columns=${series.columns} step=${series.span.step} l=${l} />` : html`<${Waiting} poll=${series} what="the curve" />`}
      <//>
      <${Standing} l=${l} />
    </div>
    <div class="grid two">
      <${Scales} l=${l} which="own" title="What makes the choice matter" note="How far the arms differ by each part of the context: standard deviations of effects on the reward, as the evidence chose them. Near zero: this part does not help to choose." />
      <${Scales} l=${l} which="shared" title="What makes a query hard" note="How far each part of the context moves the reward of all arms alike. It does not change the choice, but it keeps hard queries from being held against an arm." />
    </div>
    <div class="grid two">
      <${QueryMapCard} policy=${policy} arms=${arms} clusters=${contexts.data?.clusters || []} go=${go} />
      <div class="stack"><${Spread} s=${stats.data} /></div>
    </div>
    <div class="grid two">
      <div class="stack"><${Watch} l=${l} arms=${arms} />${stats.data && html`<${Alarms} s=${stats.data} />`}</div>
      <div class="stack"><${Settled} report=${report.data} /><${Snapshots} rows=${snapshots.data?.snapshots} /></div>
    </div>`;
}

function Curve({ columns, step, l }) {
  if (!columns.times.length) return html`<p class="muted">No decision in this window.</p>`;
  const rows = overall(columns);
  let n = 0;
  let sum = 0;
  const far = rows.map((row) => {
    n += row.rewards;
    sum += (row.mean ?? 0) * row.rewards;
    return n ? sum / n : null;
  });
  // Flat lines need two ends: one step of traffic alone would show none of them.
  const times = columns.times.length > 1 ? columns.times : [columns.times[0], columns.times[0] + step];
  const flat = (v) => times.map(() => v);
  const pad = (values) => (columns.times.length > 1 ? values : [...values, values[0]]);
  const series = [
    ...levels(l, flat),
    { name: "each step", hue: "accent-soft", values: pad(rows.map((row) => row.mean)), dots: rows.length < 60 },
    { name: "so far", hue: "accent", values: pad(far), thick: true },
  ];
  return html`<${Lines} times=${times} series=${series} range=${null} step=${step} floor=${0} ceiling=${1} height=${230} format=${(v) => v.toFixed(2)}
      label="Mean reward over time against fixed arms" />
    <p class="keys"><span class="key-line accent"></span>so far <span class="key-line soft"></span>each step <span class="key-line dashed"></span>dashed: an arm alone, by the model</p>`;
}

/** Flat lines: what each enabled arm alone, and the best mix of them, would be expected to earn. */
function levels(l, flat) {
  return [
    ...l.fixed.filter((one) => one.enabled).map((one) => ({ name: `always ${one.arm}`, hue: hueOf(one.arm), values: flat(one.reward.mean), dash: [5, 4] })),
    ...(l.mixture ? [{ name: "best mix", hue: "muted", values: flat(l.mixture.reward), dash: [2, 3] }] : []),
  ];
}

const SMOOTH = 50;

function Recent({ points, l }) {
  const ordered = [...points].reverse();
  const last = [];
  const moving = ordered.map((point) => {
    if (point.reward !== null) last.push(point.reward);
    if (last.length > SMOOTH) last.shift();
    return last.length >= 10 ? last.reduce((sum, v) => sum + v, 0) / last.length : null;
  });
  if (ordered.length < 12) return html`<p class="muted">Not enough data: fewer than 12 decisions.</p>`;
  const series = [...levels(l, (v) => ordered.map(() => v)), { name: "mean of the last 50", hue: "accent", values: moving, thick: true }];
  return html`<${Lines} times=${ordered.map((_, i) => i + 1 - ordered.length)} series=${series} range=${null} step="recent" plain head=${(x) => `${-x} decisions ago`} floor=${0} ceiling=${1} height=${230}
      format=${(v) => v.toFixed(2)} label="Mean reward over the last decisions against fixed arms" />
    <p class="keys"><span class="key-line accent"></span>mean of the last 50 rewards <span class="key-line dashed"></span>dashed: an arm alone, by the model; the axis counts decisions back from now</p>`;
}

function Standing({ l }) {
  const fixed = l.fixed.filter((one) => one.enabled);
  if (!l.played || !fixed.length) return html`<${Card} title="Against fixed arms"><p class="muted">Not enough data: no traffic on any cluster yet.</p><//>`;
  const [low, high] = scaleOf([l.played.interval, ...fixed.map((one) => one.reward.interval)]);
  const best = [...fixed].sort((a, b) => b.reward.mean - a.reward.mean)[0];
  const gap = l.played.mean - best.reward.mean;
  const mix = l.mixture ? l.played.mean - l.mixture.reward : null;
  const half = Math.max(l.played.mean - l.played.interval[0], best.reward.mean - best.reward.interval[0]);
  const sure = Math.abs(gap) > half ? "" : " (within the uncertainty)";
  const row = (label, e, cost, hue, key) => html`<tr key=${key}><th scope="row">${label}</th><td class="graph"><${Interval} mean=${e.mean} pair=${e.interval} low=${low} high=${high} hue=${hue} mark=${l.played.mean} /></td>
    <td class="num right">${reward(e.mean)}</td><td class="num right">${usd(cost)}</td></tr>`;
  return html`<${Card} title="Against fixed arms" note="Expected reward on all traffic so far, by one model, so like is compared with like.">
    <p class="verdict">As played it earns <b class="num">${gap >= 0 ? "+" : "−"}${Math.abs(gap).toFixed(3)}</b> against always ${best.arm}${sure}, at ${usd(l.cost_usd)} instead of ${usd(best.cost_usd)} a decision${mix !== null ? html`; <b class="num">${mix >= 0 ? "+" : "−"}${Math.abs(mix).toFixed(3)}</b> against the best mix of fixed arms at the same cost` : ""}.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Against fixed arms"><table class="wrapping"><thead><tr><th scope="col">What</th><th scope="col">Expected reward, ${low.toFixed(2)} to ${high.toFixed(2)}</th><th scope="col" class="right">Mean</th><th scope="col" class="right">Cost</th></tr></thead><tbody>
      ${row(html`<b>the policy as played</b>`, l.played, l.cost_usd, "accent", "played")}
      ${fixed.map((one) => row(html`always <${Arm} name=${one.arm} />`, one.reward, one.cost_usd, hueOf(one.arm), one.arm))}
      ${l.mixture && html`<tr key="mixture"><th scope="row">best mix <span class="muted">${Object.entries(l.mixture.shares).filter(([, v]) => v > 0.005).map(([name, share]) => `${percent(share, 0)} ${name}`).join(" + ")}</span></th>
        <td class="graph"><${Interval} mean=${l.mixture.reward} pair=${null} low=${low} high=${high} hue="muted" mark=${l.played.mean} /></td><td class="num right">${reward(l.mixture.reward)}</td><td class="num right">${usd(l.mixture.cost_usd)}</td></tr>`}
    </tbody></table></div><//>`;
}

function Scales({ l, which, title, note }) {
  const rows = l.scales;
  if (!rows.length) return html`<${Card} title=${title} note=${note}><p class="muted">No snapshot yet.</p><//>`;
  const names = Object.keys(rows[rows.length - 1][which]).filter((group) => which === "own" || group !== "bias");
  const times = rows.map((row) => Date.parse(row.at) / 1000);
  const unique = times.map((t, i) => (i && t <= times[i - 1] ? times[i - 1] + 0.001 * i : t));
  const series = names.map((group) => ({ name: GROUPS[group]?.[0] || group, hue: GROUPS[group]?.[1] || "muted", values: rows.map((row) => row[which][group] ?? null), thick: true, stepped: true }));
  const now = rows[rows.length - 1][which];
  return html`<${Card} title=${title} note=${note}>
    <${Lines} times=${unique} series=${series} range=${null} floor=${0} step=${which} format=${(v) => v.toFixed(2)} label=${`${title}: prior scales over time`} />
    <ul class="legend">${names.map((group) => html`<li key=${group}><span class="arm"><i class="dot ${GROUPS[group]?.[1] || "muted"}" aria-hidden="true"></i>${GROUPS[group]?.[0] || group} <b class="num">${now[group].toFixed(3)}</b></span></li>`)}</ul><//>`;
}

/** How decided the probabilities are. */
function Spread({ s }) {
  const e = s?.selection_entropy;
  if (!e || e.policy_mean === null) return html`<${Card} title="How decided it is"><p class="muted">No decision yet.</p><//>`;
  const row = (label, value, what) => html`<tr><th scope="row">${label}</th><td class="num right">${value === null ? "–" : value.toFixed(2)}</td><td class="muted">${what}</td></tr>`;
  return html`<${Card} title="How decided it is" note="Entropy in nats of who answers: zero where one model gets everything, the maximum where all get the same.">
    <div class="scroll" tabindex="0" role="region" aria-label="Entropy"><table><tbody>
      ${row("Of a decision's probabilities", e.policy_mean, "the mean over all decisions")}
      ${row("Of the models' shares", e.realised, "what they came to")}
      ${row("Maximum", e.maximum, "the logarithm of the number of models")}</tbody></table></div>
    <p class="muted">${percent(s.exploration_rate)} of the decisions were not greedy: another model promised more.</p><//>`;
}

function Watch({ l, arms }) {
  const known = l.watch.filter((one) => arms.some((arm) => arm.arm === one.arm));
  return html`<${Card} title="Change detector" note=${`Evidence that an arm's rewards are not what they were. At ${l.alarm_nats} nats it is an alarm; small values come and go by chance.`}>
    ${known.length
      ? html`<div class="scroll" tabindex="0" role="region" aria-label="Change detector"><table><thead><tr><th scope="col">Model</th><th scope="col">Evidence</th><th scope="col" class="right">Nats</th><th scope="col" class="right">Tested on</th></tr></thead><tbody>${known.map(
          (one) => html`<tr key=${one.arm}><th scope="row"><${Arm} name=${one.arm} /></th>
          <td><${ShareBar} share=${Math.min(1, one.evidence_nats / l.alarm_nats)} hue=${one.evidence_nats > 0.7 * l.alarm_nats ? "bad" : hueOf(one.arm)} label=${percent(one.evidence_nats / l.alarm_nats, 0)} /></td>
          <td class="num right">${one.evidence_nats.toFixed(1)}</td><td class="num right">${one.rewards < 30 ? html`<span class="muted">${plural(one.rewards, "reward")}, from 30 on</span>` : plural(one.rewards, "reward")}</td></tr>`,
        )}</tbody></table></div>`
      : html`<p class="muted">Nothing is watched yet: no reward has come, or change detection is off.</p>`}<//>`;
}

function Settled({ report }) {
  if (!report) return html`<${Card} title="Has it settled?"><p class="muted">Loading …</p><//>`;
  const c = report.convergence;
  const says = c.converged === true ? ["good", "yes"] : c.converged === false ? ["", "not yet"] : ["", "not enough data"];
  const e = c.evidence || {};
  return html`<${Card} title="Has it settled?" note="The newer half of the last week's decisions against the older half. Settled means that the policy no longer moves, not that it is right.">
    <p><span class="badge ${says[0]}">${says[1]}</span> ${c.reason.replace("not enough data: ", "")}.</p>
    ${e.share_shift !== undefined && html`<p class="muted">Shares moved by ${percent(e.share_shift)} (chance alone: ${percent(e.share_shift_by_chance)}), entropy by ${percent(Math.abs(e.entropy_change))}; up to ${percent(e.tolerance, 0)} counts as steady.</p>`}<//>`;
}

function Snapshots({ rows }) {
  return html`<${Card} title="Snapshots" note="Versions of what was learned; every few rewards make one, and all replicas follow.">
    ${rows?.length
      ? html`<div class="scroll" tabindex="0" role="region" aria-label="Snapshots"><table class="compact"><thead><tr><th scope="col" class="right">Version</th><th scope="col">Made</th><th scope="col" class="right">Rewards folded in</th><th scope="col" class="right">Rewards so far</th><th scope="col" class="right">Log evidence</th></tr></thead><tbody>${rows.map(
          (one) => html`<tr key=${one.version}><td class="num right">${count(one.version)}</td><td title=${moment(one.created_at)}>${ago(one.created_at)}</td><td class="num right">${count(one.folded)}</td><td class="num right">${count(one.learner?.folded)}</td>
            <td class="num right">${one.hyperparameters?.log_evidence?.toFixed(1) ?? "–"}</td></tr>`,
        )}</tbody></table></div>`
      : html`<p class="muted">None yet.</p>`}<//>`;
}
