// How often the baseline's answer is preferred: in words, the test between its bounds, and what length does to it.
import { html } from "../vendor/preact.js";
import { Lines } from "../charts.js";
import { hueOf } from "../colours.js";
import { count, percent } from "../format.js";
import { Arm, Card, Interval } from "../ui.js";

const VERDICTS = {
  rarely: ["fine: rarely preferred", "good"],
  often: ["often preferred", "bad"],
};

export function Comparisons({ one }) {
  const blind = one.preferred === "rarely" && 2 * one.inconsistent > one.compared;
  const [words, tone] = blind ? ["the judge goes by the order", "bad"] : VERDICTS[one.preferred] || ["not known yet", "plain"];
  const title = `Is ${one.baseline}'s answer better?`;
  return html`<${Card} title=${title} side=${html`<span class="badge ${tone}">${words}</span>`}>
    <p class="verdict">${one.words}</p>
    <div class="grid two"><div><h3>Evidence between its two bounds</h3>
      <p class="note">Every comparison moves it up where ${one.baseline}'s answer is preferred in both orders, down where not. At the upper bound that is often (nearer 20 % than 10 %), at the lower one rarely.</p>
      <${Evidence} one=${one} /></div>
    <div><h3>How often it wins</h3>
      <p class="note">A tie is half a win. Judges like length: at equal length is what would be left of it.</p>
      <${Wins} one=${one} />
      <p class="muted">${count(one.baseline_preferred)} for ${one.baseline}, ${count(one.served_preferred)} for what was served, ${count(one.same)} the same, ${count(one.inconsistent)} turned with the order; ${count(one.waiting)} waiting.</p></div></div><//>`;
}

function Evidence({ one }) {
  const at = [0, ...one.way.map(([n]) => n)];
  const line = (name, hue, value) => ({ name, hue, values: at.map(() => value), dash: [6, 3] });
  const series = [
    { name: "evidence", hue: "accent", values: [0, ...one.way.map(([, v]) => v)], thick: true },
    line("often", "bad", one.bound),
    line("rarely", "good", -one.bound),
  ];
  return html`<${Lines} times=${at} series=${series} plain head=${(n) => `after ${count(n)}`} range=${[0, Math.max(60, at[at.length - 1])]} floor=${-one.bound - 1} ceiling=${one.bound + 1}
    format=${(v) => v.toFixed(1)} height=${170} label=${`Evidence after ${one.compared} comparisons: ${one.log_odds.toFixed(1)} between ${(-one.bound).toFixed(1)} and ${one.bound.toFixed(1)}`} />`;
}

function Wins({ one }) {
  const equal = one.equal_length;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`How often ${one.baseline} wins`}><table class="compact"><thead><tr><th scope="col"><${Arm} name=${one.baseline} mark /></th><th scope="col" class="right">Wins</th><th scope="col">From 0 to 1</th></tr></thead><tbody>
    <tr><th scope="row">as it is</th><td class="num right">${percent(one.win_rate, 0)}</td><td class="graph"><${Interval} mean=${one.win_rate} hue=${hueOf(one.baseline)} mark=${0.5} /></td></tr>
    ${equal
      ? html`<tr><th scope="row">at equal length</th><td class="num right">${percent(equal.win_rate, 0)}</td><td class="graph"><${Interval} mean=${equal.win_rate} pair=${equal.interval} hue=${hueOf(one.baseline)} mark=${0.5} /></td></tr>`
      : null}</tbody></table></div>
    <p class="keys">${equal ? `its answers are ${equal.typical_ratio.toFixed(1)} times as long, in ${count(equal.pairs)} pairs` : "at equal length: not known before 20 pairs of known lengths"}</p>`;
}
