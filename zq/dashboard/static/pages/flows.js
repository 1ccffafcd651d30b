// Pipelines: which queue feeds which, how fast, and where it dams up.
import { count, rate } from "../format.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { link } from "../route.js";
import { Empty, Missing, QueueLink, Table } from "../parts/bits.js";
import { Graph } from "../parts/graph.js";

const DRAWN = 60; // boxes that one can still look over
const DAMMED = 20; // times more tasks wait than are worked on

export function Flows() {
  useLive();
  const { data, error } = useFetch("/flows", 2);
  if (!data) return html`<${Head} /><${Missing} error=${error} what="the flows" />`;
  if (!data.edges.length) {
    return html`<${Head} /><section class="card"><${Empty}>Nothing has been passed on since the coordinator started. A pipeline, a group with a callback or a handler that forwards shows here.</${Empty}></section>`;
  }
  const nodes = named(data).slice(0, DRAWN);
  const fastest = Math.max(...data.edges.map((edge) => edge.rate ?? 0), 0.001);
  const edges = data.edges.map((edge) => ({
    from: edge.origin,
    to: edge.target,
    label: edge.rate ? `${rate(edge.rate)}/s` : count(edge.tasks),
    title: `${edge.origin} to ${edge.target}: ${count(edge.tasks)} tasks since the start`,
    weight: Math.sqrt((edge.rate ?? 0) / fastest),
    isLive: (edge.rate ?? 0) > 0.01,
    kind: edge.kind,
  }));
  return html`<${Head} />
    <section class="card" aria-label="Pipelines">
      <${Graph} title="Pipelines" nodes=${nodes.map((node) => box(node, nodes))} edges=${edges} width=${184} height=${nodes.some(({ queue }) => queue.includes("/")) ? 96 : 80} hasEdgeLabels />
      <p class="soft small">An arrow is what goes from one queue to the next: tasks a second, or all since the start where nothing moves. The bar in a box says how much waits there against the fullest.</p>
    </section>
    <section class="card flush" aria-labelledby="between"><h2 id="between">Between queues</h2><${Between} edges=${data.edges} /></section>`;
}

const Head = () => html`<div class="head"><h1>Flows</h1><p>What passes from queue to queue: pipelines, forwards, groups, topics.</p></div>`;

/** Nodes of the answer, and those that only edges name, such as topics. */
function named({ nodes, edges }) {
  const found = new Map(nodes.map((node) => [node.queue, node]));
  for (const { origin, target } of edges) for (const queue of [origin, target]) if (!found.has(queue)) found.set(queue, { queue });
  const used = new Set(edges.flatMap(({ origin, target }) => [origin, target]));
  return [...found.values()].filter(({ queue }) => used.has(queue));
}

function box(node, nodes) {
  const most = Math.max(10, ...nodes.map(({ waiting }) => waiting ?? 0));
  if (node.waiting === undefined || node.waiting === null) return { id: node.queue, label: node.queue.replace(/^topic:/, ""), lines: [node.queue.startsWith("topic:") ? "topic" : ""], isRound: true };
  const isDammed = node.waiting > DAMMED * Math.max(1, node.leased);
  const [, space, name] = /^([^/]*)\/(.+)$/.exec(node.queue) ?? [null, "", node.queue]; // a pipeline's stages share a namespace
  return {
    id: node.queue,
    href: link("queues", node.queue),
    label: name,
    lines: [...(space ? [space] : []), `${count(node.waiting)} waiting · ${count(node.leased)} leased`, `${rate(node.rate_out)}/s · ${count(node.workers)} worker${node.workers === 1 ? "" : "s"}`],
    fill: node.waiting / most,
    tone: !node.workers && node.waiting && !node.rate_out ? "warn" : isDammed ? "warn" : node.leased ? "accent" : "",
  };
}

function Between({ edges }) {
  const columns = [
    { label: "From", isWide: true, cell: ({ origin }) => (origin.startsWith("topic:") ? html`<span class="any">${origin}</span>` : html`<${QueueLink} name=${origin} />`) },
    { label: "To", isWide: true, cell: ({ target }) => html`<${QueueLink} name=${target} />` },
    { label: "Tasks/s", isNumber: true, cell: (edge) => rate(edge.rate) },
    { label: "Since the start", isNumber: true, cell: ({ tasks }) => count(tasks) },
  ];
  return html`<${Table} caption="Between queues" columns=${columns} rows=${edges} by=${({ origin, target }) => `${origin} ${target}`} />`;
}
