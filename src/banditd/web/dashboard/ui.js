// Small parts that every page uses.
import { html, useEffect, useState } from "./vendor/preact.js";
import { call } from "./api.js";
import { count, interval, percent, reward as number, usd } from "./format.js";

const HUES = 8;

/** Colour class of every arm: by its place in the policy, so that it is the same on every page. */
export function hueOf(arms, name) {
  const place = arms.findIndex((one) => one.arm === name);
  return place < 0 ? "hue-none" : `hue-${place % HUES}`;
}

export const Arm = ({ arms, name }) =>
  html`<span class="arm"><i class="dot ${hueOf(arms, name)}" aria-hidden="true"></i>${name}</span>`;

export const Card = ({ title, note, wide, side, children, id }) => html`
  <section class="card ${wide ? "wide" : ""}" aria-label=${title} id=${id}>
    <header><h2>${title}</h2>${side || null}</header>
    ${note && html`<p class="note">${note}</p>`}
    ${children}
  </section>`;

export const Tile = ({ label, value, sub, title, tone }) => html`
  <div class="tile ${tone || ""}" title=${title}>
    <div class="label">${label}</div>
    <div class="value">${value}</div>
    <div class="sub">${sub}</div>
  </div>`;

/** A bar of a share in [0, 1]. */
export const ShareBar = ({ share, hue, label }) => html`
  <span class="sharebar">
    <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect class="track" width="100" height="8" /><rect class="fill ${hue}" width=${100 * (share || 0)} height="8" />
    </svg>
    <span class="num">${label ?? percent(share)}</span>
  </span>`;

/** A mean with its interval on a common scale [low, high]. */
export function Interval({ mean, pair, low = 0, high = 1, hue = "", mark = null }) {
  const at = (v) => 100 * Math.min(1, Math.max(0, (v - low) / (high - low || 1)));
  if (mean === null || mean === undefined) return html`<span class="muted">no reward yet</span>`;
  return html`<svg class="interval" viewBox="0 0 100 14" preserveAspectRatio="none" role="img"
      aria-label=${`${number(mean)}, 95 % interval ${interval(pair)}`}>
      <title>${number(mean)}, 95 % interval ${interval(pair)}</title>
      <rect class="track" x="0" y="6.5" width="100" height="1" />
      ${mark !== null && html`<rect class="mark" x=${at(mark)} y="1" width="0.6" height="12" />`}
      ${pair && html`<rect class="range ${hue}" x=${at(pair[0])} y="4.5" width=${Math.max(0.8, at(pair[1]) - at(pair[0]))} height="5" rx="1" />`}
      <rect class="point ${hue}" x=${at(mean) - 0.9} y="2" width="1.8" height="10" rx="0.9" />
    </svg>`;
}

/** The scale that intervals of several things share. */
export function scaleOf(pairs) {
  const values = pairs.flat().filter((v) => v !== null && v !== undefined);
  if (!values.length) return [0, 1];
  const low = Math.max(0, Math.floor(20 * Math.min(...values)) / 20);
  const high = Math.min(1, Math.ceil(20 * Math.max(...values)) / 20);
  return high > low ? [low, high] : [0, 1];
}

export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
    } catch {
      // no permission: the text stands there to be selected
    }
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${done ? "Copied" : label}</button>`;
}

export const Command = ({ text }) =>
  html`<div class="command"><pre tabindex="0" aria-label="Command">${text}</pre><${Copy} text=${text} /></div>`;

/** Choose one of a few. */
export const Choice = ({ label, value, options, onChange }) => html`
  <div class="choice" role="group" aria-label=${label}>
    ${options.map(
      ([name, text]) =>
        html`<button type="button" key=${name} aria-pressed=${String(value === name)} onClick=${() => onChange(name)}>${text}</button>`,
    )}
  </div>`;

export const Legend = ({ arms, hidden, onToggle }) => html`
  <ul class="legend">
    ${arms.map((one) =>
      onToggle
        ? html`<li key=${one.arm}><button type="button" class="quiet" aria-pressed=${String(!hidden.has(one.arm))}
            onClick=${() => onToggle(one.arm)}><${Arm} arms=${arms} name=${one.arm} /></button></li>`
        : html`<li key=${one.arm}><${Arm} arms=${arms} name=${one.arm} /></li>`,
    )}
  </ul>`;

/** What happened to something that was asked of the daemon. */
export const Outcome = ({ outcome }) =>
  outcome && html`<p class="outcome ${outcome.bad ? "bad" : "good"}" role="status">${outcome.text}</p>`;

export const Waiting = ({ poll, what }) =>
  poll.error && !poll.data
    ? html`<p class="muted">${what}: ${poll.error.message}</p>`
    : html`<p class="muted">Loading ${what} …</p>`;

const STATUS = {
  recorded: "Recorded; the learner folds it in within moments.",
  held: "Held until the decision is activated.",
  logged: "Kept in the log, but not learned from.",
};

/** Thumbs for a decision; says what became of the reward. `merged` is the decision's reward as folded, or null. */
export function Thumbs({ id, merged, onDone }) {
  const [outcome, setOutcome] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => setOutcome(null), [id]);
  const post = async (thumb) => {
    setBusy(true);
    try {
      const receipt = await call("POST", "v1/rewards", { decision_id: id, thumb });
      const again = receipt.duplicate ? "The same thumb was there already: counted once." : null;
      const corrected = receipt.revision > 0 ? "Corrected: it replaces your former thumb. " : "";
      setOutcome({ text: again || corrected + (STATUS[receipt.status] || `Status: ${receipt.status}.`) });
      if (onDone) onDone(receipt);
    } catch (error) {
      setOutcome({ bad: true, text: error.message });
    } finally {
      setBusy(false);
    }
  };
  return html`<div class="thumbs">
    <button type="button" disabled=${busy} onClick=${() => post("up")} aria-label="Good: thumb up, reward 1"><span aria-hidden="true">▲</span> Good</button>
    <button type="button" disabled=${busy} onClick=${() => post("down")} aria-label="Bad: thumb down, reward 0"><span aria-hidden="true">▼</span> Bad</button>
    ${merged !== null && merged !== undefined && html`<span class="muted">merged reward now <b class="num">${number(merged)}</b></span>`}
    <${Outcome} outcome=${outcome} />
  </div>`;
}

/** Every arm's prediction, cost and probability: the same table for a decision and for the playground. */
export function Scores({ rows, arms, chosen, exclusions }) {
  const scored = rows.filter((row) => row.mean !== null && row.mean !== undefined);
  const pair = (row) => [Math.max(0, row.mean - 1.96 * row.deviation), Math.min(1, row.mean + 1.96 * row.deviation)];
  const [low, high] = scaleOf(scored.map(pair));
  const penalised = scored.some((row) => row.penalty > 0);
  const left = Object.entries(exclusions || {});
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Arms of this decision"><table class="scores">
    <thead><tr><th scope="col">Arm</th><th scope="col">Probability</th><th scope="col">Predicted reward</th><th scope="col" class="right">Mean</th>
      <th scope="col" class="right" title="Standard deviation of the prediction">Dev.</th><th scope="col" class="right">Cost</th>
      ${penalised && html`<th scope="col" class="right" title="What money takes away, in units of reward">Penalty</th>`}
      <th scope="col" class="right" title="Mean less penalty">Utility</th></tr></thead>
    <tbody>
      ${scored.map(
        (row) => html`<tr key=${row.arm} class=${row.arm === chosen ? "chosen" : ""}>
          <th scope="row"><${Arm} arms=${arms} name=${row.arm} />${row.arm === chosen && html` <span class="badge">drawn</span>`}</th>
          <td><${ShareBar} share=${row.probability} hue=${hueOf(arms, row.arm)} /></td>
          <td class="graph"><${Interval} mean=${row.mean} pair=${pair(row)} low=${low} high=${high} hue=${hueOf(arms, row.arm)} /></td>
          <td class="num right">${number(row.mean)}</td><td class="num right">${number(row.deviation)}</td>
          <td class="num right">${usd(row.cost_usd)}</td>
          ${penalised && html`<td class="num right">${number(row.penalty)}</td>`}
          <td class="num right">${number(row.mean - row.penalty)}</td></tr>`,
      )}
      ${left.map(
        ([name, reason]) => html`<tr key=${name} class="excluded"><th scope="row"><${Arm} arms=${arms} name=${name} /></th>
          <td colspan=${penalised ? 7 : 6}>not eligible: ${REASONS[reason] || reason}</td></tr>`,
      )}
    </tbody></table></div>`;
}

export const REASONS = {
  disabled: "it is disabled",
  not_a_candidate: "the request named other candidates",
  excluded_by_request: "the request excluded it",
  capability_missing: "it lacks a capability that was asked for",
  max_cost_usd: "its predicted cost is above the request's limit",
  max_latency_ms: "its expected latency is above the request's limit",
  context_window: "the query is longer than its context window",
  quality_floor: "its predicted reward is below the request's floor",
  breaker_open: "its breaker is open after upstream errors",
  breaker_probe: "a probe after upstream errors is under way",
  cooling_down: "its upstream asked to be left alone for a while",
  max_share: "it has reached its traffic cap",
  budget: "the budget does not allow it now",
};

/** Where the uniform number fell on the line of probabilities, in the order in which it was drawn. */
export function DrawLine({ rows, arms, uniform, chosen }) {
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
        (part) => html`<rect key=${part.arm} class="segment ${hueOf(arms, part.arm)} ${part.arm === chosen ? "hit" : ""}"
          x=${1000 * part.from} y="14" width=${Math.max(part.arm === chosen ? 4 : 1, 1000 * part.probability - 1)} height="22"><title>${part.arm}: ${percent(part.probability)}</title></rect>`,
      )}
      <path class="needle" d=${`M${1000 * uniform - 7} 2h14l-7 10zM${1000 * uniform - 1} 10h2v32h-2z`} />
    </svg>
    <figcaption><span>0</span><span>${says}</span><span>1</span></figcaption>
  </figure>`;
}

/** Why the policy would act so, in one sentence. `rows` have arm, mean, penalty, probability. */
export function because(rows) {
  const scored = rows.filter((row) => row.mean !== null && row.mean !== undefined);
  if (!scored.length) return "";
  const utility = (row) => row.mean - row.penalty;
  const ordered = [...scored].sort((a, b) => utility(b) - utility(a));
  const best = ordered[0];
  if (ordered.length === 1) return `${best.arm} is the only eligible arm.`;
  const second = ordered[1];
  const gap = utility(best) - utility(second);
  const spread = Math.hypot(best.deviation, second.deviation);
  const most = [...scored].sort((a, b) => b.probability - a.probability)[0];
  const lead = `${best.arm} promises the most (${number(utility(best))}${best.penalty > 0 ? " after its cost" : ""}), ${number(gap)} more than ${second.arm}`;
  const sure = gap > 2 * spread ? ", which is more than the uncertainty" : gap > spread ? ", about as much as the uncertainty" : ", less than the uncertainty";
  if (most.arm !== best.arm) {
    return `${lead}${sure}. ${most.arm} is drawn more often (${percent(most.probability)}), because its rewards would teach more.`;
  }
  const rest = 1 - best.probability;
  return `${lead}${sure}. It is drawn with ${percent(best.probability)}; ${rest < 0.02 ? "the rest keeps the others measurable" : `${percent(rest)} goes to exploring the others`}.`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
