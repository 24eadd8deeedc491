// In short: what was saved, what was lost, whether the promise is held, what exploring costs; and the way out.
import { html, useState } from "../vendor/preact.js";
import { call, refreshAll } from "../api.js";
import { Confirm, Questions } from "../ask.js";
import { count, percent, usd } from "../format.js";
import { Arm, Choice, Outcome } from "../ui.js";

export const HELD = { yes: ["held", "good"], no: ["broken", "bad"], unknown: ["not yet known", ""] };
const points = (v) => `${Math.abs(v) < 9.95 ? Math.abs(v).toFixed(1) : Math.abs(v).toFixed(0)} ${Math.abs(v).toFixed(1) === "1.0" ? "point" : "points"}`;
const share = (v) => `${+(100 * v).toFixed(1)} %`;
const signed = (v) => `${v <= -0.05 ? "−" : ""}${Math.abs(v).toFixed(1)}`;

/** A difference in points of 100, with its interval: in words that fit a line. */
export function lostWords(lost) {
  const gained = lost.points < 0;
  const range = lost.interval ? ` (${gained ? `${signed(-lost.interval[1])} to ${signed(-lost.interval[0])}` : `${signed(lost.interval[0])} to ${signed(lost.interval[1])}`})` : "";
  return `${gained ? "gained " : ""}${points(lost.points)}${range}`;
}

/** s : of `/v1/savings`; promise : of `/v1/promise`. Their sentences are shown as they come. */
export function Headline({ s, promise, policy, window }) {
  return html`<section class="card headline" aria-label="In short">
    <p class="lead">${s.headline.replaceAll(" %", "\u00a0%")}</p>
    <div class="figures"><${Saved} saved=${s.saved} baseline=${s.baseline} window=${window} /><${Lost} lost=${s.lost} baseline=${s.baseline} /><${Promised} s=${s} promise=${promise} policy=${policy} /><${Exploring} e=${s.exploration} /></div>
    <${Asked} s=${s} promise=${promise} />
    <${Rollout} promise=${promise} policy=${policy} />
  </section>`;
}

const Figure = ({ label, value, sub, tone, children }) => html`<div class="figure ${tone || ""}" role="group" aria-label=${label}>
  <div class="label">${label}</div><div class="value">${value}</div><div class="sub">${sub}</div>${children}</div>`;

function Saved({ saved, baseline, window }) {
  if (saved.usd === null) return html`<${Figure} label="Saved" value="–" sub=${saved.reason || "nothing to compare yet"} />`;
  const more = saved.usd < 0;
  return html`<${Figure} label=${more ? "Spent more" : "Saved"} tone=${more ? "bad" : "good"} value=${usd(Math.abs(saved.usd))}
    sub=${`${percent(Math.abs(saved.share), 0)} of the ${usd(saved.would_have_cost_usd)} that ${baseline} would have cost${saved.basis === "predicted" ? ", by predicted costs" : ""}${window === "all" ? "" : " in this window"}`} />`;
}

function Lost({ lost, baseline }) {
  if (lost.points === null) return html`<${Figure} label="Lost" value="not yet known" sub=${lost.reason || "no rewards to compare yet"} />`;
  const range = lost.interval ? `95 % sure: ${signed(lost.interval[0])} to ${signed(lost.interval[1])}` : "no interval yet";
  const gained = lost.points < 0;
  return html`<${Figure} label=${gained ? "Gained" : "Lost"} tone=${gained ? "good" : ""} value=${points(lost.points)}
    sub=${`of 100, against ${baseline}; ${lost.interval && gained ? `95 % sure: ${signed(-lost.interval[1])} to ${signed(-lost.interval[0])}` : range}`} />`;
}

function Promised({ s, promise, policy }) {
  const [open, setOpen] = useState(false);
  const set = html`<button type="button" class="quiet" onClick=${() => setOpen(true)}>${promise?.on ? "Change it" : "Make a promise"}</button>
    ${open && html`<${PromiseDialog} promise=${promise} policy=${policy} onClose=${() => setOpen(false)} />`}`;
  if (s.keep === null) return html`<${Figure} label="Promise" value="none made" sub="Say which share of your model's quality must be kept, and it saves what it can.">${set}<//>`;
  const [word, tone] = HELD[s.held] || HELD.unknown;
  return html`<${Figure} label="Promise" tone=${tone} value=${word} sub=${`to keep ${share(s.keep)} of ${s.baseline}'s quality`}>${set}<//>`;
}

function Exploring({ e }) {
  if (!e || e.share === null) return html`<${Figure} label="Exploring" value="–" sub="nothing tried yet" />`;
  const cost = e.usd === null ? "" : e.usd < 0 ? `, predicted to be ${usd(-e.usd)} cheaper than the best guesses` : `, predicted to cost ${usd(e.usd)} more`;
  return html`<${Figure} label="Exploring" value=${percent(e.share, e.share < 0.1 ? 1 : 0)} sub=${`of decisions tried to learn${cost}${e.points > 0 ? ` and to lose ${points(e.points)} of reward` : ""}`} />`;
}

/** The questions that this page must answer. The daemon's own sentences, so that every page and command says the same. */
function Asked({ s, promise }) {
  const base = promise?.baseline || s.baseline || "the baseline";
  const items = [
    { ask: "What did I save?", answer: [s.words.saved, s.words.judges].filter(Boolean).join(" ") },
    { ask: "What did I lose?", answer: s.words.lost },
    { ask: "Is it exploring, and what does that cost?", answer: s.words.exploration },
    { ask: "Can I trust it?", answer: [s.words.held, s.words.confidence].filter(Boolean).join(" ") },
    { ask: "How do I roll out 5 %?", answer: `Press “5 %” under “Traffic that is routed” below: one decision in twenty is then the policy's, ${base} answers the rest, and the figures above compare the two (now ${promise ? named(promise.rollout).toLowerCase() : "all"} of the traffic).` },
    { ask: "How do I stop?", answer: `Press “None” under “Traffic that is routed” below: from the next query on everything goes to ${base}, at once and on every replica, and nothing that was learned is lost.` },
  ];
  return html`<${Questions} items=${items} />`;
}

const STEPS = [0, 0.05, 0.25, 0.5, 1];
const named = (part) => (part === 0 ? "None" : part === 1 ? "All" : share(part));

/** One switch: the share of the traffic that is routed; the rest goes to the baseline. */
function Rollout({ promise, policy }) {
  const [wanted, setWanted] = useState(null);
  const [outcome, setOutcome] = useState(null);
  if (!promise) return null;
  const steps = STEPS.includes(promise.rollout) ? STEPS : [...STEPS, promise.rollout].sort((a, b) => a - b);
  const set = async () => {
    await call("PATCH", `v1/policies/${encodeURIComponent(policy)}`, { rollout: wanted });
    setOutcome({ text: wanted === 0 ? `Stopped: everything goes to ${promise.baseline}.` : wanted === 1 ? "All traffic is routed." : `${named(wanted)} of the traffic is routed, the rest goes to ${promise.baseline}.` });
    refreshAll();
  };
  return html`<div class="wayout">
    <div class="row wrap"><span class="label" id="rollout-label">Traffic that is routed</span>
      ${promise.baseline
        ? html`<${Choice} label="Traffic that is routed" value=${String(promise.rollout)} onChange=${(value) => Number(value) !== promise.rollout && setWanted(Number(value))} options=${steps.map((one) => [String(one), named(one)])} />
          <span class="muted">the rest goes to <${Arm} name=${promise.baseline} /></span>`
        : html`<span class="muted">There is no baseline to go back to: enable an arm, or name one as the promise's baseline.</span>`}
      ${promise.mode === "shadow" && html`<span class="badge">shadow: it decides and logs, the baseline answers everything</span>`}</div>
    ${promise.words && html`<p class="muted">${promise.words}</p>`}
    <${Outcome} outcome=${outcome} />
    ${wanted !== null && html`<${Confirm} title=${wanted === 0 ? "Stop routing?" : `Route ${wanted === 1 ? "all" : named(wanted)} of the traffic?`}
      yes=${wanted === 0 ? "Stop routing" : `Route ${named(wanted).toLowerCase()}`} danger=${wanted === 0} onYes=${set} onClose=${() => setWanted(null)}>
      <p>${wanted === 0 ? html`From the next query on everything goes to <b>${promise.baseline}</b>.` : wanted === 1 ? "From the next query on the policy chooses for every query." : html`From the next query on the policy chooses for ${named(wanted)} of the conversations; <b>${promise.baseline}</b> answers the others.`}
        It holds on every replica, survives restarts and beats the configuration file; what was learned stays.</p><//>`}
  </div>`;
}

/** Which arm is compared with, and which share of its quality is to be kept. */
function PromiseDialog({ promise, policy, onClose }) {
  const [keep, setKeep] = useState(String(Math.round(1000 * (promise?.keep ?? 0.95)) / 10));
  const [baseline, setBaseline] = useState(promise?.baseline_rule || "dearest");
  const names = [...new Set(["dearest", promise?.baseline_rule, promise?.baseline].filter(Boolean))];
  const save = () => call("PATCH", `v1/policies/${encodeURIComponent(policy)}`, { promise: { keep: Number(keep) / 100, baseline: baseline.trim() } });
  return html`<${Confirm} title=${promise?.on ? "Change the promise" : "Make a promise"} yes="Promise it" onYes=${async () => { await save(); refreshAll(); }} onClose=${onClose}>
    <p>The least cost at which this share of the baseline's quality is kept. It holds from the next decision on and is stored.</p>
    <label>Keep at least (%) <input type="number" min="50" max="100" step="0.1" required value=${keep} onInput=${(e) => setKeep(e.target.value)} /></label>
    <label>of the quality of <input list="baselines" required value=${baseline} onInput=${(e) => setBaseline(e.target.value)} /></label>
    <datalist id="baselines">${names.map((one) => html`<option key=${one} value=${one} />`)}</datalist>
    <p class="muted">“dearest” is the dearest enabled model, whichever that is: now ${promise?.baseline || "none"}.${promise?.decisions ? ` ${count(promise.decisions)} decisions were made under the promise.` : ""}</p><//>`;
}
