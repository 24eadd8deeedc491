// Overview: what happens now, whether it is any good, what it costs, and whether something is wrong.
import { html, useState } from "../vendor/preact.js";
import { link, nowMs, usePoll } from "../api.js";
import { Lines, StackedBars } from "../charts.js";
import { ago, clock, compact, count, interval, isoAgo, moment, percent, query, reward, seconds, usd } from "../format.js";
import { Arm, Card, Choice, Command, Interval, Legend, ShareBar, Tile, Waiting, hueOf, plural, scaleOf } from "../ui.js";

// Window: its name, its length, the length of a step, in seconds.
export const WINDOWS = {
  "1h": ["1 hour", 3600, 300],
  "24h": ["24 hours", 86_400, 1800],
  "7d": ["7 days", 604_800, 14_400],
  "30d": ["30 days", 2_592_000, 86_400],
  all: ["All", null, null],
};

/** A window that a policy of this age fills. */
export function firstWindow(arms) {
  const hours = (nowMs() - Math.min(...arms.map((one) => Date.parse(one.created_at)), nowMs())) / 3.6e6;
  return hours < 3 ? "1h" : "24h";
}

/** Since when, and in which steps, a window is drawn. */
export function spanOf(window, arms) {
  const [, length, step] = WINDOWS[window];
  if (length) return { length, step };
  const first = Math.min(...arms.map((one) => Date.parse(one.created_at)), nowMs() - 3.6e6);
  const life = Math.max(3600, (nowMs() - first) / 1000 + 300);
  const wanted = life / 60;
  const even = [300, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800].find((s) => s >= wanted) || 2_592_000;
  return { length: life, step: even };
}

/** The timeseries of a window, polled; and as columns: times in seconds, per arm the rows by time. */
export function useSeries(policy, window, arms, every = 5000) {
  const span = spanOf(window, arms);
  const path = () => `v1/stats/timeseries?${query({ policy, since: isoAgo(spanOf(window, arms).length), step_s: span.step })}`;
  const poll = usePoll(path, { every, key: `series/${policy}/${window}/${span.step}` });
  return { ...poll, span, columns: poll.data ? columnsOf(poll.data, span.step) : null };
}

export function columnsOf(data, step) {
  const times = [...new Set(data.steps.map((one) => one.at))].sort();
  const index = new Map(times.map((at, i) => [at, i]));
  const byArm = {};
  for (const one of data.steps) (byArm[one.arm] ||= times.map(() => null))[index.get(one.at)] = one;
  const now = nowMs() / 1000;
  const since = Date.parse(data.since) / 1000;
  const shown = times.map((at) => Date.parse(at) / 1000);
  // An empty beginning says nothing, but a few empty steps keep one bar from filling the chart.
  const from = shown.length ? Math.max(since, Math.min(shown[0] - 2 * step, now - 12 * step)) : since;
  return { times: shown, byArm, range: [from - (from % step), Math.max(now, (shown[shown.length - 1] || 0) + step)] };
}

/** Over all arms, per time: decisions, explored, rewards, mean reward. The mean is weighted by rewards. */
export function overall(columns) {
  const rows = Object.values(columns.byArm);
  const sum = (i, name) => rows.reduce((total, row) => total + (row[i]?.[name] || 0), 0);
  return columns.times.map((_, i) => {
    const rewards = sum(i, "rewards");
    const earned = rows.reduce((total, row) => total + (row[i]?.mean_reward ?? 0) * (row[i]?.rewards || 0), 0);
    return { decisions: sum(i, "decisions"), explored: sum(i, "explored"), rewards, mean: rewards ? earned / rewards : null };
  });
}

export function Overview({ policy, arms, go }) {
  const [window, setWindow] = useState(firstWindow(arms));
  const length = WINDOWS[window][1];
  const stats = usePoll(`v1/stats?${query({ policy, window_s: length })}`);
  const series = useSeries(policy, window, arms);
  const latest = usePoll(`v1/decisions?${query({ policy, limit: 8 })}`);
  const s = stats.data;
  if (!s) return html`<${Waiting} poll=${stats} what="statistics" />`;
  if (latest.data && !latest.data.decisions.length && s.decisions === 0) return html`<${FirstSteps} policy=${policy} />`;
  return html`
    <div class="row between"><${Choice} label="Window" value=${window} onChange=${setWindow}
      options=${Object.entries(WINDOWS).map(([name, [text]]) => [name, text])} />
      <${Legend} arms=${arms} /></div>
    <${Tiles} s=${s} newest=${latest.data?.decisions[0]?.created_at} />
    <div class="grid two">
      <${Card} title="Traffic" note="Decisions per step, by the arm that was drawn.">
        ${series.columns ? html`<${Traffic} columns=${series.columns} arms=${arms} step=${series.span.step} />` : html`<${Waiting} poll=${series} what="traffic" />`}
      <//>
      <${Card} title="Reward and exploration" note="Mean reward of each step, and the share of decisions that were not the most promising.">
        ${series.columns ? html`<${Earned} columns=${series.columns} step=${series.span.step} />` : html`<${Waiting} poll=${series} what="rewards" />`}
      <//>
    </div>
    <${Against} s=${s} arms=${arms} window=${window} />
    <div class="grid two">
      <div class="stack"><${Budgets} policy=${policy} /><${Alarms} s=${s} arms=${arms} /></div>
      <${Latest} page=${latest.data} arms=${arms} go=${go} />
    </div>`;
}

function Tiles({ s, newest }) {
  const dearest = [...s.arms].filter((one) => one.fixed.saved_usd !== null).sort((a, b) => b.fixed.would_have_cost_usd - a.fixed.would_have_cost_usd)[0];
  const saved = dearest?.fixed.saved_usd;
  const e = s.selection_entropy;
  const decided = e.policy_mean !== null && e.maximum ? e.policy_mean / e.maximum : null;
  const c = s.coverage;
  return html`<div class="tiles">
    <${Tile} label="Decisions" value=${compact(s.decisions)} sub=${newest ? `newest ${ago(newest)}` : "none yet"}
      title=${`${count(s.decisions)} decisions in this window`} />
    <${Tile} label="Mean reward" value=${reward(s.mean_reward)} sub=${s.interval ? html`95 %: ${interval(s.interval)}` : "no reward yet"}
      title=${`Of ${count(s.rewards)} rewarded decisions; interval by ${s.interval_method || "–"}`} />
    <${Tile} label="Exploration" value=${percent(s.exploration_rate)}
      sub=${decided === null ? "–" : `entropy ${e.policy_mean.toFixed(2)} of ${e.maximum.toFixed(2)} nats`}
      title="Share of decisions whose arm was not the one of the highest utility; entropy of the probabilities drawn from" />
    <${Tile} label="Rewarded" value=${percent(c.share, 0)} sub=${c.delay_p50_s === null ? c.reason || "later than the histogram" : `half within ${seconds(c.delay_p50_s)}, 90 % ${seconds(c.delay_p90_s)}`}
      title="Share of decisions with a reward, and how late rewards come (over the policy's life)" />
    <${Tile} label="Spend" value=${usd(s.spend_usd)} sub=${s.decisions ? `${usd(s.predicted_spend_usd / s.decisions)} predicted per decision` : "–"}
      title=${`As reported or settled; predicted ${usd(s.predicted_spend_usd)}`} />
    <${Tile} label="Saved" value=${usd(saved)} tone=${saved > 0 ? "good" : ""}
      sub=${dearest ? `against always ${dearest.arm}` : "no arm was eligible for all"}
      title="Predicted cost of the dearest arm for every decision, less what was predicted for the arms drawn" />
    ${s.degraded > 0 && html`<${Tile} label="Without context" value=${count(s.degraded)} tone="bad" sub="no text, or the encoder failed or was late" />`}
  </div>`;
}

function Traffic({ columns, arms, step }) {
  const series = Object.keys(columns.byArm)
    .sort((a, b) => arms.findIndex((one) => one.arm === a) - arms.findIndex((one) => one.arm === b))
    .map((name) => ({ name, hue: hueOf(arms, name), values: columns.byArm[name].map((row) => row?.decisions || 0) }));
  if (!columns.times.length) return html`<p class="muted">No decision in this window.</p>`;
  return html`<${StackedBars} times=${columns.times} series=${series} range=${columns.range} step=${step} format=${compact}
    label="Decisions over time, stacked by arm" />`;
}

function Earned({ columns, step }) {
  if (!columns.times.length) return html`<p class="muted">No decision in this window.</p>`;
  const rows = overall(columns);
  const series = [
    { name: "mean reward", hue: "accent", values: rows.map((row) => row.mean), thick: true, dots: rows.length < 80 },
    { name: "exploration", hue: "muted", values: rows.map((row) => (row.decisions ? row.explored / row.decisions : null)), dash: [4, 3], dots: rows.length < 80 },
  ];
  return html`<${Lines} times=${columns.times} series=${series} range=${columns.range} step=${step} floor=${0} ceiling=${1}
    format=${(v) => v.toFixed(2)} label="Mean reward and exploration rate over time" />
    <p class="keys"><span class="key-line accent"></span>mean reward <span class="key-line dashed"></span>exploration rate</p>`;
}

function Against({ s, arms, window }) {
  const rows = s.arms.filter((one) => one.present || one.decisions);
  const [low, high] = scaleOf(rows.map((one) => one.interval).filter(Boolean));
  const savings = new Map((s.savings?.arms || []).map((one) => [one.arm, one]));
  const most = Math.max(s.predicted_spend_usd, ...rows.map((one) => one.fixed.would_have_cost_usd || 0));
  return html`<${Card} title="Against every fixed arm"
      note=${`Rewards are of the decisions an arm was given, so they are not like for like (the verdict is, and the Learning page); costs are: what every decision ${window === "all" ? "so far" : "of this window"} would have been predicted to cost with one arm alone.`}>
    <div class="scroll" tabindex="0" role="region" aria-label="Arms against each other"><table>
      <thead><tr><th scope="col">Arm</th><th scope="col">Share</th><th scope="col">Mean reward, ${low.toFixed(2)} to ${high.toFixed(2)}</th><th scope="col" class="right">Mean</th><th scope="col" class="right">Rewards</th>
        <th scope="col" class="right">Spend</th><th scope="col" class="right">All to it</th><th scope="col">Cost against ours</th><th scope="col" class="right">We saved</th><th scope="col" title="Routing against this arm alone on the same traffic, by doubly robust estimates">Verdict on routing</th></tr></thead>
      <tbody>
        <tr class="ours"><th scope="row">the policy</th><td>100 %</td>
          <td class="graph"><${Interval} mean=${s.mean_reward} pair=${s.interval} low=${low} high=${high} hue="accent" /></td>
          <td class="num right">${reward(s.mean_reward)}</td><td class="num right">${count(s.rewards)}</td>
          <td class="num right">${usd(s.spend_usd)}</td><td class="num right">${usd(s.predicted_spend_usd)}</td>
          <td><${CostBar} value=${s.predicted_spend_usd} most=${most} hue="accent" /></td><td></td><td></td></tr>
        ${rows.map(
          (one) => html`<tr key=${one.arm}><th scope="row"><${Arm} arms=${arms} name=${one.arm} />${!one.present && html` <span class="badge">deleted</span>`}${one.change && html` <span class="badge bad">changed</span>`}</th>
            <td><${ShareBar} share=${one.share} hue=${hueOf(arms, one.arm)} /></td>
            <td class="graph"><${Interval} mean=${one.mean_reward} pair=${one.interval} low=${low} high=${high} hue=${hueOf(arms, one.arm)} mark=${s.mean_reward} /></td>
            <td class="num right">${reward(one.mean_reward)}</td><td class="num right">${count(one.rewards)}</td>
            <td class="num right">${usd(one.spend_usd)}</td>
            <td class="num right" title=${one.fixed.reason || ""}>${usd(one.fixed.would_have_cost_usd)}</td>
            <td><${CostBar} value=${one.fixed.would_have_cost_usd} most=${most} hue=${hueOf(arms, one.arm)} /></td>
            <td class="num right ${one.fixed.saved_usd > 0 ? "gain" : ""}" title=${one.fixed.reason || ""}>${one.fixed.saved_usd === null ? html`<span class="muted">n/a</span>` : usd(one.fixed.saved_usd)}</td>
            <td><${Verdict} one=${savings.get(one.arm)} /></td></tr>`,
        )}
      </tbody></table></div><//>`;
}

/** What was found of routing against one arm: words, and the difference of rewards with its interval behind them. */
function Verdict({ one }) {
  if (!one) return html`<span class="muted">–</span>`;
  const d = one.reward_difference;
  const says = d ? `reward ${d.mean >= 0 ? "+" : "−"}${Math.abs(d.mean).toFixed(3)}${d.interval ? `, 95 % ${d.interval.map((v) => v.toFixed(3)).join(" to ")}` : ""}` : "";
  if (!one.verdict) return html`<span class="muted" title=${[one.reason, says].filter(Boolean).join("; ")}>not known yet</span>`;
  const tone = one.verdict.includes("worse") ? "bad" : /better|as good/.test(one.verdict) ? "good" : "plain";
  return html`<span class="badge ${tone}" title=${says}>${one.verdict}</span>`;
}

const CostBar = ({ value, most, hue }) => html`<svg class="costbar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
  <rect class="track" width="100" height="8" /><rect class="fill ${hue}" width=${most > 0 ? (100 * (value || 0)) / most : 0} height="8" /></svg>`;

/** Shown where the policy has budgets. */
function Budgets({ policy }) {
  const poll = usePoll(`v1/budgets?${query({ policy })}`, { every: 4000 });
  const mine = poll.data?.budgets || [];
  if (!mine.length) return null;
  return html`<${Card} title="Budgets" note="What is charged in the window that runs now; the price is what a dollar weighs in choosing.">
    <div class="scroll" tabindex="0" role="region" aria-label="Budgets"><table>
      <thead><tr><th scope="col">Budget</th><th scope="col">Charged</th><th scope="col" class="right">Left</th><th scope="col" class="right">Window ends</th><th scope="col" class="right">Price</th></tr></thead>
      <tbody>${mine.map((one) => html`<tr key=${`${one.name}/${one.account}`}>
        <th scope="row">${one.name} <span class="muted">per ${one.per}${one.account ? `, ${one.of ? `${one.of} ` : ""}${one.account}` : ""}</span>${one.stopped && html` <span class="badge bad">stopped: ${one.at_stop}</span>`}</th>
        <td><${ShareBar} share=${one.limit_usd ? Math.min(1, one.charged_usd / one.limit_usd) : 0} hue=${one.stopped ? "bad" : "accent"} label=${`${usd(one.charged_usd)} of ${usd(one.limit_usd)}`} /></td>
        <td class="num right">${usd(one.remaining_usd)}</td><td class="num right">${one.window_ends_at ? moment(one.window_ends_at) : "–"}</td>
        <td class="num right">${one.price_per_usd ? one.price_per_usd.toPrecision(3) : "–"}</td></tr>`)}</tbody></table></div><//>`;
}

export function Alarms({ s, arms }) {
  return html`<${Card} title="Alarms" note="Changes of an arm's rewards that the detector found, and recoveries.">
    ${s.changes.length
      ? html`<ul class="events">${s.changes.slice(0, 8).map(
          (one, i) => html`<li key=${i}><span class="badge ${one.kind === "changed" && one.direction === "down" ? "bad" : "good"}">${one.kind === "recovered" ? "recovered" : `changed ${one.direction}`}</span>
            <${Arm} arms=${arms} name=${one.arm} /> from <b class="num">${reward(one.old_level)}</b> to <b class="num">${reward(one.new_level)}</b>
            <span class="muted">shown by ${plural(one.rewards, "reward")}, ${one.at ? ago(one.at) : "just now"}${one.queries_moved && one.kind === "changed" ? "; the queries had changed too" : ""}</span></li>`,
        )}</ul>`
      : html`<p class="calm">No arm has changed: rewards come as they were predicted.</p>`}
  <//>`;
}

function Latest({ page, arms, go }) {
  const rows = page?.decisions || [];
  return html`<${Card} title="Latest decisions" side=${html`<a href="#/decisions">All decisions</a>`}>
    <table class="compact"><thead class="hidden"><tr><th scope="col">Time</th><th scope="col">Arm</th><th scope="col">Kind</th><th scope="col">Probability</th><th scope="col">Reward</th></tr></thead><tbody>${rows.map(
      (one) => html`<tr key=${one.decision_id}>
        <td><button type="button" class="link num" onClick=${() => go("decisions", { id: one.decision_id })}>${clock(one.created_at)}</button></td>
        <td><${Arm} arms=${arms} name=${one.arm} /></td>
        <td>${one.explored ? html`<span class="badge">explored</span>` : html`<span class="muted">greedy</span>`}</td>
        <td class="num right">p ${percent(one.propensity)}</td><td class="num right">${one.reward === null ? html`<span class="muted">waiting</span>` : reward(one.reward)}</td></tr>`,
    )}</tbody></table><//>`;
}

export function FirstSteps({ policy }) {
  const origin = new URL(".", document.baseURI).href.replace(/\/$/, "");
  const key = link.key ? " -H 'x-api-key: YOUR_KEY'" : "";
  const named = policy === "default" ? "" : `, "policy": "${policy}"`;
  const ask = `curl -s ${origin}/v1/route${key} -H 'Content-Type: application/json' \\\n  -d '{"input": "Prove that the square root of two is irrational."${named}}'`;
  const pay = `curl -s ${origin}/v1/rewards${key} -H 'Content-Type: application/json' \\\n  -d '{"decision_id": "PASTE_THE_ID", "thumb": "up"}'`;
  return html`<${Card} title="Nothing has been asked yet" wide>
    <p>This daemon is ready, and its policy <b>${policy}</b> has made no decision. Three ways to begin:</p>
    <ol class="steps">
      <li><p>Ask where a query should go. It appears here within two seconds.</p><${Command} text=${ask} /></li>
      <li><p>Say how good the answer was, with the <code>decision_id</code> of the first answer. The policy learns from it at once.</p><${Command} text=${pay} /></li>
      <li><p>Or try the <a href="#/playground">playground</a>; or let generated traffic teach it (rewards included, so not on a daemon in use):</p><${Command} text=${`banditd simulate --url ${origin} --requests 500`} /></li>
    </ol><//>`;
}
