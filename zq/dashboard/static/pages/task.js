// One task: its life as a timeline, its attempts, what it carries, and why it does not run.
import { path, post } from "../api.js";
import { duration, moment } from "../format.js";
import { useFetch } from "../fetching.js";
import { html, useEffect, useState } from "../html.js";
import { now, onEvents, useLive } from "../live.js";
import { link } from "../route.js";
import { mayAct } from "../session.js";
import { Ago, Badge, Facts, Missing, QueueLink, State } from "../parts/bits.js";
import { ask, attempt } from "../parts/dialogs.js";
import { TaskGraph } from "../parts/task_graph.js";
import { FINAL, inOrder, leases, Timeline } from "../parts/timeline.js";

export function Task({ id }) {
  useLive();
  const url = path("tasks", id);
  const [isOver, setOver] = useState(false);
  const every = isOver ? 15 : 2;
  const { data, error, reload } = useFetch(url, every);
  const trace = useFetch(`${url}/trace`, every);
  const why = useFetch(isOver ? null : `${url}/why`, every);
  useEffect(() => setOver(FINAL.has(data?.state)), [data?.state]);
  useEffect(() => onEvents((events) => events.some((event) => isAbout(event, id)) && (reload(), trace.reload(), why.reload?.())), [id]);
  if (!data) return html`<div class="head"><h1 class="mono">${id}</h1></div><${Missing} error=${error} what="the task" />`;
  const events = inOrder(trace.data?.rows ?? []);
  return html`
    <div class="head"><h1 class="mono">${id}</h1><${State} of=${data.state} />
      ${leases(events).some(({ how }) => how === "lost") && html`<${Badge} tone="bad">lost a worker</${Badge}>`}
      <div class="end"><${Actions} id=${id} state=${data.state} done=${() => (reload(), trace.reload())} /></div>
    </div>
    ${!isOver && why.data && html`<p class="card" role="status"><span class="soft">Why it ${data.state === "leased" ? "is where it is" : "does not run"}:</span> <b class="any">${why.data.text}</b></p>`}
    ${data.state === "unknown" ? html`<p class="card">No such task is known: it ended long ago, or never was.</p>` : html`
      <section class="card" aria-labelledby="life"><h2 id="life">Its life</h2>
        ${trace.data ? html`<${Timeline} events=${events} until=${isOver ? (data.finished_time ?? events.at(-1)?.time ?? now()) : now()} />` : html`<${Missing} error=${trace.error} what="the trace" />`}
      </section>
      <div class="grid"><${About} task=${data} /><${Payload} id=${id} state=${data.state} /></div>
      <${Attempts} events=${events} task=${data} />
      <${TaskGraph} id=${id} isOver=${isOver} />`}`;
}

/** An event is about the tasks lo to hi-1 of a batch, which are named BATCH#INDEX. */
function isAbout({ id, lo, hi }, task) {
  if (!id) return false;
  if (id === task) return true;
  const [batch, index] = [task.slice(0, task.lastIndexOf("#")), Number(task.slice(task.lastIndexOf("#") + 1))];
  return task.includes("#") && id === batch && index >= lo && index < hi;
}

const About = ({ task }) => html`<section class="card" aria-labelledby="about"><h2 id="about">About it</h2>
  <${Facts} of=${[
    ["queue", html`<${QueueLink} name=${task.queue} />`],
    ["priority", task.priority],
    ["key", task.key],
    ["attempts", task.attempts === null ? null : attempts(task)],
    ["worker", task.worker && html`<a class="any" href=${link("workers", task.worker)}>${task.worker}</a>`],
    ["progress", typeof task.progress === "number" ? `${Math.round(task.progress * 100)} %` : null],
    ["place", task.position],
    ["when lost", task.on_lost],
    ["accepted", task.accepted_time && html`${moment(task.accepted_time)} <span class="soft">(<${Ago} time=${task.accepted_time} />)</span>`],
    ["due", task.due_time && html`${moment(task.due_time)} <span class="soft">(<${Ago} time=${task.due_time} />)</span>`],
    ["ended", task.finished_time && html`${moment(task.finished_time)} <span class="soft">(<${Ago} time=${task.finished_time} />)</span>`],
    ["headers", task.headers && Object.keys(task.headers).length ? html`<code>${JSON.stringify(task.headers)}</code>` : null],
  ]} />
</section>`;

/** How many attempts ended without success, and how. */
function attempts({ attempts: ended, failures }) {
  if (!ended) return "none has failed";
  const failed = failures ?? 0;
  return [failed && `${failed} failed`, ended > failed && `${ended - failed} lost with workers`].filter(Boolean).join(", ");
}

/** It is kept until a task has ended, or with the dead: of others it is not even asked for. */
function Payload({ id, state }) {
  const isKept = state === "dead" || !FINAL.has(state);
  const { data, error } = useFetch(isKept ? `${path("tasks", id)}/payload` : null);
  const value = data && "payload" in data ? data.payload : data;
  return html`<section class="card" aria-labelledby="payload"><h2 id="payload">Payload ${data?.is_redacted && html`<${Badge}>redacted</${Badge}>`}</h2>
    ${!isKept ? html`<p class="soft">It is kept until a task has ended, or with the dead.</p>` : error ? html`<p class="soft any">${error.message}</p>`
      : data === null ? html`<p class="soft">Loading.</p>` : html`<pre class="error-text" tabindex="0" aria-label="Payload">${text(value)}</pre>`}
  </section>`;
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/** The errors in full: tracebacks are text, with their lines. */
function Attempts({ events, task }) {
  const failed = leases(events).map((lease, i) => ({ ...lease, number: i + 1 })).filter(({ error }) => error);
  const reason = task.reason && !failed.some(({ error }) => error === task.reason) ? task.reason : null;
  if (!failed.length && !reason) return null;
  return html`<section class="card" aria-labelledby="attempts"><h2 id="attempts">Errors</h2>
    <ol class="attempts">${failed.map(({ number, worker, how, error, start, end }) => html`<li>
      <p class="row"><b>Lease ${number}</b><${State} of=${how ?? "running"} /><span class="soft any">${worker}, after ${duration((end ?? now()) - start)}</span></p>
      <pre class="error-text" tabindex="0" aria-label=${`Error of lease ${number}`}>${error}</pre>
    </li>`)}</ol>
    ${reason && html`<pre class="error-text" tabindex="0" aria-label="Reason">${reason}</pre>`}
  </section>`;
}

function Actions({ id, state, done }) {
  if (!mayAct()) return null;
  const cancel = async () => {
    if (await ask({ title: "Cancel this task?", text: state === "leased" ? "Its handler is told to stop." : "It ends as cancelled.", verb: "Cancel the task", cancel: "Leave it", isDangerous: true })) {
      await attempt(() => post("/tasks/cancel", { ids: [id] }), ({ count }) => (count ? "Cancelled." : "It had ended already."));
      done();
    }
  };
  const retry = async () => {
    await attempt(() => post("/tasks/retry", { ids: [id] }), ({ count }) => (count ? "It waits again." : "There was nothing to retry."));
    done();
  };
  return html`<div class="row">
    ${state === "dead" && html`<button class="main" type="button" onClick=${retry}>Retry</button>`}
    ${!FINAL.has(state) && html`<button class="danger" type="button" onClick=${cancel}>Cancel</button>`}
  </div>`;
}
