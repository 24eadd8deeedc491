// Good at what: kinds of queries against models; which one does well on which, what would be chosen there and why.
import { html, useState } from "../vendor/preact.js";
import { call, refreshAll, usePoll } from "../api.js";
import { Confirm, Questions } from "../ask.js";
import { compact, count, interval, percent, query, reward, usd } from "../format.js";
import { Scores } from "../scores.js";
import { Arm, Card, Choice, Waiting, plural } from "../ui.js";
import { because, name } from "../words.js";
import { Abilities, ablest, hardest } from "./abilities.js";

const FIRM = 8;

export function Tasks({ policy, arms, values, go }) {
  const tags = usePoll(`v1/tags?${query({ policy })}`, { every: 30_000 });
  const names = (tags.data?.tags || []).map((one) => one.tag);
  const by = values.by && (!tags.data || names.includes(values.by)) ? values.by : "";
  return html`
    ${names.length > 0 && html`<p class="row wrap"><label>Rows are <select value=${by} onChange=${(e) => go("tasks", e.target.value ? { by: e.target.value } : {})}>
      <option value="">kinds of query, by form and meaning</option>${names.map((one) => html`<option key=${one} value=${one}>values of your tag “${one}”</option>`)}</select></label></p>`}
    ${by ? html`<${ByTag} key=${by} policy=${policy} arms=${arms} tag=${by} go=${go} />` : html`<${ByKind} policy=${policy} arms=${arms} values=${values} go=${go} />`}`;
}

/** The user's own words: values of one of his tags against models. */
function ByTag({ policy, arms, tag, go }) {
  const poll = usePoll(`v1/stats/contexts?${query({ policy, by: `tag:${tag}` })}`, { every: 5000 });
  if (!poll.data) return html`<${Waiting} poll=${poll} what=${`values of ${tag}`} />`;
  const rows = poll.data.groups.map((one) => ({ key: one.value ?? "", name: one.other ? "all others" : one.value, title: `${tag}: ${one.other ? "values without a row of their own" : one.value}`, decisions: one.decisions, cells: one.arms, best: one.best_arm, other: one.other }));
  return html`<${Questions} items=${[{ ask: "Which model is good at what?", answer: goodAt(rows) }]} />
    <${Grid} rows=${rows} arms=${arms} chosen=${null} select=${(value) => go("decisions", { tag: `${tag}:${value}` })} what=${tag} />`;
}

function ByKind({ policy, arms, values, go }) {
  const contexts = usePoll(`v1/stats/contexts?${query({ policy })}`, { every: 4000 });
  const choices = usePoll(`v1/stats/choices?${query({ policy })}`, { every: 4000 });
  const abilities = usePoll(`v1/stats/abilities?${query({ policy })}`, { every: 15_000 });
  const chosen = values.cluster === undefined ? null : Number(values.cluster);
  const select = (cluster) => go("tasks", cluster === chosen || cluster === null ? {} : { cluster });
  if (!contexts.data) return html`<${Waiting} poll=${contexts} what="kinds of queries" />`;
  const clusters = [...contexts.data.clusters].sort((a, b) => b.decisions - a.decisions);
  if (!clusters.length) {
    return html`<${Card} title="No queries yet"><p>Queries are sorted by form and meaning as they come. <a href="#/playground">Try the first one here</a>, or send it with the command on the <a href="#/overview">overview</a>.</p><//>`;
  }
  const byCluster = new Map((choices.data?.clusters || []).map((one) => [one.cluster, one]));
  const rows = clusters.map((c) => ({ key: c.cluster, name: name(c), title: `${SOURCES[c.name_source] || ""}${c.words.join(", ")}`, decisions: c.decisions, cells: c.arms, best: c.best_arm, pick: byCluster.get(c.cluster)?.arm }));
  const one = clusters.find((c) => c.cluster === chosen) || null;
  return html`
    <${Questions} items=${[{ ask: "Which model is good at what?", answer: goodAt(rows) }, { ask: "Which queries are hard?", answer: hardest(abilities.data) }, { ask: "Which model is the ablest?", answer: ablest(abilities.data) }]} />
    ${one && html`<${Detail} one=${one} policy=${policy} choice=${byCluster.get(one.cluster)} go=${go} select=${select} />`}
    <${Grid} rows=${rows} arms=${arms} chosen=${chosen} select=${select} what="Kind of query" />
    ${abilities.data && html`<${Abilities} data=${abilities.data} />`}`;
}

const SOURCES = { user: "Named by you. ", tags: "Named by your tags. ", shipped: "Words that were shipped, not of your traffic: name it yourself. " };

/** Of the rows of which enough is known, who earns most on each: a sentence. Like is compared with like where it can be. */
function goodAt(rows) {
  const worth = (cell) => cell.always?.mean ?? (cell.rewards >= FIRM ? cell.mean_reward : null);
  const known = rows.flatMap((row) => {
    const firm = row.cells.filter((cell) => worth(cell) !== null).sort((a, b) => worth(b) - worth(a));
    return firm.length > 1 && !row.other ? [{ row, best: firm[0], next: firm[1] }] : [];
  });
  if (!known.length) return `Not known yet: no row has two models with ${FIRM} rewards each.`;
  const tell = ({ row, best, next }) => `${best.arm} at “${row.name}” (${worth(best).toFixed(2)}, next ${next.arm} with ${worth(next).toFixed(2)}${row.best === best.arm ? "" : "; not yet sure"})`;
  return `Best so far: ${known.slice(0, 4).map(tell).join("; ")}.`;
}

function Detail({ one, policy, choice, go, select }) {
  const [naming, setNaming] = useState(false);
  return html`<${Card} title=${name(one)} id="task" side=${html`<button type="button" class="quiet" onClick=${() => select(null)}>Close</button>`}
      note=${`${plural(one.decisions, "decision")}. ${SOURCES[one.name_source] || ""}Shipped words: ${one.words.join(", ") || "–"}.`}>
    ${choice ? html`<p class="why">${because(choice.arms)}</p><${Scores} rows=${choice.arms} chosen=${null} />` : html`<p class="muted">No model is enabled.</p>`}
    <p class="row wrap"><button type="button" onClick=${() => go("decisions", { cluster: one.cluster })}>Its decisions</button><button type="button" onClick=${() => setNaming(true)}>Name it</button></p>
    ${naming && html`<${NameIt} one=${one} policy=${policy} onClose=${() => setNaming(false)} />`}<//>`;
}

/** A name in the user's words; without one it is called by its words again. */
function NameIt({ one, policy, onClose }) {
  const [text, setText] = useState(one.name_source === "user" ? one.name : "");
  const save = async () => {
    await call("PATCH", `v1/contexts/${one.cluster}?${query({ policy })}`, { name: text.trim() || null });
    refreshAll();
  };
  return html`<${Confirm} title="Name this kind of query" yes=${text.trim() ? "Call it so" : "Give up its name"} onYes=${save} onClose=${onClose}>
    <p class="muted">Everybody who looks at this daemon sees the name.</p>
    <label>Name <input value=${text} maxlength="80" placeholder=${name(one)} onInput=${(e) => setText(e.target.value)} /></label><//>`;
}

/** rows : [{key, name, title, decisions, cells: [{arm, mean_reward, interval, rewards, ...}], best, pick}], in order. */
function Grid({ rows, arms, chosen, select, what }) {
  const [view, setView] = useState("observed");
  const names = arms.map((one) => one.arm);
  const cells = rows.flatMap((row) => row.cells);
  const views = [["observed", "Observed"]];
  if (cells.some((cell) => (cell.always ?? null) !== null)) views.push(["always", "Had it answered all"]);
  if (cells.some((cell) => (cell.posterior_mean ?? null) !== null)) views.push(["model", "Predicted"]);
  const valueOf = (cell) => ({ observed: cell?.mean_reward, always: cell?.always?.mean, model: cell?.posterior_mean })[view] ?? null;
  const pairOf = (cell) => ({ observed: cell?.interval, always: cell?.always?.interval, model: cell?.posterior_interval })[view] ?? null;
  // A single reward says little: it neither sets the scale nor gets the full colour.
  const firm = cells.filter((cell) => (cell.rewards >= FIRM || view === "always") && valueOf(cell) !== null);
  const all = (firm.length ? firm : cells).map(valueOf).filter((v) => v !== null);
  const low = all.length ? Math.min(...all) : 0;
  const high = all.length ? Math.max(...all) : 1;
  const shade = (v) => (v === null ? "none" : String(Math.max(0, Math.min(9, Math.floor((10 * (v - low)) / (high - low || 1))))));
  return html`<${Card} title=${`Models by ${what.toLowerCase()}`} note=${`Mean reward of every model on each of them, its 95 % interval, and how many rewards it rests on. What was observed is of the queries each was given; the other view${views.length > 2 ? "s compare" : " compares"} like with like.${rows.some((row) => row.pick) ? " A ring marks the model that would be chosen now." : ""}`}
      side=${views.length > 1 && html`<${Choice} label="What to show" value=${view} onChange=${setView} options=${views} />`}>
    <div class="scroll" tabindex="0" role="region" aria-label="Models by what they are asked"><table class="heat">
      <thead><tr><th scope="col">${what}</th><th scope="col" class="right">Decisions</th>${names.map((arm) => html`<th scope="col" key=${arm}><${Arm} name=${arm} mark /></th>`)}<th scope="col">Clear winner</th></tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.key} class=${row.key === chosen ? "chosen" : ""}>
          <th scope="row">${select ? html`<button type="button" class="link" aria-pressed=${String(row.key === chosen)} onClick=${() => select(row.key)} title=${row.title}>${row.name}</button>` : row.name}</th>
          <td class="num right">${compact(row.decisions)}</td>
          ${names.map((arm) => {
            const cell = row.cells.find((each) => each.arm === arm);
            const value = valueOf(cell);
            const pair = pairOf(cell);
            const each = cell?.decisions && cell.spend_usd ? `, ${usd(cell.spend_usd / cell.decisions)} each` : "";
            return html`<td key=${arm} class="cell shade-${shade(value)} ${arm === row.pick ? "ring" : ""} ${(cell?.rewards || 0) < FIRM ? "thin" : ""}" title=${`${arm} on ${row.name}: ${reward(value)}, 95 % ${interval(pair)}, ${count(cell?.rewards || 0)} rewards, ${count(cell?.decisions || 0)} decisions${each}`}>
              ${value === null ? html`<span class="empty">–</span>` : html`<b>${reward(value)}</b><small>${pair ? `${pair[0].toFixed(2)}–${pair[1].toFixed(2)}` : ""} · ${compact(cell.rewards)}</small>`}</td>`;
          })}
          <td>${row.best ? html`<${Arm} name=${row.best} />` : html`<span class="muted">not yet</span>`}</td></tr>`)}</tbody></table></div>
    <p class="keys"><span class="scale">${[...Array(10).keys()].map((i) => html`<i key=${i} class="shade-${i}"></i>`)}</span>${reward(low)} to ${reward(high)} ${rows.some((row) => row.pick) && html`<span class="ringkey"></span>would be chosen now `}<span class="thinkey">pale</span> fewer than ${FIRM} rewards</p><//>`;
}
