// What a task belongs to: its group, the callback, what it forwarded. Drawn as long as it lives.
import { path } from "../api.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { link } from "../route.js";
import { Missing } from "./bits.js";
import { Graph } from "./graph.js";

const TONES = { done: "good", leased: "accent", open: "accent", dead: "bad", failed: "bad", cancelled: "warn", expired: "warn" };

export function TaskGraph({ id, isOver, isAlone = false }) {
  const { data, error } = useFetch(path("graph", id), isOver ? 30 : 2);
  if (!data && isAlone) return html`<section class="card" aria-label="What it belongs to"><${Missing} error=${error} what="what it belongs to" /></section>`;
  if (!data || (!isAlone && data.nodes.length < 2)) return null;
  const nodes = data.nodes.map((node) => ({
    id: node.id,
    href: link(node.kind === "group" ? "groups" : "tasks", node.id),
    label: (node.kind === "group" ? node.label : (node.label ?? node.queue)?.replace(/^[^/]*\//, "")) || node.id, // without its namespace
    lines: [node.kind === "group" ? `group, ${node.state}` : node.state ?? "unknown", node.id],
    tone: TONES[node.state] ?? "",
    isDashed: node.state === "waiting" || node.state === "scheduled" || node.state === "unknown" || node.state === null,
  }));
  const live = new Set(data.nodes.filter(({ state }) => state === "leased").map(({ id: one }) => one));
  const edges = data.edges.map(({ from, to, kind }) => ({ from, to, kind, isLive: live.has(from) || live.has(to) }));
  return html`<section class="card" aria-labelledby="graph"><h2 id="graph">What it belongs to</h2>
    <${Graph} title="Groups and chains" nodes=${nodes} edges=${edges} width=${196} height=${66} />
    ${data.is_cut && html`<p class="soft small">There is more than is drawn.</p>`}
  </section>`;
}
