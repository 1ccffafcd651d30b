// What happens, while it happens.
import { clock, firstLine, whole } from "../format.js";
import { html, useMemo, useState } from "../html.js";
import { useLive } from "../live.js";
import { link } from "../route.js";
import { Empty } from "../parts/bits.js";

const SHOWN = 120;
const TONES = { lost: "bad", dead: "bad", failed: "bad", stale: "warn", refused: "warn", retried: "warn", expired: "warn", cancelled: "warn", alert: "warn", dropped: "warn", done: "good" };
const KINDS = ["accepted", "refused", "assigned", "done", "failed", "retried", "lost", "stale", "expired", "dead", "cancelled", "revived", "worker", "queue", "alert", "dropped"];

export function Events() {
  const { events } = useLive();
  const [held, setHeld] = useState(null); // the events at which the tail was stopped
  const [kind, setKind] = useState("");
  const [text, setText] = useState("");
  const all = held ?? events;
  const shown = useMemo(() => {
    const wanted = text.toLowerCase();
    return all.filter((event) => (!kind || event.kind === kind) && (!wanted || [event.queue, event.id, event.worker, event.text].some((part) => part?.toLowerCase().includes(wanted)))).slice(-SHOWN).reverse();
  }, [all, kind, text]);
  const missed = held ? Math.max(0, (events.at(-1)?.number ?? 0) - (held.at(-1)?.number ?? 0)) : 0;
  return html`<div class="head"><h1>Events</h1>
      <div class="end row">
        <label><span class="unseen">Kind</span><select value=${kind} onChange=${(event) => setKind(event.target.value)}><option value="">all kinds</option>${KINDS.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
        <label><span class="unseen">Text</span><input type="search" placeholder="queue, task, worker, text" value=${text} onInput=${(event) => setText(event.target.value)} /></label>
        <button type="button" aria-pressed=${held ? "true" : "false"} onClick=${() => setHeld(held ? null : events)}>${held ? `Go on${missed ? ` (${whole(missed)} new)` : ""}` : "Pause"}</button>
      </div>
      <p>Newest first. They are told as they happen and are not stored; what came while nobody looked is in the tasks' own traces.</p>
    </div>
    <section class="card flush" aria-label="Events">
      ${shown.length ? html`<ol class="tail">${shown.map((event) => html`<${Line} key=${event.number} event=${event} />`)}</ol>` : html`<${Empty}>${all.length ? "None of them is like that." : "Nothing has happened since this page was opened."}</${Empty}>`}
    </section>`;
}

function Line({ event }) {
  const { time, kind, queue, id, lo, hi, worker, text } = event;
  const tasks = (hi ?? 0) - (lo ?? 0);
  const named = id && tasks > 1 ? `${id}#${lo}` : id;
  return html`<li>
    <span class="soft">${clock(time, 3)}</span><span class=${TONES[kind] ?? ""}>${kind}</span>
    <span class="any">${queue && html`<a href=${link("queues", queue)}>${queue}</a> `}${id && html`<a href=${link("tasks", lo ? `${id}#${lo}` : named)}>${id}</a>${tasks > 1 ? ` ×${tasks}` : ""} `}${worker && html`<a href=${link("workers", worker)}>${worker}</a> `}${firstLine(text)}</span>
  </li>`;
}
