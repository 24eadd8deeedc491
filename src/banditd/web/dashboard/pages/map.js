// The map of recent queries: near means alike in meaning.
import { html, useMemo, useState } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { hueOf } from "../colours.js";
import { query, reward } from "../format.js";
import { Arm, Card, Legend, Waiting, plural } from "../ui.js";
import { name } from "../words.js";

export function QueryMapCard({ policy, arms, clusters, go }) {
  const map = usePoll(`v1/stats/map?${query({ policy, limit: 400 })}`, { every: 4000 });
  return html`<${Card} title="Map of recent queries" note="Each dot is one of the last queries; near means alike in meaning. The colour is the model that was chosen.">
    ${map.data ? html`<${QueryMap} points=${map.data.points} arms=${arms} clusters=${clusters} go=${go} />` : html`<${Waiting} poll=${map} what="the map" />`}<//>`;
}

function QueryMap({ points, arms, clusters, go }) {
  const [hidden, setHidden] = useState(new Set());
  const [over, setOver] = useState(null);
  const words = useMemo(() => new Map(clusters.map((one) => [one.cluster, name(one)])), [clusters]);
  const shown = points.filter((point) => !hidden.has(point.arm));
  if (!points.length) return html`<p class="muted">No recent query has a context of today's encoder.</p>`;
  const [x0, x1] = spread(points.map((p) => p.position[0]));
  const [y0, y1] = spread(points.map((p) => p.position[1]));
  const at = (p) => [20 + (600 * (p.position[0] - x0)) / (x1 - x0), 380 - (360 * (p.position[1] - y0)) / (y1 - y0)];
  const toggle = (arm) => {
    const next = new Set(hidden);
    if (!next.delete(arm)) next.add(arm);
    setHidden(next);
  };
  const say = over
    ? html`<${Arm} name=${over.arm} /> <span>${words.get(over.cluster) || `cluster ${over.cluster}`}</span> <span class="muted">${over.explored ? "tried to learn, " : ""}${over.reward === null ? "no reward" : `reward ${reward(over.reward)}`}</span>`
    : html`<span class="muted">Point at a dot; click it to open the decision.</span>`;
  return html`
    <svg class="querymap" viewBox="0 0 640 400" role="img" aria-label=${`${plural(shown.length, "recent query", "recent queries")} on a plane, coloured by model`} onMouseLeave=${() => setOver(null)}>
      <g class="frame"><line x1="20" y1="380" x2="620" y2="380" /><line x1="20" y1="20" x2="20" y2="380" /></g>
      ${[...shown].reverse().map((p) => {
        const [cx, cy] = at(p);
        return html`<circle key=${p.decision_id} class="spot ${hueOf(p.arm)} ${p.explored ? "explored" : ""}" cx=${cx.toFixed(1)} cy=${cy.toFixed(1)} r=${over === p ? 7 : 4.5}
          onMouseEnter=${() => setOver(p)} onClick=${() => go("decisions", { id: p.decision_id })} />`;
      })}
      ${labels(points, at, words).map((one) => html`<text key=${one.cluster} class="maplabel" x=${one.x} y=${one.y}>${one.text}</text>`)}
    </svg>
    <p class="say" aria-live="off">${say}</p>
    <${Legend} arms=${arms.filter((one) => points.some((p) => p.arm === one.arm))} hidden=${hidden} onToggle=${toggle} />`;
}

/** From the least to the greatest; some room where all are the same. */
function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const low = sorted[0];
  const high = sorted[sorted.length - 1];
  return high > low ? [low, high] : [low - 1, high + 1];
}

/** The words of the largest clusters, at the middle of their dots, where they do not cover each other. */
function labels(points, at, words) {
  const groups = new Map();
  for (const p of points) (groups.get(p.cluster) || groups.set(p.cluster, []).get(p.cluster)).push(at(p));
  const placed = [];
  for (const [cluster, spots] of [...groups].sort((a, b) => b[1].length - a[1].length)) {
    const middle = (i) => [...spots].sort((a, b) => a[i] - b[i])[Math.floor(spots.length / 2)][i];
    const text = (words.get(cluster) || "").split(", ").slice(0, 2).join(", ");
    const one = { cluster, text, x: Math.min(535, Math.max(105, middle(0))), y: middle(1) - 8 };
    if (text && spots.length > 3 && placed.every((other) => Math.abs(other.y - one.y) > 17 || Math.abs(other.x - one.x) > 120)) placed.push(one);
    if (placed.length >= 9) break;
  }
  return placed;
}
