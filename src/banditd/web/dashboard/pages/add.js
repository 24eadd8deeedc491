// A new model: what must be said of it, and nothing more; the rest is patched later.
import { html, useState } from "../vendor/preact.js";
import { call, refreshAll } from "../api.js";
import { Confirm } from "../ask.js";
import { query } from "../format.js";

export function AddModel({ policy, arms, onClose }) {
  const [name, setName] = useState("");
  const [model, setModel] = useState("");
  const [inward, setInward] = useState("");
  const [outward, setOutward] = useState("");
  const [upstream, setUpstream] = useState("");
  const upstreams = [...new Set(arms.map((one) => one.upstream).filter(Boolean))];
  const add = async () => {
    const price = { usd_per_mtok_in: Number(inward), usd_per_mtok_out: Number(outward) };
    await call("POST", `v1/arms?${query({ policy })}`, { arm: name.trim(), price, ...(model.trim() ? { upstream_model: model.trim() } : {}), ...(upstream ? { upstream } : {}) });
    refreshAll();
  };
  const field = (label, value, set, more = {}) => html`<label>${label} <input value=${value} onInput=${(e) => set(e.target.value)} ...${more} /></label>`;
  return html`<${Confirm} title="Add a model" yes="Add it" onYes=${add} onClose=${onClose}>
    <p class="muted">It gets a small share of the traffic until it has shown what it can do.</p>
    <div class="form">
      ${field("Name", name, setName, { required: true, maxLength: 128, autocomplete: "off" })}
      ${field("Its provider's name for it", model, setModel, { placeholder: name || "the same", autocomplete: "off" })}
      ${field("$ per million tokens in", inward, setInward, { type: "number", min: 0, step: "any", required: true })}
      ${field("$ per million tokens out", outward, setOutward, { type: "number", min: 0, step: "any", required: true })}
      ${upstreams.length > 0 && html`<label>Upstream <select value=${upstream} onChange=${(e) => setUpstream(e.target.value)}><option value="">none: only /v1/route gives it</option>${upstreams.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>`}
    </div><//>`;
}
