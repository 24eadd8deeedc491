// One decision whole: why it went there, what it cost, every call it took, what it earned.
import { html, useEffect, useRef } from "../vendor/preact.js";
import { refreshAll, usePoll } from "../api.js";
import { Questions } from "../ask.js";
import { ago, count, moment, ms, percent, query, reward, usd } from "../format.js";
import { DrawLine, Scores } from "../scores.js";
import { Arm, Copy, Thumbs, Waiting, plural } from "../ui.js";
import { because, name, undrawn, why } from "../words.js";

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function Whole({ id, clusters, close }) {
  const poll = usePoll(`v1/decisions/${id}`, { every: 2000 });
  const top = useRef(null);
  useEffect(() => {
    top.current?.focus();
    const escape = (e) => e.key === "Escape" && !document.querySelector("dialog[open]") && close();
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, []);
  const d = poll.data;
  return html`<section class="card whole narrow" aria-label="One decision">
    <header><h2 tabindex="-1" ref=${top}>Decision</h2><button type="button" class="quiet" onClick=${close}>Close</button></header>
    ${d ? html`<${Body} d=${d} clusters=${clusters} />` : html`<${Waiting} poll=${poll} what="the decision" />`}</section>`;
}

function Body({ d, clusters }) {
  const cluster = clusters.find((one) => one.cluster === d.cluster);
  const still = undrawn(d.reason);
  return html`
    <p class="idline"><code>${d.decision_id}</code> <${Copy} text=${d.decision_id} label="Copy id" /></p>
    <p class="verdict"><${Arm} name=${d.arm} mark /> ${ago(d.created_at)} <span class="muted">(${moment(d.created_at)})</span></p>
    <${Questions} items=${[{ ask: "Why did this query go there?", answer: why(d) }]} />
    ${d.degraded && html`<p class="outcome bad">Made without looking at the query: ${d.degraded.replaceAll("_", " ")}.</p>`}
    ${d.input_text ? html`<blockquote class="query" tabindex="0" aria-label="The query">${d.input_text}</blockquote>` : html`<p class="muted">The text is not stored (privacy.store_input is off). ${cluster ? `It is of the kind: ${name(cluster)}.` : ""} About ${plural(d.input_tokens, "token")}.</p>`}
    <${Thumbs} id=${d.decision_id} merged=${d.contribution?.reward} onDone=${refreshAll} />
    <h3>The choice</h3>
    <p class="why">${because(d.arms)}${d.explored && !still ? ` This time chance gave it to ${d.arm}: what it earns here is worth knowing.` : ""}</p>
    ${d.promise && html`<${Promised} d=${d} />`}
    <${Scores} rows=${d.arms} chosen=${d.arm} exclusions=${d.exclusions} />
    ${still ? html`<p class="muted">No chance was involved: ${still}.</p>` : html`<${DrawLine} rows=${d.arms} uniform=${d.uniform} chosen=${d.arm} />`}
    <h3>Calls and cost</h3><${Usage} d=${d} />${d.request && html`<${Request} r=${d.request} />`}${d.attempts?.length > 0 && html`<${Attempts} d=${d} />`}
    <h3>Rewards</h3><${Rewards} d=${d} />
    ${d.task_id && html`<h3>The task</h3><${Task} d=${d} />`}
    <h3>About the query</h3><${Facts} d=${d} cluster=${cluster} />`;
}

/** What the promise and the rollout asked of this decision. */
function Promised({ d }) {
  const p = d.promise;
  return html`<p class="facts-line">${d.keep !== null && d.keep !== undefined && html`<span>promise: keep <b class="num">${percent(d.keep, 1)}</b> of ${d.baseline}</span>`}
    ${p.share !== null && p.share !== undefined && html`<span>may leave the baseline: <b class="num">${percent(p.share, 0)}</b></span>`}
    ${p.rollout !== null && p.rollout !== undefined && html`<span>routed: <b class="num">${percent(p.rollout, 0)}</b>${p.side ? html`, this one ${p.side === "baseline" ? "on the baseline's side" : "on the policy's side"}` : ""}</span>`}</p>`;
}

function Rewards({ d }) {
  if (!d.rewards.length) return html`<p class="muted">No reward yet. Rewards count until ${moment(d.expires_at)}.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Rewards"><table class="compact"><thead><tr><th scope="col">When</th><th scope="col">Source</th><th scope="col">Metric</th><th scope="col" class="right">Reward</th><th scope="col">Status</th></tr></thead>
    <tbody>${d.rewards.map((one) => html`<tr key=${one.reward_id}><td>${ago(one.received_at)}</td><td>${one.source}</td><td>${one.metric}</td><td class="num right">${one.kind === "retraction" ? "taken back" : reward(one.reward)}</td>
      <td>${one.status}${one.revision > 0 ? `, revision ${one.revision}` : ""}${one.late ? ", late" : ""}${one.kind === "task" ? ", of its task" : one.arm && one.arm !== d.arm ? `, of ${one.arm}` : ""}</td></tr>`)}</tbody></table></div>
    ${d.contribution ? html`<p>Merged and learned: reward <b class="num">${reward(d.contribution.reward)}</b> with weight <b class="num">${d.contribution.weight.toFixed(2)}</b>${d.contribution.arm !== d.arm ? html`, for the arm that served: ${d.contribution.arm}` : ""}.</p>` : html`<p class="muted">${d.arm_rewards?.some((one) => one.arm === (d.usage?.served_arm || d.arm)) ? "Learned as its share of what its task earned." : "Not learned from yet."}</p>`}`;
}

function Usage({ d }) {
  const u = d.usage;
  if (!u) return html`<p class="muted">Not reported yet; predicted ${usd(d.predicted_cost_usd)}. Report tokens to <code>POST /v1/decisions/{id}/usage</code>.</p>`;
  return html`<p>${u.estimated ? "Settled by estimate: " : ""}<b class="num">${usd(u.cost_usd)}</b> <span class="muted">(predicted ${usd(d.predicted_cost_usd)})</span>, ${count(u.input_tokens)} tokens in, ${count(u.output_tokens)} out, ${ms(u.latency_ms)}${u.finish_reason ? `, ${u.finish_reason}` : ""}
    ${u.error && html`<span class="badge bad">error: ${u.error}</span>`} ${u.served_arm && u.served_arm !== d.arm && html`<span class="badge">served by ${u.served_arm}</span>`}</p>`;
}

/** What became of the answer, and by which ids the request is known elsewhere. */
function Request({ r }) {
  const other = (id) => (ID.test(id) ? html`<a href=${`#/decisions?${query({ id })}`}>${id}</a>` : id);
  const after = [
    r.refusal && html`<span class="badge bad">the model declined</span>`,
    r.regenerated && html`<span class="badge bad">asked for again</span>`,
    r.escalated_to && html`<span>escalated to ${other(r.escalated_to)}</span>`,
    r.regenerated_from && html`<span>asked for again after ${other(r.regenerated_from)}</span>`,
    r.escalated_from && html`<span>took over from ${other(r.escalated_from)}</span>`,
    r.output_chars !== null && html`<span><b class="num">${count(r.output_chars)}</b> characters out</span>`,
    r.release_side && html`<span>${r.release_side}'s side of a release</span>`,
  ].filter(Boolean);
  const ids = [["request", "request_id"], ["trace", "trace_id"]].filter(([, field]) => r[field]);
  return html`${after.length > 0 && html`<p class="facts-line">${after}</p>`}
    ${ids.length > 0 && html`<p class="facts-line muted">${ids.map(([label, field]) => html`<span key=${field}>${label} <a href=${`#/decisions?${query({ [field]: r[field] })}`}>${r[field]}</a></span>`)}</p>`}`;
}

function Attempts({ d }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Attempts"><table class="compact"><thead><tr><th scope="col">Call</th><th scope="col">Model</th><th scope="col">Ended</th><th scope="col" class="right">First token</th><th scope="col" class="right">Took</th><th scope="col" class="right">Tokens out</th><th scope="col" class="right">Cost</th></tr></thead>
    <tbody>${d.attempts.map((one, number) => html`<tr key=${number}><td class="num">${number + 1}</td><td><${Arm} name=${one.arm} /></td><td>${one.error ? html`<span class="badge bad">${one.error.replaceAll("_", " ")}</span>` : "answered"}</td>
      <td class="num right">${ms(one.first_token_ms)}</td><td class="num right">${ms(one.latency_ms)}</td><td class="num right">${count(one.output_tokens)}</td><td class="num right">${usd(one.cost_usd)}</td></tr>`)}</tbody></table></div>`;
}

const STEPS = 20;

/** The decisions of the same run of an agent, the newest few, in the order in which they were made. */
function Task({ d }) {
  const all = `#/decisions?${query({ task_id: d.task_id })}`;
  const poll = usePoll(`v1/decisions?${query({ policy: d.policy, task_id: d.task_id, limit: STEPS })}`, { every: 5000 });
  if (!poll.data) return html`<${Waiting} poll=${poll} what="the task" />`;
  const steps = [...poll.data.decisions].reverse();
  return html`<p>Task <a href=${all}>${d.task_id}</a>${poll.data.next_before_id ? html`, its newest ${STEPS} decisions` : ""}</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Decisions of the task"><table class="compact"><thead><tr><th scope="col">When</th><th scope="col">Step</th><th scope="col">Model</th><th scope="col">After</th><th scope="col" class="right">Reward</th><th scope="col" class="right">Cost</th></tr></thead>
    <tbody>${steps.map((one) => html`<tr key=${one.decision_id}><td>${one.decision_id === d.decision_id ? "this one" : html`<a href=${`#/decisions?${query({ task_id: d.task_id, id: one.decision_id })}`}>${ago(one.created_at)}</a>`}</td><td>${one.tags?.step || ""}</td><td><${Arm} name=${one.arm} /></td>
      <td>${one.parent_decision_id ? html`<a href=${`#/decisions?${query({ task_id: d.task_id, id: one.parent_decision_id })}`}>${after(steps, one.parent_decision_id)}</a>` : ""}</td><td class="num right">${reward(one.reward)}</td><td class="num right">${usd(one.spend_usd)}</td></tr>`)}</tbody></table></div>`;
}

/** What a step before is called: by its name, else by the end of its id. */
function after(steps, id) {
  return steps.find((one) => one.decision_id === id)?.tags?.step || `…${id.slice(-6)}`;
}

function Facts({ d, cluster }) {
  const tags = Object.entries(d.tags || {});
  const facts = Object.entries(d.facts || {}).filter(([, v]) => v !== 0);
  return html`<p>${cluster ? html`<a href=${`#/tasks?cluster=${d.cluster}`}>${name(cluster)}</a>` : d.cluster < 0 ? "It was not looked at." : `Kind ${d.cluster}`}</p>
    ${tags.length > 0 && html`<p class="badges">${tags.map(([k, v]) => html`<a class="badge plain" key=${k} href=${`#/decisions?${query({ tag: `${k}:${v}` })}`}>${k}: ${v}</a>`)}</p>`}
    ${facts.length > 0 && html`<details><summary>Form of the query</summary><p class="facts-line">${facts.map(([k, v]) => html`<span key=${k}>${k.replaceAll("_", " ")} <b class="num">${Number.isInteger(v) ? v : v.toFixed(3)}</b></span>`)}</p></details>`}
    ${d.session_id && html`<p>Session <a href=${`#/decisions?${query({ session_id: d.session_id })}`}>${d.session_id}</a></p>`}`;
}
