// What can be done to a release that is open. Each asks first, and takes a reason for the history.
import { html, useState } from "../vendor/preact.js";
import { call, refreshAll } from "../api.js";
import { Confirm } from "../ask.js";
import { percent } from "../format.js";

const REASON_MAX = 500;

function words(verb, release) {
  const name = release.candidate;
  const next = release.steps[release.step];
  if (verb === "promote" && next === undefined) return [`Make ${name} the incumbent?`, `${name} becomes what the policy is: its settings and arms are kept. It can be taken back with banditd release rollback.`, "Make it the incumbent"];
  if (verb === "promote") return [`Give ${name} ${percent(next, 0)} of the traffic?`, `It has ${percent(release.share, 0)} now.`, "Take the next step"];
  if (verb === "pause") return [`Pause the release of ${name}?`, `It keeps ${percent(release.share, 0)} of the traffic and takes no step. Its tests go on, and may take it back.`, "Pause"];
  if (verb === "resume") return [`Go on with the release of ${name}?`, "Steps are taken again.", "Go on"];
  return [`Abort the release of ${name}?`, "From the next query on everything is the incumbent's, on every replica within a second. It does not go on: start another one.", "Abort"];
}

export function ReleaseVerbs({ release }) {
  const [verb, setVerb] = useState(null);
  const other = release.phase === "paused" ? ["resume", "Go on"] : ["pause", "Pause"];
  return html`<div class="row wrap" role="group" aria-label="What to do with it">
    <button type="button" class=${release.due ? "primary" : ""} onClick=${() => setVerb("promote")}>${release.step === release.steps.length ? "Make it the incumbent" : "Next step"}</button>
    <button type="button" onClick=${() => setVerb(other[0])}>${other[1]}</button>
    <button type="button" onClick=${() => setVerb("abort")}>Abort</button>
    ${verb && html`<${Ask} key=${verb} verb=${verb} release=${release} onClose=${() => setVerb(null)} />`}</div>`;
}

function Ask({ verb, release, onClose }) {
  const [reason, setReason] = useState("");
  const [force, setForce] = useState(false);
  const [title, text, yes] = words(verb, release);
  const early = verb === "promote" && !release.due;
  const go = async () => {
    const body = { ...(reason.trim() ? { reason: reason.trim() } : {}), ...(early && force ? { force: true } : {}) };
    await call("POST", `v1/releases/${release.release_id}/${verb}`, body);
    refreshAll();
  };
  return html`<${Confirm} title=${title} yes=${yes} danger=${verb === "abort"} onYes=${go} onClose=${onClose}>
    <p>${text}</p>
    ${early && html`<label class="tick"><input type="checkbox" checked=${force} onChange=${(e) => setForce(e.target.checked)} /> although this step is not over</label>`}
    <label>Reason, for the history <input value=${reason} maxlength=${REASON_MAX} onInput=${(e) => setReason(e.target.value)} /></label>
  <//>`;
}
