// Candidates: what each would change, what was found out about it, and the way to release it.
import { html, useState } from "../vendor/preact.js";
import { call, refreshAll, usePoll } from "../api.js";
import { Confirm } from "../ask.js";
import { moment, percent, query, reward as number } from "../format.js";
import { Card } from "../ui.js";

const TONES = { passed: "good", failed: "bad", error: "bad" };

/** The newest evaluation of each candidate, by its id. */
function newest(evaluations) {
  const found = {};
  for (const one of evaluations) found[one.candidate_id] ||= one;
  return found;
}

function Verdict({ one }) {
  if (!one) return html`<span class="muted">not evaluated</span>`;
  const between = one.interval ? `${signed(one.interval[0])} to ${signed(one.interval[1])}` : null;
  return html`<span class="badge ${TONES[one.phase] || "plain"}">${one.phase}</span> ${between && html`<span class="num">${between}</span>`}
    ${one.reason && html`<div class="muted">${one.reason}${one.settles ? ` ${one.settles}` : ""}</div>`}<div class="muted num">${moment(one.created_at)}</div>`;
}

/** What was counted beside the traffic, where it was shadowed. */
function Shadow({ one }) {
  if (!one) return html`<span class="muted">–</span>`;
  const between = one.interval ? `${signed(one.interval[0])} to ${signed(one.interval[1])}` : null;
  return html`<span class="badge plain">${one.running ? "running" : "stopped"}</span> ${between && html`<span class="num">${between}</span>`}
    <div class="muted">${one.words}</div>
    ${one.slices.length > 0 && html`<details><summary>by kind of query and tag</summary><ul class="slices">
      ${one.slices.map((part) => html`<li key=${part.slice}>${part.slice.replace(":", " ")}: <span class="num">${percent(part.differs)}</span> otherwise${part.interval && html`, <span class="num">${signed(part.interval[0])} to ${signed(part.interval[1])}</span>`}</li>`)}</ul></details>`}`;
}

const signed = (v) => `${v < 0 ? "−" : "+"}${number(Math.abs(v))}`;

/** busy : a release is open, so that no other can begin. */
export function Candidates({ policy, busy }) {
  const found = usePoll(`v1/policies/${encodeURIComponent(policy)}/candidates`, { every: 10_000 });
  const evaluations = usePoll(`v1/evaluations?${query({ policy, limit: 50 })}`, { every: 10_000 });
  const [start, setStart] = useState(null);
  const rows = found.data?.candidates || [];
  if (!rows.length) return null;
  const shadowed = rows.some((one) => one.shadow);
  const verdicts = newest(evaluations.data?.evaluations || []);
  return html`<${Card} title="Candidates" note="A named difference to the policy. An evaluation asks the log what it would earn: the interval is of its mean reward less the policy's." id="candidates">
    <div class="scroll" tabindex="0" role="region" aria-label="Candidates"><table class="compact wrapping">
      <thead><tr><th scope="col">Candidate</th><th scope="col">Would change</th><th scope="col">Evaluated</th>${shadowed && html`<th scope="col">In shadow</th>`}<th scope="col"><span class="hidden">Release</span></th></tr></thead><tbody>
      ${rows.map((one) => html`<tr key=${one.candidate_id}><th scope="row">${one.name}</th>
        <td>${one.problem || one.difference.join("; ") || "nothing"}</td><td><${Verdict} one=${verdicts[one.candidate_id]} /></td>${shadowed && html`<td><${Shadow} one=${one.shadow} /></td>`}
        <td class="right">${!busy && !one.problem && one.difference.length > 0 && html`<button type="button" onClick=${() => setStart(one)} aria-label=${`Release ${one.name}`}>Release</button>`}</td></tr>`)}
      </tbody></table></div>
    ${start && html`<${Confirm} title=${`Release ${start.name}?`} yes="Begin" onClose=${() => setStart(null)} onYes=${async () => {
      await call("POST", "v1/releases", { policy, candidate: start.name });
      refreshAll();
    }}><p>It decides ${percent(0.01, 0)} of the traffic from the next query on, and is taken back where it is worse than tolerated. Every further step waits for you.</p><//>`}<//>`;
}
