// All queues, a row each.
import { get, search } from "../api.js";
import { count, duration, rate } from "../format.js";
import { useFetch } from "../fetching.js";
import { html, useEffect, useMemo, useState } from "../html.js";
import { now, useLive } from "../live.js";
import { Badge, Missing, QueueLink, Spark, State, Table } from "../parts/bits.js";
import { Operations } from "../parts/operations.js";
import { isDraining, isPaused, QueueActions } from "../parts/queue_actions.js";

const SORTS = {
  name: (a, b) => (a.name < b.name ? -1 : 1),
  waiting: (a, b) => b.waiting - a.waiting,
  out: (a, b) => (b.rates?.out ?? 0) - (a.rates?.out ?? 0),
  oldest: (a, b) => (a.oldest_time ?? Infinity) - (b.oldest_time ?? Infinity),
  dead: (a, b) => b.dead - a.dead,
};

export function Queues() {
  const { queues } = useLive();
  const [prefix, setPrefix] = useState("");
  const [sort, setSort] = useState("name");
  const { data, error, reload } = useFetch("/queues" + search({ prefix }), 5);
  const { rows, cursor, more } = useMore(data, prefix);
  const shown = useMemo(() => rows.map((row) => ({ ...row, ...fresh(queues.get(row.name)) })).sort(SORTS[sort]), [rows, sort, queues, useLive().pulses]);
  const by = (name, label) => html`<button class="sort" type="button" aria-pressed=${sort === name ? "true" : "false"} onClick=${() => setSort(name)}>${label}${sort === name ? " ↓" : ""}</button>`;
  const columns = [
    { label: "Queue", heading: by("name", "Queue"), isWide: true, cell: (row) => html`<${QueueLink} name=${row.name} />${" "}<${Marks} row=${row} />` },
    { label: "Waiting", heading: by("waiting", "Waiting"), isNumber: true, cell: (row) => count(row.waiting) },
    { label: "Leased", isNumber: true, cell: (row) => count(row.leased) },
    { label: "Scheduled", isNumber: true, cell: (row) => count(row.scheduled) },
    { label: "Dead", heading: by("dead", "Dead"), isNumber: true, cell: (row) => html`<span class=${row.dead ? "bad" : ""}>${count(row.dead)}</span>` },
    { label: "In/s", isNumber: true, cell: (row) => rate(row.rates?.in) },
    { label: "Out/s", heading: by("out", "Out/s"), isNumber: true, cell: (row) => rate(row.rates?.out) },
    { label: "Last 30 s", isWide: true, cell: (row) => html`<${Spark} values=${row.spark} />` },
    { label: "Oldest", heading: by("oldest", "Oldest"), isNumber: true, cell: (row) => (row.oldest_time ? duration(Math.max(0, Math.floor(now() - row.oldest_time))) : "–") },
    { label: "Workers", isNumber: true, cell: (row) => html`<span class=${!row.workers && row.waiting ? "warn" : ""}>${count(row.workers)}</span>` },
    { label: "Actions", isHidden: true, isEnd: true, isWide: true, cell: (row) => html`<${QueueActions} row=${row} done=${reload} isShort />` },
  ];
  return html`
    <div class="head"><h1>Queues</h1><div class="end"><label><span class="unseen">Names that begin with</span>
      <input type="search" placeholder="begins with" value=${prefix} onInput=${(event) => setPrefix(event.target.value)} /></label></div></div>
    <section class="card flush" aria-label="Queues">
      ${!data && !rows.length ? html`<${Missing} error=${error} what="the queues" />` : html`<${Table} caption="Queues" columns=${columns} rows=${shown} by=${({ name }) => name} empty=${prefix ? "No queue begins so." : "No queues yet: the first submit, or the first worker, makes one."} />`}
      ${cursor && html`<p class="empty"><button type="button" onClick=${more}>More queues</button></p>`}
    </section>
    <${Operations} />`;
}

/** What a pulse knows better; it has no policies. */
const fresh = (row) => row ?? {};

const Marks = ({ row }) => html`${isPaused(row) && html`<${State} of="paused" />`}${" "}${isDraining(row) && html`<${State} of="draining" />`}${" "}
  ${(row.alerts ?? []).map((text) => html`<${Badge} tone="warn">${text}</${Badge}>`)}`;

/** The pages of a listing that were asked for, one below the other; the first one is asked for again and again. */
function useMore(data, prefix) {
  const [further, setFurther] = useState({ prefix, rows: [], cursor: undefined });
  useEffect(() => setFurther({ prefix, rows: [], cursor: undefined }), [prefix]);
  const first = data?.rows ?? [];
  const names = new Set(first.map(({ name }) => name));
  const cursor = further.cursor === undefined ? data?.cursor : further.cursor;
  const more = async () => {
    const page = await get("/queues" + search({ prefix, cursor }));
    setFurther((before) => ({ prefix, rows: [...before.rows, ...page.rows], cursor: page.cursor }));
  };
  return { rows: [...first, ...further.rows.filter(({ name }) => !names.has(name))], cursor, more };
}
