// What the daemon's terms are in the reader's words. Sentences that need figures of the page; those of the daemon's own
// (savings, promise) are shown as they come.
import { html } from "./vendor/preact.js";
import { percent, reward as number, usd } from "./format.js";

export const REASONS = {
  disabled: "it is disabled",
  not_a_candidate: "the request named other candidates",
  excluded_by_request: "the request excluded it",
  capability_missing: "it lacks a capability that was asked for",
  max_cost_usd: "its predicted cost is above the request's limit",
  max_latency_ms: "its expected latency is above the request's limit",
  context_window: "the query is longer than its context window",
  quality_floor: "its predicted reward is below the request's floor",
  breaker_open: "its breaker is open after upstream errors",
  breaker_probe: "a probe after upstream errors is under way",
  cooling_down: "its upstream asked to be left alone for a while",
  max_share: "it has reached its traffic cap",
  budget: "the budget does not allow it now",
  no_upstream: "no upstream is configured for it",
  dearer_than_baseline: "it costs more than the baseline",
};

const NOT_DRAWN = {
  session: ["same conversation", "a conversation keeps its model"],
  pinned: ["asked for", "the request named its model"],
  shadow: ["baseline (shadow)", "the policy only watches, and the baseline answers"],
};

export const undrawn = (reason) => NOT_DRAWN[reason]?.[1] || null;

/** What kind of a choice it was, in two words: [words, whether they deserve a badge]. */
export function kindOf(d) {
  if (NOT_DRAWN[d.reason]) return [NOT_DRAWN[d.reason][0], true];
  if (sideOf(d) === "baseline") return ["not rolled out", true];
  if (d.explored) return ["tried to learn", true];
  return forSafety(d) ? ["baseline, to be safe", true] : ["best guess", false];
}

/** Whether the baseline answered for the promise's sake: another model promised more, but not surely enough. */
function forSafety(d) {
  if (!d.baseline || d.arm !== d.baseline) return false;
  const s = standing(d.arms || []);
  return Boolean(s) && s.best.arm !== d.arm;
}

export const Kind = ({ d }) => {
  const [words, marked] = kindOf(d);
  return marked ? html`<span class="badge">${words}</span>` : html`<span class="muted num">${words}</span>`;
};

const sideOf = (d) => d.promise?.side || null;

/** The best two of an arm's rows by what they promise, and how they compare. */
function standing(rows) {
  const scored = rows.filter((row) => row.mean !== null && row.mean !== undefined);
  const utility = (row) => row.mean - row.penalty;
  const [best, second] = [...scored].sort((a, b) => utility(b) - utility(a));
  if (!best) return null;
  const most = [...scored].sort((a, b) => b.probability - a.probability)[0];
  const gap = second ? utility(best) - utility(second) : null;
  return { best, second, most, gap, spread: second ? Math.hypot(best.deviation, second.deviation) : 0, value: utility(best) };
}

function lead(s) {
  if (!s.second) return `${s.best.arm} is the only model that may answer`;
  const sure = s.gap > 2 * s.spread ? "more than the uncertainty" : s.gap > s.spread ? "about as much as the uncertainty" : "less than the uncertainty";
  return `${s.best.arm} promises the most: ${number(s.value)}${s.best.penalty > 0 ? " after its cost" : ""}, ${number(s.gap)} more than ${s.second.arm}, which is ${sure}`;
}

/** Why the policy would act so, in a sentence or two. `rows` have arm, mean, deviation, penalty, probability. */
export function because(rows) {
  const s = standing(rows);
  if (!s) return "";
  if (!s.second) return `${lead(s)}.`;
  if (s.most.arm !== s.best.arm) return `${lead(s)}. ${s.most.arm} is asked more often (${percent(s.most.probability)}): its rewards would teach more, or the promise asks for it.`;
  const rest = 1 - s.best.probability;
  return `${lead(s)}. It gets ${percent(s.best.probability)} of such queries; ${rest < 0.02 ? "the rest keeps the others measurable" : `${percent(rest)} goes to the others, to learn from them`}.`;
}

/** Why this query went where it went: a sentence; another one where a fallback answered. */
export function why(d) {
  const served = d.served_arm || d.usage?.served_arm;
  const failed = d.attempts?.find((one) => one.arm === d.arm && one.error);
  const then = served && served !== d.arm ? ` ${served} answered in its place${failed ? `, because the call failed (${failed.error.replaceAll("_", " ")})` : ""}.` : "";
  return `${d.arm} was chosen ${reasonOf(d)}.${then}`;
}

function reasonOf(d) {
  if (d.reason === "session") return "because this conversation was with it already, and a conversation keeps its model";
  if (d.reason === "pinned") return "because the request named it";
  if (d.reason === "shadow") return "because it is the baseline and the policy only watches (mode shadow)";
  if (sideOf(d) === "baseline") return d.promise.rollout > 0 ? `because ${percent(d.promise.rollout, 0)} of the traffic is routed, and all the rest goes to the baseline` : "because no traffic is routed: everything goes to the baseline";
  if (d.degraded) return `by what is known on average: the query itself was not looked at (${d.degraded.replaceAll("_", " ")})`;
  if (d.reason === "quality_floor") return "because it costs least among the models that promise the reward the request asked for";
  const s = standing(d.arms || []);
  if (!s) return "by the policy";
  if (!s.second) return "because no other model could answer";
  const most = `${number(s.value)}${s.best.penalty > 0 ? " after its cost" : ""}`;
  if (d.arm === s.best.arm) return `because it promised the most for queries like this: ${most}, ${number(s.gap)} more than ${s.second.arm}`;
  if (d.baseline === d.arm) return `because it is the baseline: a share of the traffic stays with it, so that the promise is kept and can be proved (${s.best.arm} promised more, ${most})`;
  return `to learn what it earns on such queries, with a chance of ${percent(d.propensity)}; ${s.best.arm} promised more (${most})`;
}

// A tenth of a cent can be pictured beside an answer's cost; a dollar cannot.
const UNIT_USD = 0.001;

/** What a budget does to the choice at this moment. */
export function steering(one) {
  if (one.stopped) return ["bad", `Used up: ${one.at_stop === "reject" ? "requests are refused until the window ends" : one.at_stop === "cheapest" ? "everything goes to the cheapest model" : `everything goes to ${one.at_stop}`}.`];
  if (one.price_per_usd === null || one.price_per_usd === undefined) return ["", "Nothing was charged to it yet."];
  if (one.price_per_usd > 0) return ["warn", `It steers now: a model that costs ${usd(UNIT_USD)} more must promise ${number(one.price_per_usd * UNIT_USD)} more reward to be chosen.`];
  return ["good", "It does not steer: spending is below its pace, so it changes no choice."];
}

/** What a kind of queries is called: by its user, else by its words. */
export const name = (cluster) => cluster.name || (cluster.words?.length ? cluster.words.slice(0, 3).join(", ") : `kind ${cluster.cluster}`);
