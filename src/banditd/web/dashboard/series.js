// Windows of time, and the rows of the time series as columns for the charts.
import { nowMs, usePoll } from "./api.js";
import { isoAgo, query } from "./format.js";

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
