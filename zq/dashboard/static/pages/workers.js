// Workers: who is alive, what each of them holds, and how to steer them from afar.
import { path, post } from "../api.js";
import { count, duration, many } from "../format.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { live, now, useLive } from "../live.js";
import { link } from "../route.js";
import { mayAct } from "../session.js";
import { Facts, Missing, QueueLink, State, Table, TaskLink } from "../parts/bits.js";
import { ask, attempt } from "../parts/dialogs.js";

const LIVES = 4;

export function Workers() {
  const { workers } = useLive();
  const { data, error, reload } = useFetch("/workers", 5);
  const fresh = new Map(workers.map((row) => [row.name, row]));
  const rows = (data?.rows ?? []).map((row) => fresh.get(row.name) ?? row);
  const known = new Set(rows.map(({ name }) => name));
  const all = [...rows, ...workers.filter(({ name }) => !known.has(name))].sort((a, b) => (a.name < b.name ? -1 : 1));
  const columns = [
    { label: "Worker", isWide: true, cell: (row) => html`<a class="any" href=${link("workers", row.name)}>${row.name}</a><${Trouble} row=${row} />` },
    { label: "State", cell: (row) => html`<${Condition} row=${row} />` },
    { label: "Liveness", cell: (row) => html`<${Lives} row=${row} />` },
    { label: "Queues", cell: ({ queues = [] }) => queues.map((name, i) => html`${i > 0 && ", "}<${QueueLink} name=${name} />`) },
    { label: "Holds", isNumber: true, cell: ({ held, running }) => html`${count(held)}${running !== held && html` <span class="soft">(${count(running)} run)</span>`}` },
    { label: "Now", isWide: true, cell: (row) => html`<${Now} row=${row} />` },
    { label: "Done", isNumber: true, cell: ({ done }) => count(done) },
    { label: "Actions", isHidden: true, isEnd: true, isWide: true, cell: (row) => html`<${Steering} row=${row} done=${reload} isShort />` },
  ];
  return html`<div class="head"><h1>Workers</h1></div>
    <section class="card flush" aria-label="Workers">
      ${!data && !all.length ? html`<${Missing} error=${error} what="the workers" />` : html`<${Table} caption="Workers" columns=${columns} rows=${all} by=${({ name }) => name} empty="No worker is there. Start one with: zq worker MODULE:APP" />`}
    </section>`;
}

const Condition = ({ row }) => html`<${State} of=${row.is_draining ? "draining" : row.state} />`;
const Trouble = ({ row }) => row.trouble && html`<div class="bad small any">${row.trouble}</div>`;

function Now({ row }) {
  const tasks = row.tasks ?? [];
  if (!tasks.length) return html`<span class="soft">${row.held ? many(row.held, "task") : "idle"}</span>`;
  const [first] = tasks;
  return html`<${TaskLink} id=${first.id} /> <span class="soft">${since(first)}${tasks.length > 1 ? `, and ${tasks.length - 1} more` : ""}</span>`;
}

const since = ({ started_time }) => (started_time ? `for ${duration(Math.max(0, Math.floor(now() - started_time)))}` : "not started");

/** Beats that it may still miss before its tasks go to others. */
export function Lives({ row }) {
  const { gone_after = 15, suspect_after = 3 } = live.overview?.status ?? {};
  if (row.state === "absent") return html`<span class="soft">waited for</span>`;
  const left = Math.max(0, gone_after - row.heard_ago);
  const lives = row.heard_ago < Math.min(1.5, suspect_after) ? LIVES : Math.ceil((LIVES * left) / gone_after);
  const tone = row.heard_ago < suspect_after ? "" : left > 0 ? "low" : "out";
  return html`<span class="keep"><span class=${`lives ${tone}`} role="img" aria-label=${`liveness ${lives} of ${LIVES}`}>${[...Array(LIVES).keys()].map((i) => html`<i class=${i < lives ? "on" : ""}></i>`)}</span>
    ${" "}<span class="soft small">${tone ? `silent ${duration(row.heard_ago)}, gone in ${duration(left)}` : `heard ${row.heard_ago < 1.5 ? "just now" : duration(row.heard_ago) + " ago"}`}</span></span>`;
}

export function Worker({ name }) {
  const { workers } = useLive();
  const url = path("workers", name);
  const { data, error, reload } = useFetch(url, 3);
  const row = workers.find((one) => one.name === name) ?? data;
  if (!row) return html`<div class="head"><h1>${name}</h1></div><${Missing} error=${error} what="the worker" />`;
  const columns = [
    { label: "Task", isWide: true, cell: ({ id }) => html`<${TaskLink} id=${id} />` },
    { label: "Queue", cell: ({ queue }) => html`<${QueueLink} name=${queue} />` },
    { label: "Runs", cell: (task) => since(task) },
  ];
  const tasks = row.tasks ?? [];
  return html`<div class="head"><h1>${name}</h1><${Condition} row=${row} />
      <div class="end"><${Steering} row=${row} done=${reload} /></div></div>
    ${error && html`<${Missing} error=${error} what="the worker" />`}
    ${row.trouble && html`<p class="card bad any" role="alert">It cannot work: ${row.trouble}</p>`}
    <div class="grid">
      <section class="card" aria-labelledby="about"><h2 id="about">About it</h2><${Facts} of=${[
        ["liveness", html`<${Lives} row=${row} />`],
        ["host", row.host], ["pid", row.pid],
        ["processes", row.processes], ["concurrency", row.concurrency],
        ["connected", row.connected_for === null || row.connected_for === undefined ? "no" : `for ${duration(Math.floor(row.connected_for))}`],
        ["wants", `${count(row.credit)} more`], ["done", count(row.done)],
        ["queues", (row.queues ?? []).map((queue, i) => html`${i > 0 && ", "}<${QueueLink} name=${queue} />`)],
      ]} /></section>
      <section class="card flush" aria-labelledby="held"><h2 id="held">Holds ${many(row.held ?? 0, "task")}</h2>
        <${Table} caption="Held tasks" columns=${columns} rows=${tasks} by=${({ id }) => id} empty=${row.held ? "Which ones it does not say." : "Nothing at the moment."} />
        ${row.held > tasks.length && tasks.length > 0 && html`<p class="empty"><a href=${link("tasks", null, { worker: name, state: "leased" })}>All ${many(row.held, "task")}</a></p>`}
      </section>
    </div>`;
}

function Steering({ row, done, isShort = false }) {
  if (!mayAct() || row.state === "absent") return null;
  const size = isShort ? "small" : "";
  const act = async (verb, said, body) => {
    await attempt(() => post(`${path("workers", row.name)}/${verb}`, body), said);
    done();
  };
  const stop = async () => {
    const text = row.held ? `It ends ${many(row.held, "task")} first, takes nothing new, and goes.` : "It takes nothing new and goes.";
    if (await ask({ title: `Stop ${row.name}?`, text, verb: "Stop", isDangerous: true })) await act("stop", `${row.name} is told to stop.`);
  };
  const resize = async () => {
    const values = await ask({ title: `Resize ${row.name}`, text: "How many tasks it works on at once.", verb: "Resize", fields: [{ name: "size", label: "Tasks at once", type: "number", min: 1, value: String(row.concurrency ?? row.processes ?? 1), required: true }] });
    if (values) await act("resize", `${row.name} is told to work on ${values.size} at once.`, { size: Number(values.size) });
  };
  return html`<div class="row">
    ${row.is_draining
      ? html`<button class=${size} type="button" aria-label=${`Resume ${row.name}`} onClick=${() => act("resume", `${row.name} is told to go on.`)}>Resume</button>`
      : html`<button class=${size} type="button" aria-label=${`Drain ${row.name}`} onClick=${() => act("drain", `${row.name} is told to take nothing new.`)}>Drain</button>`}
    ${!isShort && html`<button type="button" onClick=${resize}>Resize</button>`}
    <button class=${`danger ${size}`} type="button" aria-label=${`Stop ${row.name}`} onClick=${stop}>Stop</button>
  </div>`;
}

