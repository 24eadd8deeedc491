// Small parts that every page uses.
import { html, useEffect, useState } from "./vendor/preact.js";
import { call } from "./api.js";
import { dotOf, isBaseline } from "./colours.js";
import { count, interval, percent, reward as number } from "./format.js";

/** An arm's name beside its colour; `mark` says which one is the baseline. */
export const Arm = ({ name, mark }) =>
  html`<span class="arm"><i class="dot ${dotOf(name)}" aria-hidden="true"></i><span class="name">${name}</span>${mark && isBaseline(name) && html`<span class="badge base" title="What the promise compares with: the model that answered everything before">baseline</span>`}</span>`;

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
  if (mean === null || mean === undefined) return html`<span class="muted">no reward</span>`;
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
            onClick=${() => onToggle(one.arm)}><${Arm} name=${one.arm} mark /></button></li>`
        : html`<li key=${one.arm}><${Arm} name=${one.arm} mark /></li>`,
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

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
