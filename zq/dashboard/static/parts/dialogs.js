// Questions before something is destroyed, and short notices of what was done.
import { html, useEffect, useRef, useState } from "../html.js";

const open = { ask: () => Promise.resolve(null), tell: () => {} };

/**
 * Asks before something is done; resolves with what `fields` say (an object), or null when it was left.
 *
 * @param question {title, text, verb, isDangerous, fields: [{name, label, value, type, options, placeholder, hint}]}
 */
export const ask = (question) => open.ask(question);

/** Says what was done, or not. */
export const tell = (text, isBad = false) => open.tell(text, isBad);

/** Does something and says what came of it; true when it was done. */
export async function attempt(deed, said) {
  try {
    const answer = await deed();
    tell(typeof said === "function" ? said(answer) : said);
    return true;
  } catch (error) {
    tell(error.message, true);
    return false;
  }
}

/** The one dialog and the notices of the page. */
export function Dialogs() {
  const [question, setQuestion] = useState(null);
  const [notices, setNotices] = useState([]);
  open.ask = (asked) => new Promise((resolve) => setQuestion({ ...asked, resolve }));
  open.tell = (text, isBad) => {
    const notice = { text, isBad };
    setNotices((before) => [...before.slice(-3), notice]);
    setTimeout(() => setNotices((before) => before.filter((one) => one !== notice)), isBad ? 12000 : 6000);
  };
  const answer = (values) => {
    question.resolve(values);
    setQuestion(null);
  };
  return html`
    ${question && html`<${Question} question=${question} answer=${answer} />`}
    <div class="toasts" role="status" aria-live="polite">
      ${notices.map(({ text, isBad }) => html`<div class=${isBad ? "toast bad" : "toast"}>${text}</div>`)}
    </div>`;
}

function Question({ question, answer }) {
  const dialog = useRef(null);
  const { title, text, verb = "OK", isDangerous = false, fields = [], body = null } = question;
  useEffect(() => {
    dialog.current.showModal();
    dialog.current.querySelector(isDangerous && !fields.length ? "button" : "input, textarea, button.main, button")?.focus();
    return () => dialog.current?.close();
  }, []);
  const submit = (event) => {
    event.preventDefault();
    answer(Object.fromEntries(new FormData(event.target)));
  };
  const cancel = (event) => {
    event.preventDefault();
    answer(null);
  };
  return html`<dialog ref=${dialog} aria-labelledby="question" onCancel=${cancel}>
    <form onSubmit=${submit}>
      <h2 id="question">${title}</h2>
      ${text && html`<p class="any">${text}</p>`}
      ${body}
      ${fields.map((field) => html`<${Field} ...${field} />`)}
      <div class="row">
        <button type="button" onClick=${cancel}>${question.cancel ?? "Cancel"}</button>
        ${verb && html`<button class=${isDangerous ? "main danger" : "main"}>${verb}</button>`}
      </div>
    </form>
  </dialog>`;
}

function Field({ name, label, value = "", type = "text", options = null, placeholder = "", hint = "", required = false, ...rest }) {
  let control = html`<input name=${name} type=${type} defaultValue=${value} placeholder=${placeholder} required=${required} autocomplete="off" ...${rest} />`;
  if (options) {
    control = html`<select name=${name}>${options.map((one) => html`<option value=${one} selected=${one === value}>${one}</option>`)}</select>`;
  } else if (type === "textarea") {
    control = html`<textarea name=${name} defaultValue=${value} spellcheck=${false}></textarea>`;
  }
  return html`<label>${label}${control}${hint && html`<span>${hint}</span>`}</label>`;
}
