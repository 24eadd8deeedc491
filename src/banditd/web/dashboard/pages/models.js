// Models: how each one does, its price, whether it may be chosen; and how one is added or taken out.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { call, refreshAll, usePoll } from "../api.js";
import { Spark, StackedBars } from "../charts.js";
import { Confirm, Questions } from "../ask.js";
import { hueOf, inOrder, isBaseline } from "../colours.js";
import { ago, count, day, moment, ms, percent, query, reward, usd } from "../format.js";
import { WINDOWS, firstWindow, useSeries } from "../series.js";
import { Arm, Card, Choice, Interval, Legend, Outcome, ShareBar, Waiting, plural, scaleOf } from "../ui.js";
import { REASONS } from "../words.js";
import { AddModel } from "./add.js";

export function Models({ policy, arms }) {
  const [window, setWindow] = useState(firstWindow(arms));
  const [adding, setAdding] = useState(false);
  const series = useSeries(policy, window, arms);
  const learning = usePoll(`v1/stats/learning?${query({ policy })}`, { every: 5000 });
  const fixed = Object.fromEntries((learning.data?.fixed || []).map((one) => [one.arm, one]));
  const pairs = arms.flatMap((one) => [one.statistics.interval, fixed[one.arm]?.reward.interval]).filter(Boolean);
  const [low, high] = scaleOf(pairs);
  const first = arms[0]?.arm;
  const items = [
    { ask: "How do I change a price?", answer: "Press “Change” beside the price on the model's card: predicted costs follow from the next query on, what was learned of its quality stays.", act: first && ["Change the first one's", () => document.querySelector("[data-price]")?.click()] },
    { ask: "How do I add a model?", answer: "Press “Add a model”, name it and say its price: it gets a small share until it has shown what it can do, and nothing else has to be relearned.", act: ["Add a model", () => setAdding(true)] },
    { ask: "How do I remove a model?", answer: "Switch it off on its card to keep it out of the choice and back in later, or press “Remove” there: its log and figures stay." },
  ];
  return html`
    <${Questions} items=${items} />
    <div class="row between"><${Choice} label="Window" value=${window} onChange=${setWindow} options=${Object.entries(WINDOWS).map(([name, [text]]) => [name, text])} />
      <${Legend} arms=${arms} /><button type="button" class="primary" onClick=${() => setAdding(true)}>Add a model</button></div>
    <${Card} title="Share of traffic" note="How the decisions of each step were shared out; the baseline is the floor.">
      ${series.columns
        ? series.columns.times.length
          ? html`<${Shares} columns=${series.columns} step=${series.span.step} />`
          : html`<p class="muted">No decision in this window. Take a longer one, or <a href="#/playground">try a query</a>.</p>`
        : html`<${Waiting} poll=${series} what="traffic" />`}
    <//>
    <div class="arms">
      ${arms.map((one) => html`<${ArmCard} key=${one.arm} one=${one} policy=${policy} fixed=${fixed[one.arm]} low=${low} high=${high} columns=${series.columns} />`)}
    </div>
    ${adding && html`<${AddModel} policy=${policy} arms=${arms} onClose=${() => setAdding(false)} />`}`;
}

function Shares({ columns, step }) {
  const series = inOrder(Object.keys(columns.byArm)).map((name) => ({
    name: isBaseline(name) ? `${name} (baseline)` : name, hue: hueOf(name), values: columns.byArm[name].map((row) => row?.decisions || 0),
  }));
  return html`<${StackedBars} times=${columns.times} series=${series} range=${columns.range} step=${step} whole
    format=${(v) => `${Math.round(100 * v)} %`} label="Share of decisions over time, by model" />`;
}

function ArmCard({ one: polled, policy, fixed, low, high, columns }) {
  const [removing, setRemoving] = useState(false);
  const [outcome, setOutcome] = useState(null);
  // What a change was answered with holds until the polled list is as new.
  const [changed, setChanged] = useState(null);
  const one = changed && changed.updated_at > polled.updated_at ? changed : polled;
  const s = one.statistics;
  const hue = hueOf(one.arm);
  const path = `v1/arms/${encodeURIComponent(one.arm)}?${query({ policy })}`;
  const patch = async (changes, text) => {
    try {
      setChanged(await call("PATCH", path, changes));
      setOutcome({ text });
      refreshAll();
      return true;
    } catch (error) {
      setOutcome({ bad: true, text: error.message });
      return false;
    }
  };
  const turn = () =>
    patch({ enabled: !one.enabled }, one.enabled ? "Disabled: it is not chosen any more. What it has learned stays." : "Enabled: it may be chosen from the next query on.");
  const times = columns?.byArm[one.arm];
  return html`<article class="card arm-card ${one.enabled ? "" : "off"}" aria-label=${one.arm}>
    <header><div><h2><${Arm} name=${one.arm} mark /></h2>
        <p class="muted">${one.upstream_model !== one.arm ? one.upstream_model : ""}${one.provider ? ` · ${one.provider}` : ""}</p></div>
      <button type="button" role="switch" class="switch" aria-checked=${String(one.enabled)} aria-label=${`${one.arm} enabled`} onClick=${turn}><i aria-hidden="true"></i><span>${one.enabled ? "enabled" : "disabled"}</span></button></header>
    <${Badges} one=${one} />
    <dl class="facts">
      <div><dt>Share of traffic</dt><dd><${ShareBar} share=${s.share} hue=${hue} /></dd></div>
      <div><dt title="Of the decisions it was given">Observed reward</dt><dd class="withgraph"><${Interval} mean=${s.mean_reward} pair=${s.interval} low=${low} high=${high} hue=${hue} /><span class="num">${reward(s.mean_reward)}</span></dd></div>
      <div><dt title="Had it answered all traffic so far, by the model">Expected on all traffic</dt><dd class="withgraph">${fixed ? html`<${Interval} mean=${fixed.reward.mean} pair=${fixed.reward.interval} low=${low} high=${high} hue=${hue} /><span class="num">${reward(fixed.reward.mean)}</span>` : "–"}</dd></div>
      <div class="short"><dt>Decisions</dt><dd class="num">${count(one.usage.decisions)}</dd></div>
      <div class="short"><dt>Rewards</dt><dd class="num">${count(s.rewards)}</dd></div>
      <div class="short"><dt title="Times it was asked to learn from it">Tried</dt><dd class="num">${count(s.explored)}</dd></div>
      <div class="short"><dt>Cost each</dt><dd class="num">${usd(one.usage.usage_reports ? one.usage.cost_usd / one.usage.usage_reports : null)}</dd></div>
      <div class="short"><dt>Latency</dt><dd class="num">${ms(one.usage.mean_latency_ms)}</dd></div>
      <div class="short"><dt>Errors</dt><dd class="num ${one.usage.errors ? "warn" : ""}">${count(one.usage.errors)}</dd></div>
    </dl>
    ${times && times.filter((row) => row?.rewards).length > 4 && html`<div class="sparkrow"><span class="muted">reward over time</span><${Spark} values=${times.map((row) => row?.mean_reward ?? null)} hue=${hue} low=${low} high=${high} label=${`Mean reward of ${one.arm} over time`} /></div>`}
    <div class="row wrap"><${PriceLine} one=${one} patch=${patch} /><span class="grow"></span><button type="button" class="quiet" aria-label=${`Remove ${one.arm}`} onClick=${() => setRemoving(true)}>Remove</button></div>
    <${Outcome} outcome=${outcome} />
    ${one.onboarding.recommendation && html`<p class="advice">${one.onboarding.recommendation}</p>`}
    <${History} one=${one} />
    ${removing && html`<${Confirm} title=${`Remove ${one.arm}?`} yes="Remove it" danger onClose=${() => setRemoving(false)} onYes=${async () => { await call("DELETE", path); refreshAll(); }}>
      <p>From the next query on it is not chosen any more. Its decisions, rewards and costs stay in the log and the figures. To have it back later with what it learned, switch it off instead.</p><//>`}
  </article>`;
}

function Badges({ one }) {
  const o = one.onboarding;
  const change = one.statistics.change;
  const found = [
    one.statistics.away && html`<span class="badge bad">away until ${moment(one.statistics.away.until)}: ${REASONS[one.statistics.away.reason]}</span>`,
    change && html`<span class="badge bad">rewards ${change.direction}: ${reward(change.old_level)} to ${reward(change.new_level)}, ${change.at ? ago(change.at) : "just now"}</span>`,
    o.active && html`<span class="badge">onboarding: ${count(o.decisions)} of ${plural(o.decisions_quota, "decision")}, ${usd(o.cost_usd)}</span>`,
    !o.active && o.state && html`<span class="badge ${o.state === "graduated" ? "good" : ""}">${o.state.replace("_", " ")}</span>`,
    one.max_share < 1 && html`<span class="badge">at most ${percent(one.max_share, 0)}</span>`,
    ...one.capabilities.map((name) => html`<span class="badge plain" key=${name}>${name}</span>`),
  ].filter(Boolean);
  return found.length ? html`<p class="badges">${found}</p>` : null;
}

const PRICES = [
  ["usd_per_mtok_in", "in", "$ per million input tokens"],
  ["usd_per_mtok_out", "out", "$ per million output tokens"],
  ["usd_per_request", "request", "$ per request"],
];

function PriceLine({ one, patch }) {
  const [edit, setEdit] = useState(null);
  const first = useRef(null);
  const open = useRef(null);
  const was = useRef(false);
  useEffect(() => {
    if (edit && !was.current) first.current?.select();
    if (!edit && was.current) open.current?.focus();
    was.current = Boolean(edit);
  }, [Boolean(edit)]);
  if (!edit) {
    return html`<p class="price"><span class="muted">Per million tokens</span> <b class="num">${usd(one.price.usd_per_mtok_in)}</b> in, <b class="num">${usd(one.price.usd_per_mtok_out)}</b> out
      ${one.price.usd_per_request > 0 && html`, <b class="num">${usd(one.price.usd_per_request)}</b> a request`}
      <button type="button" class="quiet" data-price ref=${open} aria-label=${`Change the price of ${one.arm}`} onClick=${() => setEdit({ ...one.price })}>Change</button></p>`;
  }
  const save = async (e) => {
    e.preventDefault();
    const price = {};
    for (const [name] of PRICES) {
      const value = Number(edit[name]);
      if (edit[name] === "" || !Number.isFinite(value) || value < 0) return;
      if (value !== one.price[name]) price[name] = value;
    }
    if (!Object.keys(price).length) return setEdit(null);
    if (await patch({ price }, "Saved: predicted costs use it from the next query on; nothing has to be relearned.")) setEdit(null);
  };
  return html`<form class="price-form" onSubmit=${save} onKeyDown=${(e) => e.key === "Escape" && setEdit(null)}>
    ${PRICES.map(
      ([name, short, label], i) => html`<label key=${name} title=${label}><span>${short}</span>
        <input ref=${i === 0 ? first : undefined} type="number" min="0" step="any" required aria-label=${`${one.arm}: ${label}`} value=${edit[name]} onInput=${(e) => setEdit({ ...edit, [name]: e.target.value })} /></label>`,
    )}
    <button type="submit" class="primary">Save</button><button type="button" class="quiet" onClick=${() => setEdit(null)}>Cancel</button></form>`;
}

function History({ one }) {
  if (one.price_history.length < 2) return null;
  const rows = [...one.price_history].reverse();
  return html`<details><summary>Price history</summary><table class="compact"><thead><tr><th scope="col">Since</th><th scope="col" class="right">In</th><th scope="col" class="right">Out</th></tr></thead>
    <tbody>${rows.slice(0, 12).map((row) => html`<tr key=${row.since}><td>${day(row.since)} <span class="muted">${ago(row.since)}</span></td><td class="num right">${usd(row.usd_per_mtok_in)}</td><td class="num right">${usd(row.usd_per_mtok_out)}</td></tr>`)}</tbody></table></details>`;
}
