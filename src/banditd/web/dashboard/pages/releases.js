// Releases: how the one that is looked at stands and got there, its verbs, what may be released, what was.
import { html, useState } from "../vendor/preact.js";
import { nowMs, usePoll } from "../api.js";
import { Lines } from "../charts.js";
import { ago, compact, count, moment, percent, query, reward as number, seconds } from "../format.js";
import { Card, Choice, Command, Tile, Waiting } from "../ui.js";
import { Candidates } from "./candidates.js";
import { keyOf, isOpen, MEASURED, Measures, nameOf } from "./release.js";
import { ReleaseVerbs } from "./release_verbs.js";

const PHASES = {
  running: ["running", ""], paused: ["paused", "plain"], promoted: ["promoted", "good"], aborted: ["aborted", "plain"],
  rolled_back: ["taken back", "bad"], error: ["stopped", "bad"],
};
const EVENTS = {
  started: "started", step_due: "step has what it takes", promoted: "next step", paused: "paused", resumed: "resumed", aborted: "aborted",
  rolled_back: "taken back", error: "stopped", finished: "became the incumbent", taken_back: "promotion taken back", arm_disabled: "a model was disabled", measurement_changed: "tests begun anew",
};
const LEAST_LOG = -3; // less evidence than 1 to 1,000 is drawn as that

export const Phase = ({ phase }) => {
  const [words, tone] = PHASES[phase] || [phase, "plain"];
  return html`<span class="badge ${tone}">${words}</span>`;
};

/** 10 to that power, as a reader counts it. */
function odds(logarithm) {
  if (logarithm >= 0) return compact(Math.round(10 ** logarithm));
  return `1/${compact(Math.round(10 ** -logarithm))}`;
}

export function Releases({ policy, values, go }) {
  const list = usePoll(`v1/releases?${query({ policy, limit: 20 })}`, { every: 5000 });
  const wanted = values.id || list.data?.releases[0]?.release_id;
  const listed = list.data?.releases.find((one) => one.release_id === wanted);
  const single = usePoll(list.data && wanted && !listed ? `v1/releases/${wanted}` : null, { every: 60_000 });
  if (!list.data) return html`<${Waiting} poll=${list} what="releases" />`;
  const shown = listed || single.data;
  const busy = list.data.releases.some(isOpen);
  return html`
    ${shown && html`<${One} key=${shown.release_id} release=${shown} />`}
    ${!shown && single.error && html`<p class="muted" role="status">${single.error.message}</p>`}
    ${!list.data.releases.length && html`<${Card} title="Nothing has been released yet">
      <p>A release gives a candidate a small part of the traffic, then more, and takes it back by itself where it is worse than you tolerate.</p>
      <${Command} text=${`banditd candidate create curious --policy ${policy} --set exploration_floor=0.02\nbanditd release start curious --policy ${policy}`} /><//>`}
    <${Candidates} policy=${policy} busy=${busy} />
    ${list.data.releases.length > 0 && html`<${Past} releases=${list.data.releases} shown=${shown} go=${go} />`}`;
}

function One({ release }) {
  const open = isOpen(release);
  const pace = { every: open ? 5000 : 120_000 };
  const points = usePoll(`v1/releases/${release.release_id}/points`, pace);
  const events = usePoll(`v1/releases/${release.release_id}/events`, pace);
  const wants = Object.entries(release.missing_units).map(([name, units]) => `${count(units)} more (${name})`).join(", ");
  const units = release.splits[0];
  const rated = release.rated_share;
  return html`
    <${Card} title=${`Release of ${release.candidate}`} side=${html`<${Phase} phase=${release.phase} />`} id="release">
      <p class="verdict">${release.words}</p>
      ${open && html`<${ReleaseVerbs} release=${release} />`}
      <${Steps} release=${release} />
      <div class="tiles inner">
        <${Tile} label="Share of the traffic" value=${percent(release.share, 0)} sub=${`step ${release.step} of ${release.steps.length}, since ${ago(release.step_at)}`} />
        <${Tile} label="Rated units of it" value=${units ? count(units.candidate) : "–"} sub=${!open ? "in all" : wants ? `this step wants ${wants}` : release.due ? "the step has what it takes" : "enough of them for this step"} />
        <${Tile} label="Decided otherwise" value=${percent(release.differs)} sub="of the traffic: the rest is the same on both sides" />
        ${rated && html`<${Tile} label="Decisions that are rated" value=${percent(rated.candidate, 0)} sub=${`of its own, ${percent(rated.incumbent, 0)} of the incumbent's`} />`}
        <${Tile} label=${open ? "Running for" : "Ended"} value=${open ? seconds((nowMs() - Date.parse(release.created_at)) / 1000) : ago(release.ended_at)} sub=${`started ${moment(release.created_at)}${release.key_name ? ` by ${release.key_name}` : ""}`} />
      </div>
    <//>
    <${Card} title="What is measured" note=${MEASURED}><${Measures} release=${release} /><//>
    ${points.data ? html`<${Way} release=${release} points=${points.data.points} />` : html`<${Waiting} poll=${points} what="the way so far" />`}
    ${events.data && html`<${Events} events=${events.data.events} />`}`;
}

/** Where on its way it is. */
const Steps = ({ release }) => html`<ol class="stepped" aria-label="Steps">${release.steps.map((share, i) => {
  const at = i + 1;
  const now = isOpen(release) && at === release.step;
  return html`<li key=${share} class=${at < release.step || release.phase === "promoted" ? "over" : ""} aria-current=${now ? "step" : undefined}>${percent(share, 0)}</li>`;
})}</ol>`;

function Way({ release, points }) {
  const measures = [...release.metrics, ...release.guardrails];
  const [key, setKey] = useState(keyOf(measures[0]));
  const one = measures.find((each) => keyOf(each) === key) || measures[0];
  const times = points.map((point) => Date.parse(point.at) / 1000);
  const at = points.map((point) => point.measures[key] || null);
  const logs = at.map((each) => (each ? Math.max(Math.log10(Math.max(each.evidence, 1e-300)), LEAST_LOG) : null));
  const bound = Math.log10(one.needed);
  const evidence = [
    { name: "evidence against it", hue: "accent", values: logs, thick: true },
    { name: "takes it back", hue: "bad", values: times.map(() => bound), dash: [6, 3] },
    { name: "none either way", hue: "muted", values: times.map(() => 0), dash: [2, 3] },
  ];
  const difference = [
    { name: "difference", hue: "accent", values: at.map((each) => each?.difference ?? null), low: at.map((each) => each?.interval?.[0] ?? null), high: at.map((each) => each?.interval?.[1] ?? null), thick: true },
    { name: "tolerated", hue: "bad", values: points.map((point) => -Math.min(1, one.worse_by / Math.max(point.differs ?? 1, 0.001))), dash: [6, 3] },
    { name: "equal", hue: "muted", values: times.map(() => 0), dash: [2, 3] },
  ];
  const pick = measures.length > 1 && html`<${Choice} label="Measure" value=${key} options=${measures.map((each) => [keyOf(each), nameOf(each)])} onChange=${setKey} />`;
  return html`<${Card} title="The way so far" side=${pick} id="way">
    <div class="grid two"><div>
      <h3>Evidence that it is worse than tolerated</h3>
      <p class="note">A bet on that, from 1: while the candidate is no worse, it cannot be expected to grow, however often one looks. At ${compact(one.needed)} the candidate is taken back.</p>
      <${Lines} key=${key} times=${times} series=${evidence} format=${odds} height=${170} label=${`Evidence over time: ${odds(logs[logs.length - 1] ?? 0)} of ${compact(one.needed)}`} />
    </div><div>
      <h3>Candidate less incumbent, where they differ</h3>
      <p class="note">The band holds the difference in 95 of 100 releases, over all looks together. Tolerated is ${number(one.worse_by)} of all traffic, so more where few decisions differ.</p>
      <${Lines} key=${key} times=${times} series=${difference} format=${(v) => v.toFixed(2)} floor=${-1} ceiling=${1} height=${170} label="Difference and its interval over time" />
    </div></div>
    <h3>Share of the traffic, and of decisions on which the two differ</h3>
    <${Lines} times=${times} series=${[
      { name: "the candidate's share", hue: "accent", values: points.map((point) => point.share), stepped: true, thick: true },
      { name: "decided otherwise", hue: "muted", values: points.map((point) => point.differs), dash: [4, 3] },
    ]} format=${(v) => percent(v, 0)} floor=${0} ceiling=${1} height=${120} label="Share of the traffic over time" />
    <p class="keys"><span class="key-line"></span>candidate <span class="key-line dashed"></span>decided otherwise, equal, or no evidence <span class="key-line limit"></span>the limit</p>
  <//>`;
}

const Events = ({ events }) => html`<${Card} title="What happened"><div class="scroll" tabindex="0" role="region" aria-label="What happened"><table class="compact wrapping">
  <thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col" class="right">Share</th><th scope="col">By</th><th scope="col">Why</th></tr></thead><tbody>
  ${events.map((one, i) => html`<tr key=${i}><td class="num">${moment(one.at)}</td><th scope="row">${EVENTS[one.event] || one.event}</th>
    <td class="num right">${percent(one.share, 0)}</td><td>${one.key_name || "–"}</td><td>${one.reason || "–"}</td></tr>`)}</tbody></table></div><//>`;

const Past = ({ releases, shown, go }) => html`<${Card} title="All releases" id="releases"><div class="scroll" tabindex="0" role="region" aria-label="All releases"><table class="compact">
  <thead><tr><th scope="col">Candidate</th><th scope="col">State</th><th scope="col" class="right">Share</th><th scope="col">Started</th><th scope="col">Ended</th></tr></thead><tbody>
  ${releases.map((one) => html`<tr key=${one.release_id} class=${one.release_id === shown?.release_id ? "chosen" : ""}>
    <th scope="row"><button type="button" class="link" onClick=${() => go("releases", { id: one.release_id })}>${one.candidate}</button></th>
    <td><${Phase} phase=${one.phase} /></td><td class="num right">${percent(one.share, 0)}</td><td class="num">${moment(one.created_at)}</td><td class="num">${moment(one.ended_at)}</td></tr>`)}</tbody></table></div><//>`;
