// Decisions: the log by pages, and one decision whole.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { refreshAll, usePoll } from "../api.js";
import { ago, count, moment, ms, percent, query, reward, usd } from "../format.js";
import { Arm, Card, Copy, DrawLine, Scores, Thumbs, Waiting, because, plural } from "../ui.js";
import { name } from "./contexts.js";

const LIMIT = 25;
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function Decisions({ policy, arms, values, go }) {
  const [trail, setTrail] = useState([]);
  const filters = { arm: values.arm, cluster: values.cluster, explored: values.explored, session_id: values.session_id, since: values.since };
  const before = trail[trail.length - 1];
  const key = query({ policy, ...filters, before_id: before, limit: LIMIT });
  useEffect(() => setTrail([]), [policy, query(filters)]);
  const page = usePoll(`v1/decisions?${key}`, { every: before ? 10_000 : 2000, keep: true });
  const contexts = usePoll(`v1/stats/contexts?${query({ policy })}`, { every: 15_000 });
  const clusters = contexts.data?.clusters || [];
  const open = (id) => go("decisions", { ...filters, id });
  const filter = (changes) => go("decisions", { ...filters, ...changes });
  return html`
    <${Filters} arms=${arms} clusters=${clusters} filters=${filters} filter=${filter} open=${open} />
    <div class="split ${values.id ? "opened" : ""}">
      <${Card} title=${before ? `Page ${trail.length + 1}` : "Newest"} side=${html`<div class="row">
          <button type="button" disabled=${!trail.length} onClick=${() => setTrail([])}>Newest</button>
          <button type="button" disabled=${!trail.length} onClick=${() => setTrail(trail.slice(0, -1))}>Newer</button>
          <button type="button" disabled=${!page.data?.next_before_id} onClick=${() => setTrail([...trail, page.data.next_before_id])}>Older</button></div>`}>
        ${page.data ? html`<${Log} page=${page.data} arms=${arms} clusters=${clusters} id=${values.id} open=${open} />` : html`<${Waiting} poll=${page} what="decisions" />`}
      <//>
      ${values.id && html`<${Whole} key=${values.id} id=${values.id} arms=${arms} clusters=${clusters} close=${() => go("decisions", filters)} />`}
    </div>`;
}

function Filters({ arms, clusters, filters, filter, open }) {
  const [id, setId] = useState("");
  const [bad, setBad] = useState(false);
  const find = (e) => {
    e.preventDefault();
    const wanted = id.trim().toLowerCase();
    setBad(!ID.test(wanted));
    if (ID.test(wanted)) open(wanted);
  };
  const sorted = [...clusters].sort((a, b) => b.decisions - a.decisions);
  const any = Object.values(filters).some((v) => v);
  return html`<div class="filters">
    <label>Arm <select value=${filters.arm || ""} onChange=${(e) => filter({ arm: e.target.value })}><option value="">any</option>${arms.map((one) => html`<option key=${one.arm} value=${one.arm}>${one.arm}</option>`)}</select></label>
    <label>Cluster <select value=${filters.cluster ?? ""} onChange=${(e) => filter({ cluster: e.target.value })}><option value="">any</option>${sorted.map((one) => html`<option key=${one.cluster} value=${one.cluster}>${name(one)}</option>`)}<option value="-1">none (degraded)</option></select></label>
    <label>Kind <select value=${filters.explored || ""} onChange=${(e) => filter({ explored: e.target.value })}><option value="">any</option><option value="true">explored</option><option value="false">greedy</option></select></label>
    <label>Session <input type="search" value=${filters.session_id || ""} placeholder="any" onChange=${(e) => filter({ session_id: e.target.value.trim() })} /></label>
    ${any && html`<button type="button" class="quiet" onClick=${() => filter({ arm: "", cluster: "", explored: "", session_id: "", since: "" })}>Clear</button>`}
    <form onSubmit=${find}><label>Id <input type="search" class="id" value=${id} placeholder="decision id" aria-invalid=${String(bad)} onInput=${(e) => setId(e.target.value)} /></label><button type="submit">Open</button>
      ${bad && html`<span class="warn" role="status">An id looks like 01890a5d-ac96-774b-bcce-b302099a8057.</span>`}</form>
  </div>`;
}

function Log({ page, arms, clusters, id, open }) {
  const words = new Map(clusters.map((one) => [one.cluster, name(one)]));
  if (!page.decisions.length && !page.damaged.length) {
    return html`<p class="muted">${page.next_before_id ? "None among the 10,000 decisions looked through; Older goes on." : "No decision matches. Clear the filters, or send a query from the playground."}</p>`;
  }
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Decision log"><table class="log">
    <thead><tr><th scope="col">Time</th><th scope="col">Arm</th><th scope="col">Queries about</th><th scope="col" class="right">Prob.</th><th scope="col">Kind</th><th scope="col" class="right">Predicted</th><th scope="col" class="right">Reward</th><th scope="col" class="right">Cost</th></tr></thead>
    <tbody>${page.decisions.map((one) => {
      const drawn = one.arms.find((arm) => arm.arm === one.arm);
      return html`<tr key=${one.decision_id} data-id=${one.decision_id} class=${one.decision_id === id ? "chosen" : ""} onClick=${() => open(one.decision_id)}>
        <td><button type="button" class="link num" aria-label=${`Open the decision of ${moment(one.created_at)}`} onClick=${(e) => { e.stopPropagation(); open(one.decision_id); }}>${moment(one.created_at)}</button></td>
        <td><${Arm} arms=${arms} name=${one.arm} /></td><td class="words">${one.cluster < 0 ? html`<span class="warn">no context</span>` : words.get(one.cluster) || `cluster ${one.cluster}`}</td>
        <td class="num right">${percent(one.propensity)}</td><td>${["session", "pinned"].includes(one.reason) ? html`<span class="badge">${one.reason}</span>` : one.explored ? html`<span class="badge">explored</span>` : html`<span class="muted">greedy</span>`}</td>
        <td class="num right">${reward(drawn?.mean)}</td><td class="num right">${one.reward === null ? html`<span class="muted">waiting</span>` : html`<b>${reward(one.reward)}</b>`}</td>
        <td class="num right" title=${one.spend_usd === null ? "predicted" : "as reported"}>${one.spend_usd === null ? html`<span class="muted">≈ ${usd(one.predicted_cost_usd)}</span>` : usd(one.spend_usd)}</td></tr>`;
    })}</tbody></table></div>
    ${page.damaged.length > 0 && html`<p class="warn">${plural(page.damaged.length, "row")} of this page cannot be read: ${page.damaged.map((one) => one.decision_id).join(", ")}. Run banditd rebuild.</p>`}
    ${page.decisions.length + page.damaged.length < LIMIT && page.next_before_id && html`<p class="muted">Looked through 10,000 decisions; Older goes on.</p>`}`;
}

export function Whole({ id, arms, clusters, close }) {
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
    ${d ? html`<${Body} d=${d} arms=${arms} clusters=${clusters} />` : html`<${Waiting} poll=${poll} what="the decision" />`}</section>`;
}

function Body({ d, arms, clusters }) {
  const cluster = clusters.find((one) => one.cluster === d.cluster);
  return html`
    <p class="idline"><code>${d.decision_id}</code> <${Copy} text=${d.decision_id} label="Copy id" /></p>
    <p class="verdict"><${Arm} arms=${arms} name=${d.arm} /> was ${d.reason === "session" ? "kept by its session" : d.reason === "pinned" ? "named by the request" : html`drawn with probability <b class="num">${percent(d.propensity, 2)}</b>`}${d.explored ? ", exploring" : ""}, ${ago(d.created_at)} <span class="muted">(${moment(d.created_at)}, policy version ${d.policy_version})</span></p>
    ${d.degraded && html`<p class="outcome bad">Made without a context: ${d.degraded.replaceAll("_", " ")}.</p>`}
    ${d.input_text ? html`<blockquote class="query" tabindex="0" aria-label="The query">${d.input_text}</blockquote>` : html`<p class="muted">The text is not stored (privacy.store_input is off). ${cluster ? `Its cluster: ${cluster.words.slice(0, 6).join(", ")}.` : ""} About ${plural(d.input_tokens, "token")}.</p>`}
    <${Thumbs} id=${d.decision_id} merged=${d.contribution?.reward} onDone=${refreshAll} />
    <h3>The draw</h3>
    ${["session", "pinned"].includes(d.reason) ? html`<p class="muted">Nothing was drawn: ${d.reason === "session" ? "a session keeps its arm" : "the request named its arm"}.</p>` : html`<${DrawLine} rows=${d.arms} arms=${arms} uniform=${d.uniform} chosen=${d.arm} />`}
    <p class="why">${because(d.arms)}${d.explored && !["session", "pinned"].includes(d.reason) ? ` This time the draw fell on ${d.arm}: what it earns here is worth knowing.` : ""}</p>
    <${Scores} rows=${d.arms} arms=${arms} chosen=${d.arm} exclusions=${d.exclusions} />
    <h3>Rewards</h3><${Rewards} d=${d} />
    <h3>Usage</h3><${Usage} d=${d} />${d.attempts?.length > 0 && html`<${Attempts} d=${d} arms=${arms} />`}
    <h3>Context</h3><${Facts} d=${d} cluster=${cluster} />`;
}

function Rewards({ d }) {
  if (!d.rewards.length) return html`<p class="muted">None yet. Rewards count until ${moment(d.expires_at)}.</p>`;
  return html`<table class="compact"><thead><tr><th scope="col">When</th><th scope="col">Source</th><th scope="col">Metric</th><th scope="col" class="right">Reward</th><th scope="col">Status</th></tr></thead>
    <tbody>${d.rewards.map((one) => html`<tr key=${one.reward_id}><td>${ago(one.received_at)}</td><td>${one.source}</td><td>${one.metric}</td><td class="num right">${one.kind === "retraction" ? "taken back" : reward(one.reward)}</td>
      <td>${one.status}${one.revision > 0 ? `, revision ${one.revision}` : ""}${one.late ? ", late" : ""}</td></tr>`)}</tbody></table>
    ${d.contribution ? html`<p>Merged and learned: reward <b class="num">${reward(d.contribution.reward)}</b> with weight <b class="num">${d.contribution.weight.toFixed(2)}</b>${d.contribution.arm !== d.arm ? html`, for the arm that served: ${d.contribution.arm}` : ""}.</p>` : html`<p class="muted">Not learned from yet.</p>`}`;
}

function Usage({ d }) {
  const u = d.usage;
  if (!u) return html`<p class="muted">Not reported yet; predicted ${usd(d.predicted_cost_usd)}. Report tokens to <code>POST /v1/decisions/{id}/usage</code>.</p>`;
  return html`<p>${u.estimated ? "Settled by estimate: " : ""}<b class="num">${usd(u.cost_usd)}</b> <span class="muted">(predicted ${usd(d.predicted_cost_usd)})</span>, ${count(u.input_tokens)} tokens in, ${count(u.output_tokens)} out, ${ms(u.latency_ms)}${u.finish_reason ? `, ${u.finish_reason}` : ""}
    ${u.error && html`<span class="badge bad">error: ${u.error}</span>`} ${u.served_arm && u.served_arm !== d.arm && html`<span class="badge">served by ${u.served_arm}</span>`}</p>`;
}

function Attempts({ d, arms }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Attempts"><table class="compact"><thead><tr><th scope="col">Call</th><th scope="col">Arm</th><th scope="col">Ended</th><th scope="col" class="right">First token</th><th scope="col" class="right">Took</th><th scope="col" class="right">Tokens out</th><th scope="col" class="right">Cost</th></tr></thead>
    <tbody>${d.attempts.map((one, number) => html`<tr key=${number}><td class="num">${number + 1}</td><td><${Arm} arms=${arms} name=${one.arm} /></td><td>${one.error ? html`<span class="badge bad">${one.error.replaceAll("_", " ")}</span>` : "answered"}</td>
      <td class="num right">${ms(one.first_token_ms)}</td><td class="num right">${ms(one.latency_ms)}</td><td class="num right">${count(one.output_tokens)}</td><td class="num right">${usd(one.cost_usd)}</td></tr>`)}</tbody></table></div>`;
}

function Facts({ d, cluster }) {
  const tags = Object.entries(d.tags || {});
  const facts = Object.entries(d.facts || {}).filter(([, v]) => v !== 0);
  return html`<p>${cluster ? html`<a href=${`#/contexts?cluster=${d.cluster}`}>${cluster.words.join(", ")}</a>` : d.cluster < 0 ? "No context." : `Cluster ${d.cluster}`}</p>
    ${tags.length > 0 && html`<p class="badges">${tags.map(([k, v]) => html`<span class="badge plain" key=${k}>${k}: ${v}</span>`)}</p>`}
    ${facts.length > 0 && html`<details><summary>Form of the query</summary><p class="facts-line">${facts.map(([k, v]) => html`<span key=${k}>${k.replaceAll("_", " ")} <b class="num">${Number.isInteger(v) ? v : v.toFixed(3)}</b></span>`)}</p></details>`}
    ${d.session_id && html`<p>Session <a href=${`#/decisions?${query({ session_id: d.session_id })}`}>${d.session_id}</a></p>`}`;
}
