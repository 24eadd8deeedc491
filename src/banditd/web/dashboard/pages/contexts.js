// Contexts: which kinds of queries there are, which arm does well on them, what would be chosen there and why.
import { html, useMemo, useState } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { compact, count, interval, percent, query, reward } from "../format.js";
import { Arm, Card, Choice, Legend, Scores, Waiting, because, hueOf, plural } from "../ui.js";

const FIRM = 8;

export const name = (cluster) => (cluster.words?.length ? cluster.words.slice(0, 3).join(", ") : `cluster ${cluster.cluster}`);

export function Contexts({ policy, arms, values, go }) {
  const contexts = usePoll(`v1/stats/contexts?${query({ policy })}`, { every: 4000 });
  const choices = usePoll(`v1/stats/choices?${query({ policy })}`, { every: 4000 });
  const map = usePoll(`v1/stats/map?${query({ policy, limit: 400 })}`, { every: 4000 });
  const chosen = values.cluster === undefined ? null : Number(values.cluster);
  const select = (cluster) => go("contexts", cluster === chosen || cluster === null ? {} : { cluster });
  if (!contexts.data) return html`<${Waiting} poll=${contexts} what="contexts" />`;
  const clusters = [...contexts.data.clusters].sort((a, b) => b.decisions - a.decisions);
  if (!clusters.length) {
    return html`<${Card} title="No queries yet"><p>Queries are sorted into clusters of form and meaning as they come. Send the first from the <a href="#/playground">playground</a>, or with the command on the <a href="#/overview">overview</a>.</p><//>`;
  }
  const byCluster = new Map((choices.data?.clusters || []).map((one) => [one.cluster, one]));
  const one = clusters.find((c) => c.cluster === chosen) || null;
  return html`
    <div class="grid map-grid narrow">
      <${Card} title="Map of recent queries" note="Each dot is one of the last queries; near means alike in meaning. The colour is the arm that was drawn.">
        ${map.data ? html`<${QueryMap} points=${map.data.points} arms=${arms} clusters=${clusters} chosen=${chosen} go=${go} select=${select} />` : html`<${Waiting} poll=${map} what="the map" />`}
      <//>
      <${Detail} one=${one} clusters=${clusters} choices=${byCluster} arms=${arms} go=${go} select=${select} />
    </div>
    <${HeatMap} clusters=${clusters} choices=${byCluster} arms=${arms} chosen=${chosen} select=${select} />`;
}

function QueryMap({ points, arms, clusters, chosen, go, select }) {
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
    ? html`<${Arm} arms=${arms} name=${over.arm} /> <span>${words.get(over.cluster) || `cluster ${over.cluster}`}</span> <span class="muted">${over.explored ? "explored, " : ""}${over.reward === null ? "no reward yet" : `reward ${reward(over.reward)}`}</span>`
    : html`<span class="muted">Point at a dot; click it to open the decision. ${chosen !== null ? "Only the chosen cluster is in full colour." : ""}</span>`;
  return html`
    <svg class="querymap" viewBox="0 0 640 400" role="img" aria-label=${`${plural(shown.length, "recent query", "recent queries")} on a plane, coloured by arm`} onMouseLeave=${() => setOver(null)}>
      <g class="frame"><line x1="20" y1="380" x2="620" y2="380" /><line x1="20" y1="20" x2="20" y2="380" /></g>
      ${[...shown].reverse().map((p) => {
        const [cx, cy] = at(p);
        const faded = chosen !== null && p.cluster !== chosen;
        return html`<circle key=${p.decision_id} class="spot ${hueOf(arms, p.arm)} ${faded ? "faded" : ""} ${p.explored ? "explored" : ""}" cx=${cx.toFixed(1)} cy=${cy.toFixed(1)} r=${over === p ? 7 : 4.5}
          onMouseEnter=${() => setOver(p)} onClick=${() => go("decisions", { id: p.decision_id })} />`;
      })}
      ${chosen === null && labels(points, at, words).map((one) => html`<text key=${one.cluster} class="maplabel" x=${one.x} y=${one.y}>${one.text}</text>`)}
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

function Detail({ one, clusters, choices, arms, go, select }) {
  if (!one) {
    const total = clusters.reduce((sum, c) => sum + c.decisions, 0);
    return html`<${Card} title="What would be chosen" note="For the mean query of each cluster, the largest first. Choose one to see why.">
      <ul class="chooser">${clusters.slice(0, 14).map((c) => {
        const choice = choices.get(c.cluster);
        const row = choice?.arms.find((arm) => arm.arm === choice.arm);
        return html`<li key=${c.cluster}><button type="button" onClick=${() => select(c.cluster)}>
          <span class="words">${name(c)}</span><span class="muted num">${percent(c.decisions / total, 0)}</span>
          ${choice ? html`<${Arm} arms=${arms} name=${choice.arm} /><span class="num muted">${percent(row.probability)}</span>` : html`<span></span><span></span>`}</button></li>`;
      })}</ul><//>`;
  }
  const choice = choices.get(one.cluster);
  return html`<${Card} title=${name(one)} side=${html`<button type="button" class="quiet" onClick=${() => select(null)}>All clusters</button>`}
      note=${html`Cluster ${one.cluster}, ${plural(one.decisions, "decision")}. Typical words: ${one.words.join(", ") || "–"}.`}>
    ${choice ? html`<p class="why">${because(choice.arms)}</p><${Scores} rows=${choice.arms} arms=${arms} chosen=${null} />` : html`<p class="muted">No enabled arm.</p>`}
    <p><button type="button" onClick=${() => go("decisions", { cluster: one.cluster })}>Its decisions</button></p><//>`;
}

function HeatMap({ clusters, choices, arms, chosen, select }) {
  const [view, setView] = useState("observed");
  const known = arms.map((one) => one.arm);
  const cells = clusters.flatMap((c) => c.arms);
  const valueOf = (cell) => (view === "observed" ? cell?.mean_reward : cell?.posterior_mean) ?? null;
  // A single reward says little: it neither sets the scale nor gets the full colour.
  const firm = cells.filter((cell) => cell.rewards >= FIRM && valueOf(cell) !== null);
  const all = (firm.length ? firm : cells).map(valueOf).filter((v) => v !== null);
  const low = all.length ? Math.min(...all) : 0;
  const high = all.length ? Math.max(...all) : 1;
  const shade = (v) => (v === null ? "none" : String(Math.max(0, Math.min(9, Math.floor((10 * (v - low)) / (high - low || 1))))));
  return html`<${Card} title="Clusters and arms" note="Mean reward of every arm in every cluster, its 95 % interval, and how many rewards it rests on. A ring marks the arm that would be chosen now."
      side=${html`<${Choice} label="What to show" value=${view} onChange=${setView} options=${[["observed", "Observed"], ["model", "By the model"]]} />`}>
    <div class="scroll" tabindex="0" role="region" aria-label="Clusters and arms"><table class="heat">
      <thead><tr><th scope="col">Cluster</th><th scope="col" class="right">Decisions</th>${known.map((arm) => html`<th scope="col" key=${arm}><${Arm} arms=${arms} name=${arm} /></th>`)}<th scope="col">Clear winner</th></tr></thead>
      <tbody>${clusters.map((c) => {
        const pick = choices.get(c.cluster)?.arm;
        return html`<tr key=${c.cluster} class=${c.cluster === chosen ? "chosen" : ""}>
          <th scope="row"><button type="button" class="link" aria-pressed=${String(c.cluster === chosen)} onClick=${() => select(c.cluster)} title=${c.words.join(", ")}>${name(c)}</button></th>
          <td class="num right">${compact(c.decisions)}</td>
          ${known.map((arm) => {
            const cell = c.arms.find((row) => row.arm === arm);
            const value = valueOf(cell);
            const pair = view === "observed" ? cell?.interval : cell?.posterior_interval;
            return html`<td key=${arm} class="cell shade-${shade(value)} ${arm === pick ? "ring" : ""} ${(cell?.rewards || 0) < FIRM ? "thin" : ""}" title=${`${arm} in ${name(c)}: ${reward(value)}, 95 % ${interval(pair)}, ${count(cell?.rewards || 0)} rewards`}>
              ${value === null ? html`<span class="empty">–</span>` : html`<b>${reward(value)}</b><small>${pair ? `${pair[0].toFixed(2)}–${pair[1].toFixed(2)}` : ""} · ${compact(cell.rewards)}</small>`}</td>`;
          })}
          <td>${c.best_arm ? html`<${Arm} arms=${arms} name=${c.best_arm} />` : html`<span class="muted">not yet</span>`}</td></tr>`;
      })}</tbody></table></div>
    <p class="keys"><span class="scale">${[...Array(10).keys()].map((i) => html`<i key=${i} class="shade-${i}"></i>`)}</span>${reward(low)} to ${reward(high)} <span class="ringkey"></span>would be chosen now <span class="thinkey">pale</span> fewer than ${FIRM} rewards</p><//>`;
}
