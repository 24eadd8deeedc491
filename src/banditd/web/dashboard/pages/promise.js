// The promise over time: of every stretch of the window, the quality kept and the share saved.
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { call, link, nowMs } from "../api.js";
import { Lines } from "../charts.js";
import { query } from "../format.js";
import { spanOf } from "../series.js";
import { Card } from "../ui.js";

const STRETCHES = 8;
const BUCKET_S = 300;
const EVERY_MS = 10_000;

/** Beginnings of the stretches of a window, in seconds, oldest first; on whole buckets, so that past ones stay as they are. */
function stretchesOf(window, arms) {
  const { length } = spanOf(window, arms);
  const step = BUCKET_S * Math.max(1, Math.ceil(length / STRETCHES / BUCKET_S));
  const last = Math.floor(nowMs() / 1000 / step) * step;
  return { step, times: [...Array(STRETCHES).keys()].map((i) => last - (STRETCHES - 1 - i) * step) };
}

const iso = (s) => new Date(1000 * s).toISOString().replace(".000Z", "Z");

/** What was saved and kept in every stretch. A past one is asked for once more after it ended, then never again. */
function useStretches(policy, window, arms) {
  const [rows, setRows] = useState(null);
  const cache = useRef(new Map());
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const look = async () => {
      if (!document.hidden && !link.paused) {
        const { step, times } = stretchesOf(window, arms);
        const settled = (at) => at + step + BUCKET_S < nowMs() / 1000;
        try {
          const key = (at) => `${policy}/${step}/${at}`;
          const first = times.find((at) => !cache.current.has(key(at)));
          const path = `v1/savings?${query({ policy, since: iso(first), until: iso(times[STRETCHES - 1] + step), step_s: step })}`;
          const answer = await call("GET", path, undefined, { signal: abort.signal });
          const found = times.map((at) => (at < first ? cache.current.get(key(at)) : answer.steps[(at - first) / step]));
          times.forEach((at, i) => settled(at) && cache.current.set(key(at), found[i]));
          setRows({ step, times, found });
        } catch {
          // the next look tries again; what is wrong is said at the top of the page
        }
      }
      if (!abort.signal.aborted) timer = setTimeout(look, EVERY_MS);
    };
    look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [policy, window]);
  return rows;
}

export function PromiseCurve({ policy, window, arms }) {
  const rows = useStretches(policy, window, arms);
  const note = "Quality against the baseline's on the same traffic, and the share of its cost that was saved. The band is the 95 % interval.";
  if (!rows) return html`<${Card} title="Promise over time" note=${note}><p class="muted">Loading …</p><//>`;
  const { found, times, step } = rows;
  const keep = found[found.length - 1].keep;
  const quality = found.map((one) => one.lost.quality_ratio);
  if (quality.every((v) => v === null) && found.every((one) => one.saved.share === null)) {
    return html`<${Card} title="Promise over time" note=${note}><p class="muted">Nothing to compare yet: rewards of this window say how much quality is kept.</p><//>`;
  }
  const bound = (i) => found.map((one) => one.lost.quality_interval?.[i] ?? one.lost.quality_ratio);
  const series = [
    { name: "quality kept", hue: "accent", values: quality, low: bound(0), high: bound(1), thick: true, dots: true },
    { name: "saved", hue: "good", values: found.map((one) => one.saved.share), dash: [6, 3], dots: true },
    ...(keep === null ? [] : [{ name: "promised", hue: "muted", values: times.map(() => keep), dash: [2, 3] }]),
  ];
  return html`<${Card} title="Promise over time" note=${note}>
    <${Lines} times=${times.map((at) => at + step / 2)} series=${series} range=${[times[0], times[times.length - 1] + step]} step=${step} floor=${0} format=${(v) => `${Math.round(100 * v)} %`} label="Quality kept and share saved over time" />
    <p class="keys"><span class="key-line accent"></span>quality kept <span class="key-line saved"></span>saved ${keep !== null && html`<span class="key-line dashed"></span>promised: ${`${+(100 * keep).toFixed(1)} %`}`}</p><//>`;
}
