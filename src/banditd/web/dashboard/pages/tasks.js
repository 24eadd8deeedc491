// Good at what: kinds of queries against models; which one does well on which, what would be chosen there and why.
import { html, useState } from "../vendor/preact.js";
import { call, refreshAll, usePoll } from "../api.js";
import { Confirm, Questions } from "../ask.js";
import { compact, count, interval, percent, query, reward, usd } from "../format.js";
import { Scores } from "../scores.js";
import { Arm, Card, Choice, Waiting, plural } from "../ui.js";
import { because } from "../words.js";

const FIRM = 8;

/** What a kind of queries is called: by its user, else by its words. */
export const name = (cluster) => cluster.name || (cluster.words?.length ? cluster.words.slice(0, 3).join(", ") : `kind ${cluster.cluster}`);

export function Tasks({ policy, arms, values, go }) {
  const contexts = usePoll(`v1/stats/contexts?${query({ policy })}`, { every: 4000 });
  const choices = usePoll(`v1/stats/choices?${query({ policy })}`, { every: 4000 });
  const chosen = values.cluster === undefined ? null : Number(values.cluster);
  const select = (cluster) => go("tasks", cluster === chosen || cluster === null ? {} : { cluster });
  if (!contexts.data) return html`<${Waiting} poll=${contexts} what="kinds of queries" />`;
  const clusters = [...contexts.data.clusters].sort((a, b) => b.decisions - a.decisions);
  if (!clusters.length) {
    return html`<${Card} title="No queries yet"><p>Queries are sorted by form and meaning as they come. <a href="#/playground">Try the first one here</a>, or send it with the command on the <a href="#/overview">overview</a>.</p><//>`;
  }
  const byCluster = new Map((choices.data?.clusters || []).map((one) => [one.cluster, one]));
  const rows = clusters.map((c) => ({ key: c.cluster, name: name(c), title: c.words.join(", "), decisions: c.decisions, cells: c.arms, best: c.best_arm, pick: byCluster.get(c.cluster)?.arm }));
  const one = clusters.find((c) => c.cluster === chosen) || null;
  return html`
    <${Questions} items=${[{ ask: "Which model is good at what?", answer: goodAt(rows) }]} />
    ${one && html`<${Detail} one=${one} choice=${byCluster.get(one.cluster)} go=${go} select=${select} />`}
    <${Grid} rows=${rows} arms=${arms} chosen=${chosen} select=${select} what="Kind of query" />`;
}

/** Of the kinds of which enough is known, who earns most on each: a sentence. */
function goodAt(rows) {
  const known = rows.flatMap((row) => {
    const firm = row.cells.filter((cell) => cell.rewards >= FIRM && cell.mean_reward !== null).sort((a, b) => b.mean_reward - a.mean_reward);
    return firm.length > 1 ? [{ row, best: firm[0], next: firm[1] }] : [];
  });
  if (!known.length) return `Not known yet: no kind of queries has two models with ${FIRM} rewards each.`;
  const tell = ({ row, best, next }) => `${best.arm} at “${row.name}” (${best.mean_reward.toFixed(2)}, next ${next.arm} with ${next.mean_reward.toFixed(2)}${row.best === best.arm ? "" : "; not yet sure"})`;
  return `Best so far: ${known.slice(0, 4).map(tell).join("; ")}.`;
}

function Detail({ one, choice, go, select }) {
  return html`<${Card} title=${name(one)} id="task" side=${html`<button type="button" class="quiet" onClick=${() => select(null)}>Close</button>`}
      note=${`${plural(one.decisions, "decision")}. Typical words: ${one.words.join(", ") || "–"}.`}>
    ${choice ? html`<p class="why">${because(choice.arms)}</p><${Scores} rows=${choice.arms} chosen=${null} />` : html`<p class="muted">No model is enabled.</p>`}
    <p class="row wrap"><button type="button" onClick=${() => go("decisions", { cluster: one.cluster })}>Its decisions</button></p><//>`;
}

/** rows : [{key, name, title, decisions, cells: [{arm, mean_reward, interval, rewards, ...}], best, pick}], in order. */
function Grid({ rows, arms, chosen, select, what }) {
  const [view, setView] = useState("observed");
  const names = arms.map((one) => one.arm);
  const cells = rows.flatMap((row) => row.cells);
  const modelled = cells.some((cell) => cell.posterior_mean !== undefined);
  const valueOf = (cell) => (view === "observed" ? cell?.mean_reward : cell?.posterior_mean) ?? null;
  // A single reward says little: it neither sets the scale nor gets the full colour.
  const firm = cells.filter((cell) => cell.rewards >= FIRM && valueOf(cell) !== null);
  const all = (firm.length ? firm : cells).map(valueOf).filter((v) => v !== null);
  const low = all.length ? Math.min(...all) : 0;
  const high = all.length ? Math.max(...all) : 1;
  const shade = (v) => (v === null ? "none" : String(Math.max(0, Math.min(9, Math.floor((10 * (v - low)) / (high - low || 1))))));
  return html`<${Card} title="Models by kind of query" note="Mean reward of every model on every kind of query, its 95 % interval, and how many rewards it rests on. A ring marks the model that would be chosen now."
      side=${modelled && html`<${Choice} label="What to show" value=${view} onChange=${setView} options=${[["observed", "Observed"], ["model", "Predicted"]]} />`}>
    <div class="scroll" tabindex="0" role="region" aria-label="Models by kind of query"><table class="heat">
      <thead><tr><th scope="col">${what}</th><th scope="col" class="right">Decisions</th>${names.map((arm) => html`<th scope="col" key=${arm}><${Arm} name=${arm} mark /></th>`)}<th scope="col">Clear winner</th></tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.key} class=${row.key === chosen ? "chosen" : ""}>
          <th scope="row">${select ? html`<button type="button" class="link" aria-pressed=${String(row.key === chosen)} onClick=${() => select(row.key)} title=${row.title}>${row.name}</button>` : row.name}</th>
          <td class="num right">${compact(row.decisions)}</td>
          ${names.map((arm) => {
            const cell = row.cells.find((each) => each.arm === arm);
            const value = valueOf(cell);
            const pair = view === "observed" ? cell?.interval : cell?.posterior_interval;
            const each = cell?.decisions && cell.spend_usd ? `, ${usd(cell.spend_usd / cell.decisions)} each` : "";
            return html`<td key=${arm} class="cell shade-${shade(value)} ${arm === row.pick ? "ring" : ""} ${(cell?.rewards || 0) < FIRM ? "thin" : ""}" title=${`${arm} on ${row.name}: ${reward(value)}, 95 % ${interval(pair)}, ${count(cell?.rewards || 0)} rewards, ${count(cell?.decisions || 0)} decisions${each}`}>
              ${value === null ? html`<span class="empty">–</span>` : html`<b>${reward(value)}</b><small>${pair ? `${pair[0].toFixed(2)}–${pair[1].toFixed(2)}` : ""} · ${compact(cell.rewards)}</small>`}</td>`;
          })}
          <td>${row.best ? html`<${Arm} name=${row.best} />` : html`<span class="muted">not yet</span>`}</td></tr>`)}</tbody></table></div>
    <p class="keys"><span class="scale">${[...Array(10).keys()].map((i) => html`<i key=${i} class="shade-${i}"></i>`)}</span>${reward(low)} to ${reward(high)} <span class="ringkey"></span>would be chosen now <span class="thinkey">pale</span> fewer than ${FIRM} rewards</p><//>`;
}
