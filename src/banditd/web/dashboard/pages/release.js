// The newest release of a policy: in words, then how far it is and what speaks against it.
import { html } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { count, moment, percent, query } from "../format.js";
import { Card, Interval, ShareBar } from "../ui.js";

const REACH = 0.5;

function Measure({ name, one }) {
  const share = Math.min(one.evidence / one.needed, 1);
  return html`<tr><th scope="row">${name}</th><td class="num right">${count(one.units.candidate)} / ${count(one.units.incumbent)}</td>
    <td>${one.interval ? html`<${Interval} mean=${one.difference} pair=${one.interval} low=${-REACH} high=${REACH} mark=${0} />` : html`<span class="muted">nothing yet</span>`}</td>
    <td><${ShareBar} share=${share} hue=${share > 0.2 ? "bad" : "accent"} label=${`${percent(share)} of an alarm`} /></td></tr>`;
}

/** Shown where there has been a release. */
export function ReleaseCard({ policy }) {
  const { data } = usePoll(`v1/releases?${query({ policy, limit: 1 })}`, { every: 5000 });
  const one = data?.releases?.[0];
  if (!one) return null;
  const open = one.phase === "running" || one.phase === "paused";
  const note = open ? "Candidate less incumbent where the two differ, more is better: 95 % intervals. A whole alarm takes it back." : "";
  return html`<${Card} title=${`Release of ${one.candidate}`} note=${note}>
    <p>${one.words}</p>
    ${open
      ? html`<div class="scroll" tabindex="0" role="region" aria-label="What is measured"><table class="compact">
        <thead><tr><th scope="col">Measure</th><th scope="col">Units of both</th><th scope="col">Difference</th><th scope="col">Against it</th></tr></thead><tbody>
        ${one.metrics.map((m) => html`<${Measure} key=${m.metric} name=${m.metric ? `reward: ${m.metric}` : "reward"} one=${m} />`)}
        ${one.guardrails.map((g) => html`<${Measure} key=${g.measure} name=${`no ${g.measure}`} one=${g} />`)}</tbody></table></div>`
      : html`<p class="muted">Ended ${moment(one.ended_at)}.</p>`}<//>`;
}
