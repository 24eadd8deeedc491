// Talking to the daemon: one way to call it, one way to poll it, and what is known of the connection.
import { useEffect, useRef, useState } from "./vendor/preact.js";

const KEY = "banditd-api-key";
const SKEW_SHOWN_MS = 10_000;

/** What every part of the page may look at. `problem` is null, or {kind, text, code}. */
export const link = {
  key: null,
  lastOkMs: 0,
  problem: null,
  skewMs: 0,
  process: null,
  restartedAtMs: 0,
  paused: false,
  wanted: 0,
};
const listeners = new Set();
let wake = new Set();

try {
  link.key = sessionStorage.getItem(KEY);
} catch {
  // then it is asked for on every load
}

function tell() {
  for (const listener of listeners) listener();
}

/** Re-render when the connection's state changes. */
export function useLink() {
  const [, set] = useState(0);
  useEffect(() => {
    const listener = () => set((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return link;
}

export function setKey(key) {
  link.key = key || null;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // it holds as long as the page does
  }
  link.problem = null;
  tell();
  refreshAll();
}

export function setPaused(paused) {
  link.paused = paused;
  tell();
  if (!paused) refreshAll();
}

export function refreshAll() {
  for (const one of [...wake]) one();
}

/** The daemon's clock, as well as this browser can know it. */
export function nowMs() {
  return Date.now() + (Math.abs(link.skewMs) > 2000 ? link.skewMs : 0);
}

export const skewed = () => Math.abs(link.skewMs) > SKEW_SHOWN_MS;

export class ApiError extends Error {
  constructor(status, body, retryAfterS) {
    super(body.detail || `HTTP ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.errors = body.errors || [];
    this.exclusions = body.exclusions || null;
    this.retryAfterS = retryAfterS;
  }
}

/** One request. Returns the parsed body (null for 204); throws ApiError, or TypeError when nobody answers. */
export async function call(method, path, body, extra = {}) {
  const text = await send(method, path, body, extra);
  return text ? JSON.parse(text) : null;
}

async function send(method, path, body, { signal, headers } = {}) {
  const head = { Accept: "application/json", ...headers };
  if (link.key) head["x-api-key"] = link.key;
  if (body !== undefined) head["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), {
      method,
      headers: head,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name !== "AbortError") report({ kind: "unreachable", text: "The daemon does not answer." });
    throw error;
  }
  note(answer);
  const text = await answer.text();
  if (answer.ok) {
    return text;
  }
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    problem = { detail: text.slice(0, 200) };
  }
  const error = new ApiError(answer.status, problem, Number(answer.headers.get("Retry-After")) || 0);
  classify(error);
  throw error;
}

/** The daemon's clock and process, from the head of any answer. */
function note(answer) {
  const date = Date.parse(answer.headers.get("Date") || "");
  if (!Number.isNaN(date)) link.skewMs = date + 500 - Date.now();
  const id = answer.headers.get("x-request-id") || "";
  const process = id.includes("-") ? id.slice(0, id.indexOf("-")) : null;
  if (process && link.process && process !== link.process && link.problem?.kind === "unreachable") {
    link.restartedAtMs = Date.now();
  }
  if (process) link.process = process;
}

function classify(error) {
  if (error.status === 401) {
    report({ kind: link.key ? "key-unknown" : "key", text: error.message, code: error.code });
  } else if (error.status === 403) {
    report({ kind: "scope", text: error.message, code: error.code });
  } else if (error.status === 503) {
    report({ kind: "unavailable", text: error.message, code: error.code });
  } else if (error.status === 429) {
    report({ kind: "limited", text: error.message, code: error.code });
  } else if (error.status >= 500) {
    report({ kind: "failed", text: error.message, code: error.code });
  }
}

function report(problem) {
  if (link.problem?.kind === problem.kind && link.problem?.text === problem.text) return;
  link.problem = problem;
  tell();
}

function well() {
  link.lastOkMs = Date.now();
  // A write that lacked its scope stays on the screen while the reads go well.
  if (link.problem && link.problem.kind !== "scope") link.problem = null;
  tell();
}

export function dismissProblem() {
  link.problem = null;
  tell();
}

/**
 * Ask again and again. `path` is a string, a function that gives one, or null for "not now"; `key` says when it is
 * another question, so that what was answered before is dropped.
 */
export function usePoll(path, { every = 2000, key = typeof path === "string" ? path : "", keep = false } = {}) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const latest = useRef(path);
  latest.current = path;
  const seen = useRef("");
  const off = path === null;
  useEffect(() => {
    if (off) return undefined;
    let timer = 0;
    let stopped = false;
    let running = false;
    const abort = new AbortController();
    seen.current = "";
    setState((old) => ({ data: keep ? old.data : null, error: null, loading: true }));
    const go = async () => {
      if (running || stopped) return;
      running = true;
      clearTimeout(timer);
      let wait = every;
      try {
        const asked = typeof latest.current === "function" ? latest.current() : latest.current;
        if (asked !== null) {
          const text = await send("GET", asked, undefined, { signal: abort.signal });
          if (stopped) return;
          well();
          if (text !== seen.current) {
            seen.current = text;
            setState({ data: JSON.parse(text), error: null, loading: false });
          }
        }
      } catch (error) {
        if (stopped) return;
        seen.current = "";
        setState((old) => ({ data: old.data, error, loading: false }));
        wait = error.status === 404 ? Infinity : Math.max(every, 1000 * (error.retryAfterS || 0));
      } finally {
        running = false;
      }
      if (!stopped && wait !== Infinity) timer = setTimeout(tick, wait);
    };
    const tick = () => {
      if (document.hidden || link.paused) return;
      go();
    };
    const visible = () => {
      if (!document.hidden && !link.paused) go();
    };
    go();
    wake.add(go);
    document.addEventListener("visibilitychange", visible);
    return () => {
      stopped = true;
      abort.abort();
      clearTimeout(timer);
      wake.delete(go);
      document.removeEventListener("visibilitychange", visible);
    };
  }, [off, key, every]);
  return state;
}
