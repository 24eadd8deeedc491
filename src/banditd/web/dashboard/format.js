// Numbers and times as people read them. What is not known is a dash, never a zero.
import { nowMs } from "./api.js";

const DASH = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const known = (v) => v !== null && v !== undefined && !Number.isNaN(v);

export const count = (v) => (known(v) ? whole.format(v) : DASH);

export function compact(v) {
  if (!known(v)) return DASH;
  if (Math.abs(v) < 10_000) return whole.format(v);
  if (Math.abs(v) < 1e6) return `${(v / 1e3).toFixed(Math.abs(v) < 1e5 ? 1 : 0)} k`;
  return `${(v / 1e6).toFixed(Math.abs(v) < 1e8 ? 2 : 0)} M`;
}

export const reward = (v) => (known(v) ? (Math.abs(v) < 0.0005 ? 0 : v).toFixed(3) : DASH);

/** What a reward can be: a model's mean leaves it far from what was learned. */
export const within = (mean) => (known(mean) ? Math.min(1, Math.max(0, mean)) : mean);
export const predicted = (mean) => reward(within(mean));

export function percent(v, digits = 1) {
  if (!known(v)) return DASH;
  const p = 100 * v;
  if (p !== 0 && Math.abs(p) < 0.1) return `${p.toPrecision(1)} %`;
  if (p > 99.9 && p < 100) return `${p.toFixed(2)} %`;
  return `${p.toFixed(digits)} %`;
}

export function usd(v) {
  if (!known(v)) return DASH;
  const a = Math.abs(v);
  const sign = v < 0 ? "−" : "";
  if (a === 0) return "$0";
  if (a >= 1000) return `${sign}$${whole.format(a)}`;
  if (a >= 1) return `${sign}$${a.toFixed(2)}`;
  if (a >= 0.1) return `${sign}$${a.toFixed(2)}`;
  if (a >= 0.01) return `${sign}$${a.toFixed(3)}`;
  return a >= 1e-6 ? `${sign}$${a.toFixed(1 - Math.floor(Math.log10(a)))}` : `${sign}$${a.toExponential(1)}`;
}

export function ms(v) {
  if (!known(v)) return DASH;
  if (v < 1000) return `${v < 10 ? v.toFixed(1) : v.toFixed(0)} ms`;
  return seconds(v / 1000);
}

export function seconds(v) {
  if (!known(v)) return DASH;
  if (v < 1) return `${(1000 * v).toFixed(0)} ms`;
  if (v < 60) return `${v.toFixed(v < 10 ? 1 : 0)} s`;
  if (v < 3600) return `${(v / 60).toFixed(v < 600 ? 1 : 0)} min`;
  if (v < 86_400) return `${(v / 3600).toFixed(1)} h`;
  return `${(v / 86_400).toFixed(1)} d`;
}

const two = (n) => String(n).padStart(2, "0");

export function clock(iso) {
  if (!iso) return DASH;
  const d = new Date(iso);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function day(iso) {
  if (!iso) return DASH;
  const d = new Date(iso);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

/** Today only the time; before, the date with it. */
export function moment(iso) {
  if (!iso) return DASH;
  return day(iso) === day(new Date(nowMs()).toISOString()) ? clock(iso) : `${day(iso)} ${clock(iso)}`;
}

export function ago(iso) {
  if (!iso) return DASH;
  const s = (nowMs() - Date.parse(iso)) / 1000;
  if (s < 1.5) return "now";
  if (s < 90) return `${s.toFixed(0)} s ago`;
  if (s < 5400) return `${(s / 60).toFixed(0)} min ago`;
  if (s < 129_600) return `${(s / 3600).toFixed(0)} h ago`;
  return `${(s / 86_400).toFixed(0)} d ago`;
}

export function interval(pair) {
  return pair ? `${reward(pair[0])} to ${reward(pair[1])}` : DASH;
}

export const isoAgo = (s) => new Date(nowMs() - 1000 * s).toISOString().replace(/\.\d+Z$/, "Z");

export function query(values) {
  const parts = [];
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") parts.push(`${name}=${encodeURIComponent(value)}`);
  }
  return parts.join("&");
}
