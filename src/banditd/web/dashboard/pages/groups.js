// What was saved and lost by the values of a tag of the user's: where it pays, and where it does not.
import { html, useState } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { count, isoAgo, percent, query, usd } from "../format.js";
import { Card, Waiting } from "../ui.js";
import { HELD, lostWords } from "./headline.js";

const SHOWN = 20;

/** Nothing where no decision has a tag. length : of the window in seconds; null for the whole life. */
export function Groups({ policy, length }) {
  const tags = usePoll(`v1/tags?${query({ policy })}`, { every: 30_000 });
  const [wanted, setWanted] = useState("");
  const [every, setEvery] = useState(false);
  const names = (tags.data?.tags || []).map((one) => one.tag);
  const tag = names.includes(wanted) ? wanted : names[0];
  const poll = usePoll(tag ? () => `v1/savings?${query({ policy, by: `tag:${tag}`, since: length && isoAgo(length), limit: every ? null : SHOWN + 1 })}` : null, { every: 10_000, key: `groups/${policy}/${tag}/${length}/${every}` });
  if (!tag) return null;
  const side = names.length > 1 && html`<label class="pick">by <select value=${tag} onChange=${(e) => setWanted(e.target.value)}>${names.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>`;
  const found = poll.data?.groups || [];
  const keep = poll.data ? poll.data.keep : null;
  const more = !every && found.length > SHOWN;
  const groups = more ? found.slice(0, SHOWN) : found;
  return html`<${Card} title=${`Saved and lost by ${tag}`} side=${side} note=${`The same figures for ${more ? `the ${SHOWN} busiest values` : "every value"} of your tag.`}>
    ${!poll.data ? html`<${Waiting} poll=${poll} what="values" />` : !groups.length ? html`<p class="muted">No value has figures of its own in this window.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label=${`Saved and lost by ${tag}`}><table>
      <thead><tr><th scope="col">${tag}</th><th scope="col" class="right">Decisions</th><th scope="col" class="right">Saved</th><th scope="col" class="right">Of its cost</th><th scope="col">Lost</th>${keep !== null && html`<th scope="col">Promise</th>`}</tr></thead>
      <tbody>${groups.map((one) => html`<tr key=${one.value ?? ""}><th scope="row" title=${one.headline}>${one.value === null || one.other ? html`<span class="muted">all others</span>` : html`<a href=${`#/decisions?${query({ tag: `${tag}:${one.value}` })}`}>${one.value}</a>`}</th>
        <td class="num right">${count(one.decisions)}</td><td class="num right ${one.saved.usd > 0 ? "gain" : ""}">${usd(one.saved.usd)}</td><td class="num right">${percent(one.saved.share, 0)}</td>
        <td>${one.lost.points === null ? html`<span class="muted">${one.lost.reason || "not yet known"}</span>` : html`<span class="num">${lostWords(one.lost)}</span>`}</td>
        ${keep !== null && html`<td><span class="badge ${HELD[one.held]?.[1] || "plain"}">${HELD[one.held]?.[0] || one.held}</span></td>`}</tr>`)}</tbody></table></div>
      ${more && html`<p><button type="button" class="quiet" onClick=${() => setEvery(true)}>Show all values</button></p>`}`}<//>`;
}
