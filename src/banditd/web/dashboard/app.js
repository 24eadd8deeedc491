// The shell: navigation, policy, theme, connection banners, the key. The pages are in pages/.
import { html, render, useEffect, useRef, useState } from "./vendor/preact.js";
import { dismissProblem, link, nowMs, refreshAll, setKey, setPaused, skewed, useLink, usePoll } from "./api.js";
import { currentTheme } from "./charts.js";
import { learnArms } from "./colours.js";
import { ago, clock, query, seconds } from "./format.js";
import { Command } from "./ui.js";
import { Overview } from "./pages/overview.js";
import { Models } from "./pages/models.js";
import { Tasks } from "./pages/tasks.js";
import { Decisions } from "./pages/decisions.js";
import { Playground } from "./pages/playground.js";

/** A page that is seldom opened: it is loaded when it is. */
function seldom(load) {
  let loaded = null;
  return function Seldom(props) {
    const [Page, set] = useState(() => loaded);
    useEffect(() => {
      const begin = () => load().then((found) => set(() => (loaded = found))).catch(() => setTimeout(begin, 2000));
      if (!Page) begin();
    }, []);
    return Page && html`<${Page} ...${props} />`;
  };
}

const PAGES = [
  ["overview", "Overview", Overview],
  ["models", "Models", Models],
  ["tasks", "Good at what", Tasks],
  ["decisions", "Decisions", Decisions],
  ["playground", "Try it", Playground],
  ["judges", "Judges", seldom(() => import("./pages/judges.js").then((found) => found.Judges))],
  ["releases", "Releases", seldom(() => import("./pages/releases.js").then((found) => found.Releases))],
  ["internals", "Internals", seldom(() => import("./pages/internals.js").then((found) => found.Internals))],
];
// What pages were called before: bookmarks go on.
const FORMER = { arms: "models", contexts: "tasks", learning: "internals" };

/** `#/page?name=value` as {page, values}; what is not known is the overview. */
function where() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const wanted = FORMER[path] || path;
  const page = PAGES.some(([name]) => name === wanted) ? wanted : "overview";
  return { page, values: Object.fromEntries(new URLSearchParams(search)) };
}

/** The address of a page; the policy stays. */
function addressOf(page, values) {
  const text = query(values);
  return `#/${page}${text ? `?${text}` : ""}`;
}

function useWhere() {
  const [at, set] = useState(where());
  useEffect(() => {
    const change = () => set(where());
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return at;
}

function App() {
  const at = useWhere();
  const state = useLink();
  const [asking, setAsking] = useState(false);
  const policies = usePoll("v1/policies", { every: 10_000 });
  const served = (policies.data?.policies || []).filter((one) => one.served);
  const fallback = served.some((one) => one.policy === "default") ? "default" : served[0]?.policy;
  const policy = at.values.policy || fallback || "default";
  const arms = usePoll(policies.data ? `v1/arms?${query({ policy })}` : null, { every: 5000 });
  const promise = usePoll(policies.data ? `v1/promise?${query({ policy })}` : null, { every: 5000 });
  learnArms(arms.data?.positions, promise.data?.baseline);
  const go = (page, values = {}) => {
    location.hash = addressOf(page, { ...(at.values.policy ? { policy: at.values.policy } : {}), ...values });
  };
  const found = PAGES.find(([name]) => name === at.page);
  const [, title, Page] = found;
  const heading = useRef(null);
  useEffect(() => {
    document.title = `${title} · banditd`;
  }, [title]);
  const needsKey = state.problem?.kind === "key" || state.problem?.kind === "key-unknown";
  useEffect(() => {
    if (needsKey) setAsking(true);
  }, [needsKey]);
  const here = served.find((one) => one.policy === policy);
  return html`
    <a class="skip" href="#main" onClick=${(e) => {
      e.preventDefault();
      heading.current?.focus();
    }}>Skip to the page</a>
    <header class="top">
      <a class="brand" href=${addressOf("overview", at.values.policy ? { policy: at.values.policy } : {})}><img src="dashboard/icon.svg" alt="" width="20" height="20" />banditd</a>
      <nav aria-label="Pages">
        ${PAGES.map(
          ([name, text]) => html`<a key=${name} href=${addressOf(name, at.values.policy ? { policy: at.values.policy } : {})}
            aria-current=${name === at.page ? "page" : undefined}>${text}</a>`,
        )}
      </nav>
      <div class="tools">
        ${served.length > 1 &&
        html`<label class="pick">policy <select value=${policy} onChange=${(e) => go(at.page, { policy: e.target.value })}>
          ${served.map((one) => html`<option key=${one.policy} value=${one.policy}>${one.policy}</option>`)}</select></label>`}
        <${Live} />
        <${Theme} />
        <button type="button" class="quiet" onClick=${() => setAsking(true)} title="API key">${state.key ? "Key set" : "Key"}</button>
      </div>
    </header>
    <${Banners} onKey=${() => setAsking(true)} />
    <main id="main">
      <div class="heading">
        <h1 tabindex="-1" ref=${heading}>${title}</h1>
        ${here && html`<p class="muted">policy <b>${policy}</b>, ${here.enabled_arms} of ${here.arms} models enabled</p>`}
      </div>
      ${policies.data && arms.data
        ? html`<${Page} key=${`${at.page}/${policy}`} policy=${policy} arms=${arms.data.arms} promise=${promise.data} info=${here} values=${at.values} go=${go} />`
        : html`<p class="muted">${needsKey ? "Waiting for an API key." : arms.error?.message || policies.error?.message || "Loading …"}</p>`}
    </main>
    <footer>
      <span>Every figure comes from the documented <a href="docs">HTTP interface</a>.</span>
      <a href="openapi.json">OpenAPI</a> <a href="health/readiness">Readiness</a> <a href="metrics">Metrics</a>
    </footer>
    ${asking && html`<${KeyDialog} unknown=${state.problem?.kind === "key-unknown"} onClose=${() => setAsking(false)} />`}`;
}

function Live() {
  const state = useLink();
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const since = state.lastOkMs ? (Date.now() - state.lastOkMs) / 1000 : null;
  const bad = state.problem && !["scope", "limited"].includes(state.problem.kind);
  const tone = state.paused ? "paused" : bad ? "bad" : since !== null && since < 12 ? "good" : "waiting";
  const said = state.paused ? "paused" : bad ? (state.problem.kind.startsWith("key") ? "no key" : "trouble") : since === null ? "connecting" : since < 6.5 ? "live" : `updated ${seconds(since)} ago`;
  return html`<span class="live ${tone}" title="When the figures were last fetched"><i aria-hidden="true"></i><span class="said">${said}</span></span>
    <button type="button" class="quiet" aria-pressed=${String(state.paused)} onClick=${() => setPaused(!state.paused)}>${state.paused ? "Resume" : "Pause"}</button>`;
}

function Theme() {
  const [theme, set] = useState(currentTheme());
  const turn = () => {
    const next = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("banditd-theme", next);
    } catch {
      // it holds until the next load
    }
    dispatchEvent(new Event("banditd-theme"));
    set(next);
  };
  return html`<button type="button" class="quiet" onClick=${turn}>${theme === "dark" ? "Light" : "Dark"}</button>`;
}

function Banners({ onKey }) {
  const state = useLink();
  const ready = usePoll("health/liveness", { every: 15_000 });
  const [, tick] = useState(0);
  useEffect(() => {
    if (!state.problem) return undefined;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [Boolean(state.problem)]);
  const { problem } = state;
  const last = state.lastOkMs ? ` The figures below are those of ${clock(new Date(state.lastOkMs).toISOString())}.` : "";
  const retry = html` <button type="button" class="quiet" onClick=${refreshAll}>Try now</button>`;
  const newer = state.version && ready.data && ready.data.version !== state.version;
  if (ready.data && !state.version) state.version = ready.data.version;
  return html`<div class="banners">
    ${problem?.kind === "unreachable" &&
    html`<div class="banner bad" role="alert" id="banner-unreachable"><b>The daemon does not answer.</b> It may be restarting; the page asks again every few seconds.${last}${retry}</div>`}
    ${problem?.kind === "unavailable" &&
    html`<div class="banner bad" role="alert" id="banner-unavailable"><b>${problem.code === "STORAGE_UNAVAILABLE" ? "The database does not answer." : "A part of the daemon does not answer."}</b>
      ${problem.text}${last} <span class="muted">${problem.code}</span>${retry}</div>`}
    ${problem?.kind === "failed" &&
    html`<div class="banner bad" role="alert"><b>The daemon has failed.</b> ${problem.text} ${retry}</div>`}
    ${problem?.kind === "limited" &&
    html`<div class="banner" role="alert"><b>Too many requests.</b> ${problem.text}; the page slows down.</div>`}
    ${problem?.kind === "scope" &&
    html`<div class="banner" role="alert" id="banner-scope"><b>This key may not do that.</b> ${problem.text}.
      <button type="button" onClick=${onKey}>Use another key</button> <button type="button" class="quiet" onClick=${dismissProblem}>Dismiss</button></div>`}
    ${(problem?.kind === "key" || problem?.kind === "key-unknown") &&
    html`<div class="banner" role="alert" id="banner-key"><b>${problem.kind === "key" ? "This daemon asks for an API key." : "The daemon does not know this key."}</b> <button type="button" onClick=${onKey}>Enter a key</button></div>`}
    ${skewed() &&
    html`<div class="banner" id="banner-skew"><b>The clocks differ.</b> This browser's is ${seconds(Math.abs(link.skewMs) / 1000)} ${link.skewMs > 0 ? "behind" : "ahead of"} the daemon's; ages and time ranges here follow the daemon's.</div>`}
    ${!problem && state.restartedAtMs > 0 && Date.now() - state.restartedAtMs < 60_000 &&
    html`<div class="banner good" role="status">The daemon was restarted and is back.${newer ? ` It is now version ${ready.data.version}: ` : ""}
      ${newer && html`<button type="button" onClick=${() => location.reload()}>Reload the page</button>`}</div>`}
  </div>`;
}

function KeyDialog({ unknown, onClose }) {
  const box = useRef(null);
  const [text, set] = useState("");
  useEffect(() => {
    const dialog = box.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  const save = (e) => {
    e.preventDefault();
    setKey(text.trim());
    onClose();
  };
  return html`<dialog ref=${box} aria-labelledby="key-title" onCancel=${onClose}>
    <form onSubmit=${save}>
      <h2 id="key-title">API key</h2>
      <p>${unknown ? "The daemon does not know the key that was given. " : ""}Reading needs the scope <code>read</code>; thumbs need <code>reward</code>, trying queries <code>route</code>, changing models, promise, rollout and releases <code>admin</code>.</p>
      <label>Key <input type="password" autocomplete="off" value=${text} onInput=${(e) => set(e.target.value)} /></label>
      <p class="muted">Kept in this tab until it is closed. Make one with:</p>
      <${Command} text="banditd keys create" />
      <div class="row"><button type="submit" class="primary" disabled=${!text.trim()}>Use this key</button>
        ${link.key && html`<button type="button" onClick=${() => { setKey(null); onClose(); }}>Forget the key</button>`}
        <button type="button" class="quiet" onClick=${onClose}>Close</button></div>
    </form></dialog>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
