// uPlot inside the page: colours from the style sheet, redrawn when the theme or the size changes. No data here.
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

/** The colour that the style sheet gives a class, for the canvas. */
const cache = new Map();
export function colour(name) {
  const theme = currentTheme();
  const key = `${theme}/${name}`;
  if (!cache.has(key)) {
    const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    cache.set(key, value || "#888");
  }
  return cache.get(key);
}

export function currentTheme() {
  const chosen = document.documentElement.dataset.theme;
  return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

const alpha = (hex, a) => `${hex}${Math.round(255 * a).toString(16).padStart(2, "0")}`;

const two = (n) => String(n).padStart(2, "0");

/** Hours and minutes; at midnight, and where the steps are days, the day. */
function timeLabels(_, splits) {
  const step = splits.length > 1 ? splits[1] - splits[0] : 60;
  let last = "";
  return splits.map((s) => {
    const d = new Date(1000 * s);
    const midnight = d.getHours() + d.getMinutes() + d.getSeconds() === 0;
    const date = d.toLocaleDateString("en", step > 2.5e6 ? { month: "short", year: "numeric" } : { month: "short", day: "numeric" });
    const text = step >= 86_400 || midnight ? date : `${two(d.getHours())}:${two(d.getMinutes())}${step < 60 ? `:${two(d.getSeconds())}` : ""}`;
    const shown = text === last ? "" : text;
    last = text;
    return shown;
  });
}

function axes(format, plain = false) {
  const ink = colour("muted");
  const line = { stroke: colour("line"), width: 1 };
  const font = "11px system-ui, sans-serif";
  return [
    { stroke: ink, font, grid: { show: false }, ticks: { show: false }, size: 26, space: 74, values: plain ? (_, v) => v.map((n) => String(n)) : timeLabels },
    { stroke: ink, font, grid: line, ticks: { show: false }, size: 52, values: (_, v) => v.map(format), space: 34 },
  ];
}

/**
 * options : made anew from the theme by `make(width)`; `data` as uPlot takes it. `signature` : when it changes the
 * chart is made anew, otherwise it only gets the new data.
 */
function Plot({ make, data, signature, height = 190, label }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [theme, setTheme] = useState(currentTheme());
  useEffect(() => {
    const change = () => setTheme(currentTheme());
    const media = matchMedia("(prefers-color-scheme: dark)");
    media.addEventListener("change", change);
    addEventListener("banditd-theme", change);
    return () => {
      media.removeEventListener("change", change);
      removeEventListener("banditd-theme", change);
    };
  }, []);
  useEffect(() => {
    const width = () => Math.max(200, box.current.clientWidth);
    plot.current = new uPlot({ ...make(), width: width(), height }, data, box.current);
    const observer = new ResizeObserver(() => {
      if (plot.current && plot.current.width !== width()) plot.current.setSize({ width: width(), height });
    });
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, [signature, theme]);
  useEffect(() => {
    if (plot.current) plot.current.setData(data);
  }, [data]);
  return html`<div class="plot" ref=${box} role="img" aria-label=${label}></div>`;
}

const cursor = { points: { show: false }, drag: { x: false, y: false }, y: false };

/** Stacked bars: `series` is [{name, hue, values}], drawn from the top of the stack down. */
export function StackedBars({ times, series, range, step, format, label, whole = false }) {
  let below = times.map(() => 0);
  const totals = times.map((_, i) => series.reduce((sum, one) => sum + (one.values[i] || 0), 0));
  const stacked = series.map((one) => {
    below = below.map((v, i) => v + (whole ? (totals[i] ? (one.values[i] || 0) / totals[i] : 0) : one.values[i] || 0));
    return below;
  });
  const order = series.map((_, i) => i).reverse();
  const signature = JSON.stringify([series.map((one) => [one.name, one.hue]), step, whole]);
  const span = useRef(range);
  span.current = range;
  const raw = useRef(null);
  raw.current = { times, series, totals };
  const make = () => ({
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor,
    scales: {
      x: { range: () => span.current },
      y: { range: (_, __, max) => [0, whole ? 1 : max > 0 ? max * 1.08 : 1] },
    },
    axes: axes(format),
    plugins: [tip((i) => tipRows(raw.current, i, whole, format))],
    series: [
      {},
      ...order.map((i) => ({
        label: series[i].name,
        fill: colour(series[i].hue),
        stroke: colour("card"),
        width: 0.5,
        points: { show: false },
        paths: uPlot.paths.bars({ size: [0.86, 44], align: 1 }),
      })),
    ],
  });
  const data = [times, ...order.map((i) => stacked[i])];
  return html`<${Plot} make=${make} data=${data} signature=${signature} label=${label} />`;
}

function tipRows({ series, totals }, i, whole, format) {
  return series
    .filter((one) => one.values[i])
    .map((one) => [one.hue, one.name, whole ? `${((100 * one.values[i]) / totals[i]).toFixed(1)} %` : format(one.values[i])]);
}

/** Lines over time. `series` is [{name, hue, values, dash, fill, low, high, thick, dots}]; `levels` are flat lines. */
export function Lines({ times, series, range, format, label, floor = null, ceiling = null, height, step, plain = false, head }) {
  const columns = [];
  const specs = [];
  const bands = [];
  for (const one of series) {
    const at = specs.length + 1;
    specs.push({
      label: one.name,
      stroke: colour(one.hue),
      width: one.thick ? 2.25 : 1.5,
      dash: one.dash,
      spanGaps: true,
      points: { show: Boolean(one.dots), size: 5, fill: colour(one.hue) },
      paths: one.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
    });
    columns.push(one.values);
    if (one.low) {
      specs.push({ stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } });
      columns.push(one.high, one.low);
      bands.push({ series: [at + 1, at + 2], fill: alpha(colour(one.hue), 0.16) });
    }
  }
  const raw = useRef(null);
  raw.current = series;
  const span = useRef(range);
  span.current = range;
  const signature = JSON.stringify(series.map((one) => [one.name, one.hue, one.dash, Boolean(one.low), one.dots])) + step;
  const make = () => ({
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor,
    scales: {
      x: { time: !plain, range: (_, low, high) => span.current || (low === high ? [low - 60, high + 60] : [low, high]) },
      y: {
        range: (_, low, high) => {
          if (low === null || high === null) return [floor ?? 0, ceiling ?? 1];
          const room = Math.max(0.06 * (high - low), 0.01 * Math.abs(high), 1e-9);
          return [Math.max(low - room, floor ?? -Infinity), Math.min(high + room, ceiling ?? Infinity)];
        },
      },
    },
    axes: axes(format, plain),
    bands,
    plugins: [
      tip((i) =>
        raw.current
          .filter((one) => one.values[i] !== null && one.values[i] !== undefined)
          .map((one) => [one.hue, one.name, format(one.values[i])]),
        head,
      ),
    ],
    series: [{}, ...specs],
  });
  return html`<${Plot} make=${make} data=${[times, ...columns]} signature=${signature} label=${label} height=${height} />`;
}

/** A small table beside the cursor. */
function tip(rows, head = (x) => new Date(1000 * x).toLocaleString()) {
  let box = null;
  return {
    hooks: {
      init: (u) => {
        box = document.createElement("div");
        box.className = "tip";
        u.over.appendChild(box);
      },
      setCursor: (u) => {
        const i = u.cursor.idx;
        const found = i === null || i === undefined || u.cursor.left < 0 ? [] : rows(i);
        box.hidden = !found.length;
        if (!found.length) return;
        box.replaceChildren();
        const title = document.createElement("div");
        title.className = "tip-head";
        title.textContent = head(u.data[0][i]);
        box.appendChild(title);
        for (const [hue, name, value] of found) {
          const row = document.createElement("div");
          const dot = document.createElement("i");
          dot.className = "dot";
          dot.style.background = colour(hue);
          const text = document.createElement("span");
          text.textContent = name;
          const number = document.createElement("b");
          number.textContent = value;
          row.append(dot, text, number);
          box.appendChild(row);
        }
        const right = u.cursor.left > u.over.clientWidth / 2;
        box.style.left = right ? "" : `${u.cursor.left + 12}px`;
        box.style.right = right ? `${u.over.clientWidth - u.cursor.left + 12}px` : "";
      },
    },
  };
}

/** A small line without axes, for a table's cell. */
export function Spark({ values, hue, label, low = 0, high = 1 }) {
  const known = values.filter((v) => v !== null);
  if (known.length < 2) return html`<span class="muted">–</span>`;
  const points = values
    .map((v, i) => (v === null ? null : `${((100 * i) / (values.length - 1)).toFixed(1)},${(22 - (20 * (v - low)) / (high - low || 1)).toFixed(1)}`))
    .filter(Boolean);
  return html`<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label=${label}>
    <polyline class="line ${hue}" points=${points.join(" ")} /></svg>`;
}
