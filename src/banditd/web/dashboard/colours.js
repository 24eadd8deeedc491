// An arm keeps its colour for ever: it goes by the place that the arm was given when it was first added.
const HUES = 8;
const known = { positions: {}, baseline: null };

/** positions : the place of every arm that the policy ever had, 1 for the first. baseline : an arm's name, or null. */
export function learnArms(positions, baseline) {
  known.positions = positions || {};
  known.baseline = baseline || null;
}

/** 0 for the first arm; null for what is none. `name (2)` is an earlier life of the arm `name`. */
function placeOf(name) {
  const place = known.positions[name] ?? known.positions[String(name).replace(/ \(\d+\)$/, "")];
  return place === undefined ? null : place - 1;
}

/** The class, and the style sheet's variable, of an arm's colour. */
export function hueOf(name) {
  const place = placeOf(name);
  return place === null ? "hue-none" : `hue-${place % HUES}`;
}

/** The same for a dot: from the ninth arm on colours come again, as rings. */
export function dotOf(name) {
  return `${hueOf(name)}${Math.floor((placeOf(name) ?? 0) / HUES) % 2 ? " ring" : ""}`;
}

export const isBaseline = (name) => known.baseline !== null && name === known.baseline;

/** Names in the order of their places; the baseline first, so that it is the floor of a stack. */
export function inOrder(names) {
  const rank = (name) => (isBaseline(name) ? -1 : placeOf(name) ?? Infinity);
  return [...names].sort((a, b) => rank(a) - rank(b));
}
