// Looking for tasks, as `zq tasks ls` does, and what can be done with those that are found.
import { get, post, postAll, search } from "../api.js";
import { count, duration, many, seconds, summary } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { live, now } from "../live.js";
import { go } from "../route.js";
import { mayAct } from "../session.js";
import { Ago, Missing, QueueLink, State, Table, TaskLink } from "../parts/bits.js";
import { ask, attempt, tell } from "../parts/dialogs.js";

const STATES = ["unfinished", "waiting", "leased", "scheduled", "dead", "done", "cancelled", "expired", "any"];
const PAGE = 50;
const EMPTY_PAGES = 40; // pages without a row that are passed over before the one who looks is asked

export function Tasks({ query }) {
  return html`<div class="head"><h1>Tasks</h1></div>
    <${Filters} key=${JSON.stringify(query)} query=${query} />
    <${Found} key=${search(query)} query=${query} />`;
}

/** What the address says; the same names as the API's. */
function Filters({ query }) {
  const submit = (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()]));
    if (values.older && Number.isNaN(seconds(values.older))) tell(`Expected an age such as 90, 5 min or 2 h, got ${values.older}.`, true);
    else go("tasks", null, values);
  };
  const text = (name, label, placeholder) => html`<label>${label}<input name=${name} defaultValue=${query[name] ?? ""} placeholder=${placeholder} autocomplete="off" spellcheck=${false} list=${name === "queue" ? "queue-names" : null} /></label>`;
  return html`<form class="card filters" role="search" aria-label="Find tasks" onSubmit=${submit}>
    <label>State<select name="state">${STATES.map((state) => html`<option value=${state} selected=${state === (query.state || "unfinished")}>${state}</option>`)}</select></label>
    ${text("queue", "Queue", "any")}${text("key", "Key", "any")}${text("worker", "Worker", "any")}
    ${text("reason", "Text in the reason", "any")}${text("header", "Header", "name:value")}${text("older", "Older than", "5 min")}
    <div class="row"><button class="main">Find</button><button type="button" onClick=${() => go("tasks")}>Clear</button></div>
    <datalist id="queue-names">${[...live.queues.keys()].slice(0, 200).map((name) => html`<option value=${name}></option>`)}</datalist>
  </form>`;
}

/** The filters as the API takes them. */
function asked(query) {
  const { older, state, ...rest } = query;
  return { ...rest, state: state || "unfinished", ...(older ? { older: seconds(older) } : {}) };
}

function Found({ query }) {
  const [cursors, setCursors] = useState([null]); // of the pages up to this one
  const [page, setPage] = useState(null);
  const [error, setError] = useState(null);
  const [chosen, setChosen] = useState(new Set());
  const [turn, setTurn] = useState(0);
  const cursor = cursors.at(-1);
  useEffect(() => {
    const aborter = new AbortController();
    load(asked(query), cursor, aborter.signal).then(
      (found) => {
        setPage(found);
        setError(null);
      },
      (failure) => failure.name !== "AbortError" && setError(failure),
    );
    return () => aborter.abort();
  }, [cursor, turn]);
  if (!page) return html`<section class="card flush"><${Missing} error=${error} what="the tasks" /></section>`;
  const reload = () => {
    setChosen(new Set());
    setTurn((n) => n + 1);
  };
  const turnTo = (next) => {
    setChosen(new Set());
    setCursors(next);
  };
  return html`<section class="card flush" aria-label="Tasks found">
    <${Bulk} query=${query} rows=${page.rows} chosen=${chosen} done=${reload} reload=${reload} />
    <${TaskTable} rows=${page.rows} chosen=${mayAct() ? chosen : null} choose=${setChosen} empty=${page.cursor ? "None in this part; there is more to look through." : "No task is like that."} />
    <nav class="empty row" aria-label="Pages">
      <button type="button" disabled=${cursors.length < 2} onClick=${() => turnTo(cursors.slice(0, -1))}>Back</button>
      <span class="soft">Page ${cursors.length}</span>
      <button type="button" disabled=${!page.cursor} onClick=${() => turnTo([...cursors, page.cursor])}>Next</button>
    </nav>
  </section>`;
}

/** A page of rows: the coordinator answers with none when it has looked through enough for one answer. */
async function load(filters, cursor, signal) {
  let page = { rows: [], cursor };
  for (let i = 0; i < EMPTY_PAGES && !page.rows.length; i += 1) {
    page = await get("/tasks" + search({ ...filters, cursor: page.cursor, limit: PAGE }), signal);
    if (!page.cursor) break;
  }
  return page;
}

export function TaskTable({ rows, chosen = null, choose = null, empty = "None.", hasQueue = true }) {
  const toggle = (ids, isOn) => {
    const next = new Set(chosen);
    ids.forEach((id) => (isOn ? next.add(id) : next.delete(id)));
    choose(next);
  };
  const ids = rows.map(({ id }) => id);
  const all = html`<input type="checkbox" aria-label="Choose all of this page" checked=${chosen && ids.length > 0 && ids.every((id) => chosen.has(id))} onChange=${(event) => toggle(ids, event.target.checked)} />`;
  const columns = [
    chosen && { label: "Choose", heading: all, cell: ({ id }) => html`<input type="checkbox" aria-label=${`Choose ${id}`} checked=${chosen.has(id)} onChange=${(event) => toggle([id], event.target.checked)} />` },
    { label: "Task", isWide: true, cell: ({ id }) => html`<${TaskLink} id=${id} />` },
    hasQueue && { label: "Queue", cell: ({ queue }) => html`<${QueueLink} name=${queue} />` },
    { label: "State", cell: ({ state }) => html`<${State} of=${state} />` },
    { label: "Age", keep: true, cell: (row) => html`<${Ago} time=${row.accepted_time} />` },
    { label: "Attempts", isNumber: true, cell: ({ attempts }) => attempts ?? 0 },
    rows.some(({ key }) => key) && { label: "Key", cell: ({ key }) => html`<span class="any">${key ?? "–"}</span>` },
    rows.some(({ worker }) => worker) && { label: "Worker", cell: ({ worker }) => html`<span class="any">${worker ?? "–"}</span>` },
    rows.some(detail) && { label: "More", isWide: true, cell: (row) => detail(row) && html`<span class="any soft">${detail(row)}</span>` },
  ].filter(Boolean);
  return html`<${Table} caption="Tasks" columns=${columns} rows=${rows} by=${({ id }) => id} empty=${empty} />`;
}

function detail({ state, due_time, reason, progress, finished_time }) {
  if (state === "scheduled" && due_time) return `due in ${duration(Math.max(0, Math.ceil(due_time - now())))}${reason ? `; ${summary(reason)}` : ""}`;
  if (reason) return summary(reason);
  if (typeof progress === "number") return `${Math.round(progress * 100)} % done`;
  return finished_time ? `ended ${duration(Math.max(1, Math.floor(now() - finished_time)))} ago` : "";
}

/** What is done with the chosen, or with all that are like the search. */
function Bulk({ query, rows, chosen, done, reload }) {
  if (!mayAct()) return html`<div class="head"><h2>Found</h2><div class="end"><button class="small" type="button" onClick=${reload}>Look again</button></div></div>`;
  const isDead = query.state === "dead"; // nothing else can be retried: what failed and has attempts left is tried again by itself
  const isAlive = !["dead", "done", "cancelled", "expired"].includes(query.state);
  const picked = rows.filter(({ id }) => chosen.has(id)).map(({ id }) => id);
  return html`<div class="head">
    <h2>${picked.length ? `${picked.length} chosen` : "Found"}</h2>
    <div class="end row">
      <button class="small" type="button" onClick=${reload}>Look again</button>
      ${picked.length > 0
        ? html`${isDead && html`<button class="small" type="button" onClick=${() => some("retry", picked, done)}>Retry ${picked.length}</button>`}
            ${isAlive && html`<button class="small danger" type="button" onClick=${() => some("cancel", picked, done)}>Cancel ${picked.length}</button>`}`
        : html`${isDead && html`<button class="small" type="button" onClick=${() => all("retry", query, done)}>Retry all like this</button>`}
            ${isAlive && html`<button class="small danger" type="button" onClick=${() => all("cancel", query, done)}>Cancel all like this</button>`}`}
    </div>
  </div>`;
}

const PAST = { retry: "Retried", cancel: "Cancelled" };
const said = (verb) => (answer) => `${PAST[verb]} ${many(answer.count, "task")}.`;

async function some(verb, ids, done) {
  const text = verb === "cancel" ? "Those that run are told to stop." : "Dead letters wait again.";
  const answer = await ask({ title: `${verb === "cancel" ? "Cancel" : "Retry"} ${many(ids.length, "task")}?`, text, verb: verb === "cancel" ? `Cancel ${many(ids.length, "task")}` : "Retry", cancel: "Leave it", isDangerous: verb === "cancel" });
  if (answer && (await attempt(() => post(`/tasks/${verb}`, { ids }), said(verb)))) done();
}

async function all(verb, query, done) {
  const filters = asked(query);
  let found;
  try {
    found = await post(`/tasks/${verb}`, { search: filters, is_dry_run: true });
  } catch (error) {
    tell(error.message, true);
    return;
  }
  if (!found.count) {
    tell(`There is nothing to ${verb}.`);
    return;
  }
  const text = `All that are found by ${Object.entries(filters).map(([name, value]) => `${name} ${value}`).join(", ")}.`;
  const number = `${found.is_least ? "at least " : ""}${count(found.count)}`;
  if (!(await ask({ title: `${verb === "cancel" ? "Cancel" : "Retry"} ${number} tasks?`, text, verb: `${verb === "cancel" ? "Cancel" : "Retry"} them`, cancel: "Leave it", isDangerous: verb === "cancel" }))) return;
  if (await attempt(() => postAll(`/tasks/${verb}`, { search: filters }), said(verb))) done();
}
