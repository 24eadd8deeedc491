// Which queries are hard and which models able, on one scale: an item-response model of the rewards, in words.
import { html } from "../vendor/preact.js";
import { hueOf } from "../colours.js";
import { compact, percent } from "../format.js";
import { Arm, Card, Interval, scaleOf } from "../ui.js";
import { name } from "../words.js";

const MANY = 3;

const scores = (row) => `${percent(row.expected_reward, 0)} (${percent(row.expected_interval[0], 0)} to ${percent(row.expected_interval[1], 0)})`;

/** Only what stands out from the mean for certain is called hard or easy. */
export function hardest(data) {
  const known = (data?.clusters || []).filter((row) => row.difficulty !== null);
  if (known.length < 2) return "Not known yet: it takes rewards on two kinds of query.";
  const hard = known.filter((row) => row.interval[0] > 0).slice(0, MANY);
  const easy = known.filter((row) => row.interval[1] < 0).reverse().slice(0, 1);
  const said = [...hard.map((row) => `“${name(row)}” is hard: the average model scores ${scores(row)} there`), ...easy.map((row) => `“${name(row)}” is easy: ${scores(row)}`)];
  return said.length ? `${said.join("; ")}.` : "No kind is clearly harder than the others yet.";
}

export function ablest(data) {
  const [first, second] = (data?.arms || []).filter((row) => row.ability !== null);
  if (!second) return "Not known yet: it takes rewards of two models on the same kind of query.";
  const beyond = data.misfit && data.misfit.p_value < 0.01 ? " But models differ by kind of query more than one number each can say: see the table." : "";
  return `${first.arm}: on the same mix of queries it scores ${scores(first)}, then ${second.arm} with ${scores(second)}.${beyond}`;
}

export function Abilities({ data }) {
  const known = data.clusters.filter((row) => row.difficulty !== null);
  const able = data.arms.filter((row) => row.ability !== null);
  if (!able.length) return null;
  return html`<div class="grid two">
    ${known.length > 0 && html`<${Scale} title="How hard each kind is" note="What the average model scores on it, the hardest first; no model is blamed for the queries it was given." what="Kind of query" rows=${known} value=${(row) => row.difficulty} logits="Difficulty" label=${(row) => name(row)} hue=${() => ""} />`}
    <${Scale} title="How able each model is" note="What it would score on the same mix of all kinds, the ablest first." what="Model" rows=${able} value=${(row) => row.ability} logits="Ability" label=${(row) => html`<${Arm} name=${row.arm} mark />`} hue=${(row) => hueOf(row.arm)} /></div>`;
}

function Scale({ title, note, what, rows, value, logits, label, hue }) {
  const [low, high] = scaleOf(rows.map((row) => row.expected_interval));
  return html`<${Card} title=${title} note=${note}><div class="scroll" tabindex="0" role="region" aria-label=${title}><table class="scores">
    <thead><tr><th scope="col">${what}</th><th scope="col">Score</th><th scope="col" class="right">Mean</th><th scope="col" class="right" title="Logits, with its standard error: a model of the ability of a kind's difficulty scores a half on it">${logits}</th><th scope="col" class="right">Rewards</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.arm ?? row.cluster}><th scope="row">${label(row)}</th>
      <td class="graph"><${Interval} mean=${row.expected_reward} pair=${row.expected_interval} low=${low} high=${high} hue=${hue(row)} /></td>
      <td class="num right">${percent(row.expected_reward, 0)}</td><td class="num right">${value(row).toFixed(2)} ± ${row.standard_error.toFixed(2)}</td><td class="num right">${compact(row.rewards)}</td></tr>`)}</tbody></table></div><//>`;
}
