// Decisions: the log, searched by id, tag, text and time; a decision opens beside it.
import { html, useEffect, useState } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { moment, predicted, query, reward, usd } from "../format.js";
import { Arm, Card, Waiting, plural } from "../ui.js";
import { Kind, name } from "../words.js";
import { Whole } from "./decision.js";

const LIMIT = 25;
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const FILTERS = ["arm", "cluster", "explored", "session_id", "request_id", "trace_id", "task_id", "tag", "text", "since", "until"];

export function Decisions({ policy, arms, values, go }) {
  const [trail, setTrail] = useState([]);
  const filters = Object.fromEntries(FILTERS.map((one) => [one, values[one]]));
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
        ${page.data ? html`<${Log} page=${page.data} clusters=${clusters} id=${values.id} open=${open} text=${filters.text} />` : html`<${Waiting} poll=${page} what="decisions" />`}
      <//>
      ${values.id && html`<${Whole} key=${values.id} id=${values.id} clusters=${clusters} close=${() => go("decisions", filters)} />`}
    </div>`;
}

/** What was typed: an id of the decision or the trace, the request's as request=id, a tag as name=value, or words. */
function meant(typed) {
  const text = typed.trim().replace(/^(chatcmpl|resp|msg)[-_]/, "");
  if (ID.test(text.toLowerCase())) return { id: text.toLowerCase() };
  if (/^[0-9a-f]{32}$/.test(text.toLowerCase())) return { trace_id: text.toLowerCase() };
  const request = /^request=(\S+)$/.exec(text);
  if (request) return { request_id: request[1] };
  const tag = /^([A-Za-z][\w.-]*)=(\S.*)$/.exec(text);
  return tag ? { tag: `${tag[1]}:${tag[2]}` } : { text };
}

function Filters({ arms, clusters, filters, filter, open }) {
  const [typed, setTyped] = useState(filters.tag?.replace(":", "=") || filters.trace_id || (filters.request_id && `request=${filters.request_id}`) || filters.text || "");
  const find = (e) => {
    e.preventDefault();
    const none = { tag: "", text: "", request_id: "", trace_id: "" };
    if (!typed.trim()) return filter(none);
    const found = meant(typed);
    if (found.id) return open(found.id);
    return filter({ ...none, ...found });
  };
  const clear = () => {
    setTyped("");
    filter(Object.fromEntries(FILTERS.map((one) => [one, ""])));
  };
  const sorted = [...clusters].sort((a, b) => b.decisions - a.decisions);
  const time = (label, which) => html`<label>${label} <input type="datetime-local" value=${local(filters[which])} onChange=${(e) => filter({ [which]: e.target.value ? new Date(e.target.value).toISOString().replace(/\.\d+Z$/, "Z") : "" })} /></label>`;
  return html`<div class="filters">
    <form role="search" onSubmit=${find}><label>Why did a query go there? <input type="search" class="find" value=${typed} placeholder="its id, its trace's, a tag such as team=legal, or words of its text" onInput=${(e) => setTyped(e.target.value)} /></label><button type="submit">Find</button></form>
    <label>Model <select value=${filters.arm || ""} onChange=${(e) => filter({ arm: e.target.value })}><option value="">any</option>${arms.map((one) => html`<option key=${one.arm} value=${one.arm}>${one.arm}</option>`)}</select></label>
    <label>About <select value=${filters.cluster ?? ""} onChange=${(e) => filter({ cluster: e.target.value })}><option value="">anything</option>${sorted.map((one) => html`<option key=${one.cluster} value=${one.cluster}>${name(one)}</option>`)}<option value="-1">not looked at</option></select></label>
    <label>Why <select value=${filters.explored || ""} onChange=${(e) => filter({ explored: e.target.value })}><option value="">any</option><option value="true">tried to learn</option><option value="false">best guess</option></select></label>
    ${time("From", "since")} ${time("To", "until")}
    <label>Session <input type="search" value=${filters.session_id || ""} placeholder="any" onChange=${(e) => filter({ session_id: e.target.value.trim() })} /></label>
    <label>Task <input type="search" value=${filters.task_id || ""} placeholder="any" onChange=${(e) => filter({ task_id: e.target.value.trim() })} /></label>
    ${Object.values(filters).some((v) => v) && html`<button type="button" class="quiet" onClick=${clear}>Clear</button>`}
  </div>`;
}

/** An ISO time as a field for local times takes it. */
function local(iso) {
  if (!iso || Number.isNaN(Date.parse(iso))) return "";
  const d = new Date(iso);
  return new Date(d - 60_000 * d.getTimezoneOffset()).toISOString().slice(0, 16);
}

function Log({ page, clusters, id, open, text }) {
  const words = new Map(clusters.map((one) => [one.cluster, name(one)]));
  if (!page.decisions.length && !page.damaged.length) {
    return html`<p class="muted">${page.next_before_id ? "None among the 10,000 decisions looked through; Older goes on." : text ? "No stored text has these words. Texts are kept where privacy.store_input is on; a decision is also found by its id or a tag." : "No decision matches. Clear the filters, or try a query."}</p>`;
  }
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Decision log"><table class="log">
    <thead><tr><th scope="col">Time</th><th scope="col">Model</th><th scope="col">About</th><th scope="col">Why</th><th scope="col" class="right">Reward</th><th scope="col" class="right">Predicted</th><th scope="col" class="right">Cost</th></tr></thead>
    <tbody>${page.decisions.map((one) => {
      const drawn = one.arms.find((arm) => arm.arm === one.arm);
      return html`<tr key=${one.decision_id} data-id=${one.decision_id} class=${one.decision_id === id ? "chosen" : ""} onClick=${() => open(one.decision_id)}>
        <td><button type="button" class="link num" aria-label=${`Open the decision of ${moment(one.created_at)}`} onClick=${(e) => { e.stopPropagation(); open(one.decision_id); }}>${moment(one.created_at)}</button></td>
        <td><${Arm} name=${one.arm} /></td><td class="words">${one.cluster < 0 ? html`<span class="warn">not looked at</span>` : words.get(one.cluster) || `kind ${one.cluster}`}</td>
        <td><${Kind} d=${one} /></td>
        <td class="num right">${one.reward === null ? html`<span class="muted">no reward</span>` : html`<b>${reward(one.reward)}</b>`}</td><td class="num right">${predicted(drawn?.mean)}</td>
        <td class="num right" title=${one.spend_usd === null ? "predicted" : "as reported"}>${one.spend_usd === null ? html`<span class="muted">≈ ${usd(one.predicted_cost_usd)}</span>` : usd(one.spend_usd)}</td></tr>`;
    })}</tbody></table></div>
    ${page.damaged.length > 0 && html`<p class="warn">${plural(page.damaged.length, "row")} of this page cannot be read: ${page.damaged.map((one) => one.decision_id).join(", ")}. Run banditd rebuild.</p>`}
    ${page.decisions.length + page.damaged.length < LIMIT && page.next_before_id && html`<p class="muted">Looked through 10,000 decisions; Older goes on.</p>`}`;
}
