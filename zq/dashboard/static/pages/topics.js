// Which queues get what is published to which topics.
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { Missing, QueueLink, Table } from "../parts/bits.js";

export function Topics() {
  const { data, error } = useFetch("/topics", 10);
  const columns = [
    { label: "Pattern", cell: ({ pattern }) => html`<code class="any">${pattern}</code>` },
    { label: "Queue", cell: ({ queue }) => html`<${QueueLink} name=${queue} />` },
    { label: "Headers", isWide: true, cell: ({ headers }) => (headers && Object.keys(headers).length ? html`<code class="any">${Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join(", ")}</code>` : html`<span class="soft">any</span>`) },
  ];
  return html`<div class="head"><h1>Topics</h1><p>What is published to a topic goes to every queue that is bound to it. <code>*</code> stands for one word, <code>#</code> for none or more.</p></div>
    <section class="card flush" aria-label="Bindings">
      ${data ? html`<${Table} caption="Bindings" columns=${columns} rows=${data.rows} by=${({ pattern, queue, headers }) => JSON.stringify([pattern, queue, headers])} empty="No queue is bound to a topic. One is by: zq topics bind PATTERN QUEUE" />` : html`<${Missing} error=${error} what="the topics" />`}
    </section>`;
}
