// The reader's questions, each answered where it arises: one click, one sentence, and the way on.
import { html, useEffect, useRef, useState } from "./vendor/preact.js";

/** items : [{ask, answer, act}]; `answer` is a sentence, `act` an optional [text, function] that does what it says. */
export function Questions({ items }) {
  const [open, setOpen] = useState(null);
  const found = items.find((one) => one.ask === open);
  return html`<section class="asks" aria-label="Questions">
    <div class="row wrap">${items.map(
      (one) => html`<button type="button" class="ask" key=${one.ask} aria-expanded=${String(one.ask === open)} onClick=${() => setOpen(one.ask === open ? null : one.ask)}>${one.ask}</button>`,
    )}</div>
    <div role="status">${found && html`<p class="answer">${found.answer}${found.act && html` <button type="button" onClick=${found.act[1]}>${found.act[0]}</button>`}</p>`}</div>
  </section>`;
}

/** Asks before something is done. `onYes` may throw: then what it says is shown, and the dialog stays. */
export function Confirm({ title, children, yes, danger, onYes, onClose }) {
  const box = useRef(null);
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState(null);
  useEffect(() => {
    const dialog = box.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  const go = async (e) => {
    e.preventDefault();
    setBusy(true);
    try {
      await onYes();
      onClose();
    } catch (error) {
      setFailed(error.message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${box} aria-labelledby="confirm-title" onCancel=${onClose}><form onSubmit=${go}>
    <h2 id="confirm-title">${title}</h2>${children}
    ${failed && html`<p class="outcome bad" role="alert">${failed}</p>`}
    <div class="row wrap"><button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>${yes}</button>
      <button type="button" class="quiet" onClick=${onClose}>Cancel</button></div></form></dialog>`;
}
