// The figures behind a choice: every arm's prediction, cost and probability, and where the number fell.
import { html } from "./vendor/preact.js";
import { dotOf, hueOf } from "./colours.js";
import { percent, reward as number, usd, within } from "./format.js";
import { Arm, Interval, ShareBar, scaleOf } from "./ui.js";
import { REASONS } from "./words.js";

/** The same table for a decision and for a query that is only tried. `choice` says what happened to it. */
export function Scores({ rows, chosen, exclusions, choice = "chosen" }) {
  const scored = rows.filter((row) => row.mean !== null && row.mean !== undefined);
  const pair = (row) => [within(row.mean - 1.96 * row.deviation), within(row.mean + 1.96 * row.deviation)];
  const [low, high] = scaleOf(scored.map(pair));
  const penalised = scored.some((row) => row.penalty > 0);
  const left = Object.entries(exclusions || {});
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Models of this choice"><table class="scores">
    <thead><tr><th scope="col">Model</th><th scope="col" title="With which probability it was to answer">Chance</th><th scope="col">Predicted reward</th><th scope="col" class="right">Mean</th>
      <th scope="col" class="right" title="Standard deviation of the prediction">±</th><th scope="col" class="right">Cost</th>
      ${penalised && html`<th scope="col" class="right" title="What its cost takes away, in units of reward">Less</th>`}
      <th scope="col" class="right" title="Mean reward, less what its cost takes away">Promises</th></tr></thead>
    <tbody>
      ${scored.map(
        (row) => html`<tr key=${row.arm} class=${row.arm === chosen ? "chosen" : ""}>
          <th scope="row"><${Arm} name=${row.arm} mark />${row.arm === chosen && html` <span class="badge">${choice}</span>`}</th>
          <td><${ShareBar} share=${row.probability} hue=${hueOf(row.arm)} /></td>
          <td class="graph"><${Interval} mean=${within(row.mean)} pair=${pair(row)} low=${low} high=${high} hue=${hueOf(row.arm)} /></td>
          <td class="num right">${number(row.mean)}</td><td class="num right">${number(row.deviation)}</td>
          <td class="num right">${usd(row.cost_usd)}</td>
          ${penalised && html`<td class="num right">${number(row.penalty)}</td>`}
          <td class="num right">${number(row.mean - row.penalty)}</td></tr>`,
      )}
      ${left.map(
        ([name, reason]) => html`<tr key=${name} class="excluded"><th scope="row"><${Arm} name=${name} /></th>
          <td colspan=${penalised ? 7 : 6}>could not answer: ${REASONS[reason] || reason.replaceAll("_", " ")}</td></tr>`,
      )}
    </tbody></table></div>`;
}

/** Where the uniform number fell on the line of probabilities, in the order in which it was drawn. */
export function DrawLine({ rows, uniform, chosen }) {
  let from = 0;
  const parts = rows.map((row) => {
    const part = { ...row, from };
    from += row.probability;
    return part;
  });
  const says = `The number ${uniform.toFixed(4)} was drawn; it falls into ${chosen}.`;
  return html`<figure class="drawline">
    <svg viewBox="0 0 1000 46" preserveAspectRatio="none" role="img" aria-label=${says}>
      ${parts.map(
        (part) => html`<rect key=${part.arm} class="segment ${hueOf(part.arm)} ${part.arm === chosen ? "hit" : ""}"
          x=${1000 * part.from} y="14" width=${Math.max(part.arm === chosen ? 4 : 1, 1000 * part.probability - 1)} height="22"><title>${part.arm}: ${percent(part.probability)}</title></rect>`,
      )}
      <path class="needle" d=${`M${1000 * uniform - 7} 2h14l-7 10zM${1000 * uniform - 1} 10h2v32h-2z`} />
    </svg>
    <figcaption><span>0</span><span>${says}</span><span>1</span></figcaption>
  </figure>
  <ul class="legend">${parts.filter((part) => part.probability > 0).map((part) => html`<li key=${part.arm}><span class="arm"><i class="dot ${dotOf(part.arm)}" aria-hidden="true"></i>${part.arm} <span class="muted num">${percent(part.probability)}</span></span></li>`)}</ul>`;
}
