// Try it: what would become of a query, without recording it; then commit it and reward it.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { call, refreshAll, usePoll } from "../api.js";
import { percent, predicted, usd } from "../format.js";
import { Scores } from "../scores.js";
import { Arm, Card, Outcome, Thumbs } from "../ui.js";
import { because } from "../words.js";

const EXAMPLES = [
  "Prove that the square root of two is irrational.",
  "Write a Python function that merges two sorted lists.",
  "Translate into French: good morning, how are you?",
  "Summarise the causes of the French Revolution in three sentences.",
  "Classify the sentiment: the food was cold, but the staff was lovely.",
];

export function Playground({ policy, arms, go }) {
  const [text, setText] = useState("");
  const [limit, setLimit] = useState("");
  const [weight, setWeight] = useState("");
  const [preview, setPreview] = useState(null);
  const [failure, setFailure] = useState(null);
  const [made, setMade] = useState(null);
  const [busy, setBusy] = useState(false);
  const asked = useRef(0);
  const body = () => {
    const all = { input: text, policy, explain: true };
    if (limit !== "" && Number(limit) >= 0) all.max_cost_usd = Number(limit);
    if (weight !== "" && Number(weight) >= 0) all.cost_weight = Number(weight);
    return all;
  };
  useEffect(() => {
    const mine = ++asked.current;
    if (!text.trim()) {
      setPreview(null);
      setFailure(null);
      return undefined;
    }
    const timer = setTimeout(async () => {
      try {
        const answer = await call("POST", "v1/route", { ...body(), dry_run: true });
        if (mine === asked.current) {
          setPreview(answer);
          setFailure(null);
        }
      } catch (error) {
        if (mine === asked.current) {
          setPreview(null);
          setFailure(error);
        }
      }
    }, 300);
    return () => clearTimeout(timer);
  }, [text, limit, weight, policy, arms.map((one) => `${one.enabled}${JSON.stringify(one.price)}`).join()]);
  const commit = async () => {
    if (!text.trim() || busy) return;
    setBusy(true);
    try {
      setMade(await call("POST", "v1/route", body()));
      setFailure(null);
      refreshAll();
    } catch (error) {
      setFailure(error);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <${Card} title="A query" note="It is routed as you type, with dry_run: nothing is recorded and nothing is learned until you commit it.">
      <textarea rows="4" aria-label="Query" placeholder="Type a query …" value=${text} onInput=${(e) => setText(e.target.value)}
        onKeyDown=${(e) => e.key === "Enter" && (e.ctrlKey || e.metaKey) && commit()}></textarea>
      <div class="row wrap examples"><span class="muted">Try</span>${EXAMPLES.map((one) => html`<button type="button" class="quiet" key=${one} onClick=${() => setText(one)}>${one.length > 44 ? `${one.slice(0, 42)}…` : one}</button>`)}</div>
      <div class="row wrap">
        <label>At most $ <input type="number" min="0" step="any" placeholder="no limit" value=${limit} onInput=${(e) => setLimit(e.target.value)} /></label>
        <label title="Reward you would give up to save what a typical answer of the dearest arm costs">Price of money <input type="number" min="0" step="0.05" placeholder="the policy's" value=${weight} onInput=${(e) => setWeight(e.target.value)} /></label>
        <span class="grow"></span>
        <button type="button" class="primary" disabled=${!text.trim() || busy} onClick=${commit}>Commit this query</button><span class="muted">or Ctrl + Enter</span>
      </div>
      ${failure && html`<${Failure} error=${failure} />`}
    <//>
    ${preview && html`<${Card} title="What would happen" id="preview">
      <p class="verdict">Most likely <${Arm} name=${mostLikely(preview)} />: predicted reward <b class="num">${predicted(rowOf(preview).mean)}</b>, predicted cost <b class="num">${usd(rowOf(preview).cost_usd)}</b>.${preview.degraded ? ` Without context: ${preview.degraded}.` : ""}</p>
      <p class="why">${because(preview.arms.filter((row) => row.eligible))}</p>
      <${Scores} rows=${preview.arms} chosen=${null} exclusions=${preview.exclusions} /><//>`}
    ${made && html`<${Card} title="Committed" id="committed">
      <p class="verdict"><${Arm} name=${made.arm} /> was chosen, with a chance of <b class="num">${percent(made.propensity, 2)}</b>${made.explored ? ", to learn from it" : ""}; call <code>${made.upstream_model}</code>, and report what became of it.</p>
      <p class="muted">A draw of its own: it may differ from the most likely arm above. Now say how good the answer was:</p>
      <${Committed} id=${made.decision_id} />
      <p><button type="button" onClick=${() => go("decisions", { id: made.decision_id })}>Open the decision</button></p><//>`}`;
}

const rowOf = (preview) => [...preview.arms].sort((a, b) => b.probability - a.probability)[0];
const mostLikely = (preview) => rowOf(preview).arm;

function Committed({ id }) {
  const poll = usePoll(`v1/decisions/${id}`);
  return html`<${Thumbs} id=${id} merged=${poll.data?.contribution?.reward} onDone=${refreshAll} />`;
}

function Failure({ error }) {
  const left = Object.entries(error.exclusions || {});
  return html`<div><${Outcome} outcome=${{ bad: true, text: error.message }} />
    ${left.length > 0 && html`<${Scores} rows=${[]} exclusions=${error.exclusions} />`}</div>`;
}
