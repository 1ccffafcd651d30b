// Purges, moves and deletes of whole queues that go on or were done.
import { whole } from "../format.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { Ago, QueueLink, State, Table } from "./bits.js";

export function Operations({ queue = null }) {
  const { data } = useFetch("/operations", 3);
  const rows = (data?.rows ?? []).filter((row) => queue === null || row.queue === queue || row.to === queue);
  if (!rows.length) return null;
  const columns = [
    { label: "Operation", cell: ({ kind, to }) => html`${kind}${to && html` to <${QueueLink} name=${to} />`}` },
    { label: "Queue", cell: (row) => html`<${QueueLink} name=${row.queue} />` },
    { label: "State", cell: ({ state }) => html`<${State} of=${state} />` },
    { label: "Tasks", isNumber: true, cell: ({ tasks }) => whole(tasks) },
    { label: "Begun", cell: ({ started_time }) => html`<${Ago} time=${started_time} />` },
  ];
  const newest = [...rows].sort((a, b) => b.started_time - a.started_time).slice(0, 10);
  return html`<section class="card flush" aria-labelledby="operations">
    <h2 id="operations">Operations</h2>
    <${Table} caption="Operations on whole queues" columns=${columns} rows=${newest} by=${({ id }) => id} />
  </section>`;
}
