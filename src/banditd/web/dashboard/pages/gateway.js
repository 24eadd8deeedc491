// The gateway: calls, the attempts they took, time to the first token, and errors by upstream.
import { html } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { compact, count, ms, percent, query, usd } from "../format.js";
import { Card, Tile, Waiting } from "../ui.js";

const ERRORS = {
  transport: "no connection", timeout: "time-out", overload: "overloaded", server: "upstream's failure", auth: "key refused",
  request: "request refused", context: "query too long", policy: "content policy", client_gone: "client left",
};

/** Nothing where no gateway is configured and nobody reported attempts. */
export function Gateway({ policy, length }) {
  const poll = usePoll(`v1/stats/upstreams?${query({ policy, window_s: length })}`, { every: 5000, keep: true });
  const u = poll.data;
  if (!u) return poll.error ? html`<${Card} title="Calls of models"><${Waiting} poll=${poll} what="calls" /><//>` : null;
  if (!u.gateway && !u.attempts) return null;
  const wrong = Object.entries(u.errors).sort((a, b) => b[1] - a[1]);
  const total = wrong.reduce((sum, [, n]) => sum + n, 0);
  return html`<${Card} title="Calls of models" note=${`What the gateway called, and what clients reported of their own calls, in this window.${u.truncated ? " Of the newest 10,000 decisions." : ""}`}>
    <div class="tiles inner">
      <${Tile} label="Calls" value=${compact(u.calls)} sub=${u.gateway ? `${count(u.open)} open now` : "reported by clients"} title="Decisions whose model was called" />
      <${Tile} label="Attempts" value=${compact(u.attempts)} sub=${`${count(u.fallbacks)} answered by a fallback`} title="Calls of an upstream; a call that fails is tried again elsewhere" />
      <${Tile} label="Time to first token" value=${ms(u.first_token_ms?.p50)} sub=${u.first_token_ms ? `95 % within ${ms(u.first_token_ms.p95)}` : "no stream yet"} title="Median over attempts that streamed" />
      <${Tile} label="Errors" value=${compact(total)} tone=${u.failed ? "bad" : ""} sub=${total ? `${ERRORS[wrong[0][0]] || wrong[0][0]} most; ${count(u.failed)} calls unanswered` : "every attempt answered"} title=${wrong.map(([name, n]) => `${ERRORS[name] || name}: ${n}`).join(", ")} />
    </div>
    ${u.upstreams.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Upstreams"><table><thead><tr><th scope="col">Upstream</th><th scope="col" class="right">Attempts</th><th scope="col" class="right">First token</th><th scope="col" class="right">Answer</th><th scope="col" class="right">Failed</th><th scope="col">Errors</th><th scope="col" class="right">Cost</th></tr></thead>
      <tbody>${u.upstreams.map((one) => html`<tr key=${one.upstream}><th scope="row">${one.upstream || html`<span class="muted">called by clients</span>`}</th>
        <td class="num right">${count(one.attempts)}</td><td class="num right" title="Median">${ms(one.first_token_ms?.p50)}</td><td class="num right" title="Median">${ms(one.latency_ms?.p50)}</td>
        <td class="num right ${one.error_share > 0.05 ? "warn" : ""}">${percent(one.error_share)}</td>
        <td>${Object.keys(one.errors).length ? Object.entries(one.errors).sort((a, b) => b[1] - a[1]).map(([name, n]) => html`<span class="badge ${name === "client_gone" ? "plain" : "bad"}" key=${name}>${ERRORS[name] || name}: ${count(n)}</span> `) : html`<span class="muted">none</span>`}</td>
        <td class="num right">${usd(one.cost_usd)}</td></tr>`)}</tbody></table></div>`}<//>`;
}
