// What releases look like wherever they are shown: the newest one on the overview, measures as rows.
import { html } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { count, moment, ms, percent, query, usd } from "../format.js";
import { Card, Interval, ShareBar } from "../ui.js";

const REACH = 0.5;

const LIMITS = { latency: ms, cost: usd, output_length: (v) => `${count(v)} tokens` };

/** How a measure is called: `reward`, `reward: quality`, `no error`, `latency up to 8.0 s`. */
export function nameOf(one) {
  if (!one.measure) return one.metric ? `reward: ${one.metric}` : "reward";
  const name = one.measure.replaceAll("_", " ");
  return one.limit === null ? `no ${name}` : `${name} up to ${(LIMITS[one.measure] || count)(one.limit)}`;
}

/** The name of the same measure in points. */
export const keyOf = (one) => one.measure || (one.metric ? `reward:${one.metric}` : "reward");

function Measure({ one }) {
  const share = Math.min(one.evidence / one.needed, 1);
  return html`<tr><th scope="row">${nameOf(one)}</th><td class="num right">${count(one.units.candidate)} / ${count(one.units.incumbent)}</td>
    <td>${one.interval ? html`<${Interval} mean=${one.difference} pair=${one.interval} low=${-REACH} high=${REACH} mark=${0} />` : html`<span class="muted">nothing yet</span>`}</td>
    <td>${one.difference === null ? html`<span class="muted">nothing yet</span>` : html`<${ShareBar} share=${share} hue=${share > 0.2 ? "bad" : "accent"} label=${`${percent(share)} of an alarm`} />`}</td></tr>`;
}

export const Measures = ({ release }) => html`<div class="scroll" tabindex="0" role="region" aria-label="What is measured"><table class="compact">
  <thead><tr><th scope="col">Measure</th><th scope="col">Units of both</th><th scope="col">Difference</th><th scope="col">Against it</th></tr></thead><tbody>
  ${[...release.metrics, ...release.guardrails].map((one) => html`<${Measure} key=${keyOf(one)} one=${one} />`)}</tbody></table></div>`;

export const isOpen = (one) => one.phase === "running" || one.phase === "paused";

export const MEASURED = "Candidate less incumbent where the two differ, more is better: 95 % intervals. A whole alarm takes it back.";

/** Shown where there has been a release. `go` leads to the page of releases. */
export function ReleaseCard({ policy, go }) {
  const { data } = usePoll(`v1/releases?${query({ policy, limit: 1 })}`, { every: 5000 });
  const one = data?.releases?.[0];
  if (!one) return null;
  const more = html`<button type="button" class="quiet" onClick=${() => go("releases")}>All releases</button>`;
  return html`<${Card} title=${`Release of ${one.candidate}`} note=${isOpen(one) ? MEASURED : ""} side=${more}>
    <p>${one.words}</p>
    ${isOpen(one) ? html`<${Measures} release=${one} />` : html`<p class="muted">Ended ${moment(one.ended_at)}.</p>`}<//>`;
}
