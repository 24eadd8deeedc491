// Overview: what was saved and lost, what happens now, what it costs, and whether something is wrong.
import { html, useState } from "../vendor/preact.js";
import { link, usePoll } from "../api.js";
import { Lines, StackedBars } from "../charts.js";
import { hueOf, inOrder, isBaseline } from "../colours.js";
import { ago, clock, compact, count, interval, isoAgo, moment, percent, query, reward, seconds, usd } from "../format.js";
import { DriftCard } from "./drift.js";
import { Gateway } from "./gateway.js";
import { Groups } from "./groups.js";
import { Headline } from "./headline.js";
import { PromiseCurve } from "./promise.js";
import { ReleaseCard } from "./release.js";
import { WINDOWS, firstWindow, overall, useSeries } from "../series.js";
import { Arm, Card, Choice, Command, Interval, Legend, ShareBar, Tile, Waiting, plural, scaleOf } from "../ui.js";
import { Kind, REASONS, steering } from "../words.js";

export function Overview({ policy, arms, promise, go }) {
  const [window, setWindow] = useState(firstWindow(arms));
  const length = WINDOWS[window][1];
  const stats = usePoll(`v1/stats?${query({ policy, window_s: length })}`);
  const savings = usePoll(() => `v1/savings?${query({ policy, since: length && isoAgo(length) })}`, { every: 4000, key: `savings/${policy}/${window}`, keep: true });
  const series = useSeries(policy, window, arms);
  const latest = usePoll(`v1/decisions?${query({ policy, limit: 8 })}`);
  const s = stats.data;
  if (!s) return html`<${Waiting} poll=${stats} what="statistics" />`;
  if (latest.data && !latest.data.decisions.length && s.decisions === 0) return html`<${FirstSteps} policy=${policy} />`;
  return html`
    <div class="row between"><${Choice} label="Window" value=${window} onChange=${setWindow}
      options=${Object.entries(WINDOWS).map(([name, [text]]) => [name, text])} />
      <${Legend} arms=${arms} /></div>
    ${savings.data ? html`<${Headline} s=${savings.data} promise=${promise} policy=${policy} window=${window} />` : html`<${Waiting} poll=${savings} what="what was saved" />`}
    <div class="grid two">
      <${Card} title="Traffic by model" note="Decisions per step, by the model that was chosen; the baseline is the floor of the stack.">
        ${series.columns ? html`<${Traffic} columns=${series.columns} step=${series.span.step} />` : html`<${Waiting} poll=${series} what="traffic" />`}
      <//>
      <${PromiseCurve} policy=${policy} window=${window} arms=${arms} />
    </div>
    <${Tiles} s=${s} newest=${latest.data?.decisions[0]?.created_at} />
    <${Gateway} policy=${policy} length=${length} />
    <${Groups} policy=${policy} length=${length} />
    <${Against} s=${s} window=${window} />
    <div class="grid two">
      <div class="stack"><${ReleaseCard} policy=${policy} go=${go} /><${Budgets} policy=${policy} /><${Card} title="Reward and learning" note="Mean reward of each step, and the share of decisions that tried to learn.">
        ${series.columns ? html`<${Earned} columns=${series.columns} step=${series.span.step} />` : html`<${Waiting} poll=${series} what="rewards" />`}
      <//></div>
      <div class="stack"><${Alarms} s=${s} /><${DriftCard} policy=${policy} /><${Latest} page=${latest.data} go=${go} /></div>
    </div>`;
}

function Tiles({ s, newest }) {
  const c = s.coverage;
  return html`<div class="tiles">
    <${Tile} label="Decisions" value=${compact(s.decisions)} sub=${newest ? `newest ${ago(newest)}` : "none yet"}
      title=${`${count(s.decisions)} decisions in this window`} />
    <${Tile} label="Mean reward" value=${reward(s.mean_reward)} sub=${s.interval ? html`95 %: ${interval(s.interval)}` : s.rewards ? `of ${plural(s.rewards, "reward")}` : "no reward yet"}
      title=${`Of ${count(s.rewards)} rewarded decisions; interval by ${s.interval_method || "–"}`} />
    <${Tile} label="Tried to learn" value=${percent(s.exploration_rate)} sub="of decisions were not the best guess"
      title="Share of decisions whose model was not the one that promised the most" />
    <${Tile} label="Rewarded" value=${percent(c.share, 0)} sub=${c.delay_p50_s === null ? c.reason || "later than the histogram" : `half within ${seconds(c.delay_p50_s)}, 90 % ${seconds(c.delay_p90_s)}`}
      title="Share of decisions with a reward, and how late rewards come (over the policy's life)" />
    <${Tile} label="Spend" value=${usd(s.spend_usd)} sub=${s.decisions ? `${usd(s.predicted_spend_usd / s.decisions)} predicted per decision` : "–"}
      title=${`As reported or settled; predicted ${usd(s.predicted_spend_usd)}`} />
    ${s.degraded > 0 && html`<${Tile} label="Not looked at" value=${count(s.degraded)} tone="bad" sub="no text, or the encoder failed or was late" />`}
  </div>`;
}

function Traffic({ columns, step }) {
  const series = inOrder(Object.keys(columns.byArm)).map((name) => ({
    name: isBaseline(name) ? `${name} (baseline)` : name, hue: hueOf(name), values: columns.byArm[name].map((row) => row?.decisions || 0),
  }));
  if (!columns.times.length) return html`<p class="muted">No decision in this window.</p>`;
  return html`<${StackedBars} times=${columns.times} series=${series} range=${columns.range} step=${step} format=${compact}
    label="Decisions over time, stacked by model" />`;
}

function Earned({ columns, step }) {
  if (!columns.times.length) return html`<p class="muted">No decision in this window.</p>`;
  const rows = overall(columns);
  const series = [
    { name: "mean reward", hue: "accent", values: rows.map((row) => row.mean), thick: true, dots: rows.length < 80 },
    { name: "tried to learn", hue: "muted", values: rows.map((row) => (row.decisions ? row.explored / row.decisions : null)), dash: [4, 3], dots: rows.length < 80 },
  ];
  return html`<${Lines} times=${columns.times} series=${series} range=${columns.range} step=${step} floor=${0} ceiling=${1}
    format=${(v) => v.toFixed(2)} label="Mean reward and share of decisions that tried to learn, over time" />
    <p class="keys"><span class="key-line accent"></span>mean reward <span class="key-line dashed"></span>tried to learn</p>`;
}

function Against({ s, window }) {
  const rows = s.arms.filter((one) => one.present || one.decisions);
  const [low, high] = scaleOf(rows.map((one) => one.interval).filter(Boolean));
  const savings = new Map((s.savings?.arms || []).map((one) => [one.arm, one]));
  return html`<${Card} title="Against always one model"
      note=${`What every decision ${window === "all" ? "so far" : "of this window"} would have cost with one model alone, and what is known of its quality on the same traffic. Mean rewards are of the queries each was given, so they are not like for like; what is said on the right is.`}>
    <div class="scroll" tabindex="0" role="region" aria-label="Against always one model"><table>
      <thead><tr><th scope="col">Model</th><th scope="col">Share</th><th scope="col">Mean reward, ${low.toFixed(2)} to ${high.toFixed(2)}</th><th scope="col" class="right">Mean</th><th scope="col" class="right">Rewards</th>
        <th scope="col" class="right">Spend</th><th scope="col" class="right">All to it</th><th scope="col">Always this one</th></tr></thead>
      <tbody>
        <tr class="ours"><th scope="row">routing</th><td>100 %</td>
          <td class="graph"><${Interval} mean=${s.mean_reward} pair=${s.interval} low=${low} high=${high} hue="accent" /></td>
          <td class="num right">${reward(s.mean_reward)}</td><td class="num right">${count(s.rewards)}</td>
          <td class="num right">${usd(s.spend_usd)}</td><td class="num right">${usd(s.savings?.basis === "settled" ? s.spend_usd : s.predicted_spend_usd)}</td><td></td></tr>
        ${rows.map(
          (one) => html`<tr key=${one.arm}><th scope="row"><${Arm} name=${one.arm} mark />${!one.present && html` <span class="badge">deleted</span>`}${one.away && html` <span class="badge bad" title=${`Until ${moment(one.away.until)} at the latest: ${REASONS[one.away.reason]}`}>away</span>`}${one.change && html` <span class="badge bad">changed</span>`}</th>
            <td><${ShareBar} share=${one.share} hue=${hueOf(one.arm)} /></td>
            <td class="graph"><${Interval} mean=${one.mean_reward} pair=${one.interval} low=${low} high=${high} hue=${hueOf(one.arm)} mark=${s.mean_reward} /></td>
            <td class="num right">${reward(one.mean_reward)}</td><td class="num right">${count(one.rewards)}</td>
            <td class="num right">${usd(one.spend_usd)}</td>
            <td class="num right" title=${one.fixed.reason || ""}>${usd(one.fixed.would_have_cost_usd)}</td>
            <td class="said"><${Verdict} one=${savings.get(one.arm)} /></td></tr>`,
        )}
      </tbody></table></div><//>`;
}

/** What is known of routing against one model, in the daemon's own words. */
function Verdict({ one }) {
  if (!one) return html`<span class="muted">–</span>`;
  const tone = one.verdict === "worse" ? "bad" : one.verdict === "better" || one.verdict === "as good" ? "good" : "plain";
  const label = { better: "routing is better", "as good": "routing is as good", worse: "routing is worse", unclear: "not clear yet" }[one.verdict];
  return html`${label && html`<span class="badge ${tone}">${label}</span> `}<span class="muted">${one.words || one.reason || ""}</span>`;
}

/** Shown where the policy has budgets. */
function Budgets({ policy }) {
  const poll = usePoll(`v1/budgets?${query({ policy })}`, { every: 4000 });
  const mine = poll.data?.budgets || [];
  if (!mine.length) return null;
  return html`<${Card} title="Budgets" note="What is charged in the window that runs now, and whether it changes the choice.">
    <ul class="budgets">${mine.map((one) => {
      const [tone, says] = steering(one);
      return html`<li key=${`${one.name}/${one.account}`}>
        <div class="row wrap"><b>${one.name}</b> <span class="muted">per ${one.per}${one.account && one.account !== "all" ? `, ${one.of ? `${one.of} ` : ""}${one.account}` : ""}</span>
          <${ShareBar} share=${one.limit_usd ? Math.min(1, one.charged_usd / one.limit_usd) : 0} hue=${one.stopped ? "bad" : "accent"} label=${`${usd(one.charged_usd)} of ${usd(one.limit_usd)}`} />
          <span class="muted">${one.remaining_usd !== null ? `${usd(one.remaining_usd)} left` : ""}${one.window_ends_at ? ` until ${moment(one.window_ends_at)}` : ""}</span></div>
        <p class="steers ${tone}">${says}</p></li>`;
    })}</ul><//>`;
}

export function Alarms({ s }) {
  return html`<${Card} title="Alarms" note="Changes of a model's rewards that were noticed, and recoveries.">
    ${s.changes.length
      ? html`<ul class="events">${s.changes.slice(0, 8).map(
          (one, i) => html`<li key=${i}><span class="badge ${one.kind === "changed" && one.direction === "down" ? "bad" : "good"}">${one.kind === "recovered" ? "recovered" : `changed ${one.direction}`}</span>
            <${Arm} name=${one.arm} /> from <b class="num">${reward(one.old_level)}</b> to <b class="num">${reward(one.new_level)}</b>
            <span class="muted">shown by ${plural(one.rewards, "reward")}, ${one.at ? ago(one.at) : "just now"}${one.queries_moved && one.kind === "changed" ? "; the queries had changed too" : ""}</span></li>`,
        )}</ul>`
      : html`<p class="calm">No model has changed: rewards come as they were predicted.</p>`}
  <//>`;
}

function Latest({ page, go }) {
  const rows = page?.decisions || [];
  return html`<${Card} title="Latest decisions" side=${html`<a href="#/decisions">All decisions</a>`}>
    <div class="scroll" tabindex="0" role="region" aria-label="Newest rows"><table class="compact"><thead class="hidden"><tr><th scope="col">Time</th><th scope="col">Model</th><th scope="col">Why</th><th scope="col">Reward</th></tr></thead><tbody>${rows.map(
      (one) => html`<tr key=${one.decision_id}>
        <td><button type="button" class="link num" onClick=${() => go("decisions", { id: one.decision_id })}>${clock(one.created_at)}</button></td>
        <td><${Arm} name=${one.arm} /></td><td><${Kind} d=${one} /></td>
        <td class="num right">${one.reward === null ? html`<span class="muted">no reward</span>` : reward(one.reward)}</td></tr>`,
    )}</tbody></table></div><//>`;
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
      <li><p>Or <a href="#/playground">try it here</a>; or let generated traffic teach it (rewards included, so not on a daemon in use):</p><${Command} text=${`banditd simulate --url ${origin} --requests 500`} /></li>
    </ol><//>`;
}
