// Namespaces: what the queues of each hold together.
import { count, size, whole } from "../format.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { Missing, Table } from "../parts/bits.js";

export function Namespaces() {
  const { data, error } = useFetch("/namespaces", 5);
  const columns = [
    { label: "Namespace", isWide: true, cell: ({ name }) => html`<b class="any">${name}</b>` },
    { label: "Queues", isNumber: true, cell: ({ queues }) => whole(queues) },
    { label: "Waiting", isNumber: true, cell: ({ waiting }) => count(waiting) },
    { label: "Scheduled", isNumber: true, cell: ({ scheduled }) => count(scheduled) },
    { label: "Leased", isNumber: true, cell: ({ leased }) => count(leased) },
    { label: "Dead", isNumber: true, cell: ({ dead }) => count(dead) },
    { label: "Done", isNumber: true, cell: ({ done }) => count(done) },
    { label: "Payloads", isNumber: true, cell: ({ bytes, max_bytes }) => html`${size(bytes)}${max_bytes !== null && html` <span class="soft">of ${size(max_bytes)}</span>`}` },
    { label: "Limit", isNumber: true, cell: ({ max_tasks }) => (max_tasks === null ? html`<span class="soft">none</span>` : count(max_tasks)) },
  ];
  return html`<div class="head"><h1>Namespaces</h1></div>
    <section class="card flush" aria-label="Namespaces">
      ${data ? html`<${Table} caption="Namespaces" columns=${columns} rows=${data.rows} by=${({ name }) => name} empty="No namespaces. A client with namespace= makes one." />` : html`<${Missing} error=${error} what="the namespaces" />`}
    </section>`;
}
