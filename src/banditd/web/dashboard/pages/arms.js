// Arms: how each one does, and the two things that are changed most: its price and whether it may be chosen.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { call, refreshAll, usePoll } from "../api.js";
import { Spark, StackedBars } from "../charts.js";
import { ago, count, day, ms, percent, query, reward, usd } from "../format.js";
import { Arm, Card, Choice, Interval, Legend, Outcome, ShareBar, Waiting, hueOf, plural, scaleOf } from "../ui.js";
import { WINDOWS, firstWindow, useSeries } from "./overview.js";

export function Arms({ policy, arms }) {
  const [window, setWindow] = useState(firstWindow(arms));
  const series = useSeries(policy, window, arms);
  const learning = usePoll(`v1/stats/learning?${query({ policy })}`, { every: 5000 });
  const fixed = Object.fromEntries((learning.data?.fixed || []).map((one) => [one.arm, one]));
  const pairs = arms.flatMap((one) => [one.statistics.interval, fixed[one.arm]?.reward.interval]).filter(Boolean);
  const [low, high] = scaleOf(pairs);
  return html`
    <div class="row between"><${Choice} label="Window" value=${window} onChange=${setWindow} options=${Object.entries(WINDOWS).map(([name, [text]]) => [name, text])} />
      <${Legend} arms=${arms} /></div>
    <${Card} title="Share of traffic" note="How the decisions of each step were shared out.">
      ${series.columns
        ? series.columns.times.length
          ? html`<${Shares} columns=${series.columns} arms=${arms} step=${series.span.step} />`
          : html`<p class="muted">No decision in this window. Take a longer one, or send a query from the <a href="#/playground">playground</a>.</p>`
        : html`<${Waiting} poll=${series} what="traffic" />`}
    <//>
    <div class="arms">
      ${arms.map((one) => html`<${ArmCard} key=${one.arm} one=${one} arms=${arms} policy=${policy} fixed=${fixed[one.arm]} low=${low} high=${high} columns=${series.columns} />`)}
    </div>
    <p class="note">Arms are added and deleted over HTTP: <a href="docs">POST and DELETE /v1/arms</a>. A new one is granted a small share until it has shown what it can do.</p>`;
}

function Shares({ columns, arms, step }) {
  const series = Object.keys(columns.byArm)
    .sort((a, b) => arms.findIndex((one) => one.arm === a) - arms.findIndex((one) => one.arm === b))
    .map((name) => ({ name, hue: hueOf(arms, name), values: columns.byArm[name].map((row) => row?.decisions || 0) }));
  return html`<${StackedBars} times=${columns.times} series=${series} range=${columns.range} step=${step} whole
    format=${(v) => `${Math.round(100 * v)} %`} label="Share of decisions over time, by arm" />`;
}

function ArmCard({ one: polled, arms, policy, fixed, low, high, columns }) {
  const [outcome, setOutcome] = useState(null);
  // What a change was answered with holds until the polled list is as new.
  const [changed, setChanged] = useState(null);
  const one = changed && changed.updated_at > polled.updated_at ? changed : polled;
  const s = one.statistics;
  const hue = hueOf(arms, one.arm);
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
    <header><div><h2><${Arm} arms=${arms} name=${one.arm} /></h2>
        <p class="muted">${one.upstream_model !== one.arm ? one.upstream_model : ""}${one.provider ? ` · ${one.provider}` : ""}</p></div>
      <button type="button" role="switch" class="switch" aria-checked=${String(one.enabled)} aria-label=${`${one.arm} enabled`} onClick=${turn}><i aria-hidden="true"></i><span>${one.enabled ? "enabled" : "disabled"}</span></button></header>
    <${Badges} one=${one} />
    <dl class="facts">
      <div><dt>Share of traffic</dt><dd><${ShareBar} share=${s.share} hue=${hue} /></dd></div>
      <div><dt title="Of the decisions it was given">Observed reward</dt><dd class="withgraph"><${Interval} mean=${s.mean_reward} pair=${s.interval} low=${low} high=${high} hue=${hue} /><span class="num">${reward(s.mean_reward)}</span></dd></div>
      <div><dt title="Had it answered all traffic so far, by the model">Expected on all traffic</dt><dd class="withgraph">${fixed ? html`<${Interval} mean=${fixed.reward.mean} pair=${fixed.reward.interval} low=${low} high=${high} hue=${hue} /><span class="num">${reward(fixed.reward.mean)}</span>` : "–"}</dd></div>
      <div class="short"><dt>Decisions</dt><dd class="num">${count(one.usage.decisions)}</dd></div>
      <div class="short"><dt>Rewards</dt><dd class="num">${count(s.rewards)}</dd></div>
      <div class="short"><dt>Explored</dt><dd class="num">${count(s.explored)}</dd></div>
      <div class="short"><dt>Cost each</dt><dd class="num">${usd(one.usage.usage_reports ? one.usage.cost_usd / one.usage.usage_reports : null)}</dd></div>
      <div class="short"><dt>Latency</dt><dd class="num">${ms(one.usage.mean_latency_ms)}</dd></div>
      <div class="short"><dt>Errors</dt><dd class="num ${one.usage.errors ? "warn" : ""}">${count(one.usage.errors)}</dd></div>
    </dl>
    ${times && times.filter((row) => row?.rewards).length > 4 && html`<div class="sparkrow"><span class="muted">reward over time</span><${Spark} values=${times.map((row) => row?.mean_reward ?? null)} hue=${hue} low=${low} high=${high} label=${`Mean reward of ${one.arm} over time`} /></div>`}
    <${PriceLine} one=${one} patch=${patch} />
    <${Outcome} outcome=${outcome} />
    ${one.onboarding.recommendation && html`<p class="advice">${one.onboarding.recommendation}</p>`}
    <${History} one=${one} />
  </article>`;
}

function Badges({ one }) {
  const o = one.onboarding;
  const change = one.statistics.change;
  const found = [
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
    return html`<p class="price"><span class="muted">Price per million tokens</span> <b class="num">${usd(one.price.usd_per_mtok_in)}</b> in, <b class="num">${usd(one.price.usd_per_mtok_out)}</b> out
      ${one.price.usd_per_request > 0 && html`, <b class="num">${usd(one.price.usd_per_request)}</b> a request`}
      <button type="button" class="quiet" ref=${open} aria-label=${`Change the price of ${one.arm}`} onClick=${() => setEdit({ ...one.price })}>Change</button></p>`;
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
