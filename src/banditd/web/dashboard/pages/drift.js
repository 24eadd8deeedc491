// Slow loss of quality: which cause it is, in the daemon's own words.
import { html } from "../vendor/preact.js";
import { usePoll } from "../api.js";
import { Card } from "../ui.js";

const NAMES = { provider: "a provider", own: "our own", level: "level", traffic: "traffic" };

export function DriftCard({ policy }) {
  const poll = usePoll(`v1/policies/${encodeURIComponent(policy)}/drift`, { every: 60_000, keep: true });
  const found = poll.data;
  if (!found) return null;
  const lost = found.causes.filter((name) => name !== "traffic");
  const parts = Object.keys(NAMES).map((name) => found[name]).filter(Boolean);
  return html`<${Card} title="Slow drift" note="Losses that no single day shows: what each watcher has found.">
    <p class=${lost.length ? "" : "calm"}>${found.causes.map((name) => html`<span key=${name} class="badge ${name === "traffic" ? "plain" : "bad"}">${NAMES[name]}</span> `)}${found.words}</p>
    <ul class="events">${parts.filter((part) => part.words !== found.words).map((part, i) => html`<li key=${i} class="muted">${part.words}</li>`)}</ul><//>`;
}
