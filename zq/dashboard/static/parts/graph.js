// Boxes and arrows in SVG: pipelines with their rates, groups and chains of tasks.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../html.js";
import { layered } from "./layout.js";

const MARGIN = 14;
const BESIDE = 76; // pixels; for arrows back, and their labels, beside what runs downwards
const BELOW = 18; // below what runs to the right

/**
 * @param nodes [{id, href, label, lines: [texts below the label], tone, fill (0 to 1: how full it is), isRound}]
 * @param edges [{from, to, label, weight (0 to 1), isLive, kind}]
 */
export function Graph({ title, nodes, edges, width = 190, height = 74, hasEdgeLabels = false }) {
  const place = useRef(null);
  const [room, setRoom] = useState(900);
  useLayoutEffect(() => setRoom(place.current.clientWidth || 900), []);
  useEffect(() => {
    const watch = new ResizeObserver(() => place.current && setRoom(place.current.clientWidth || 900));
    watch.observe(place.current);
    return () => watch.disconnect();
  }, []);
  const shape = nodes.map(({ id }) => id).join("\n") + "\0" + edges.map(({ from, to }) => `${from}\n${to}`).join("\n");
  const box = { width, height };
  const { made, isVertical } = useMemo(() => fitting(nodes, edges, box, room, hasEdgeLabels), [shape, room, height]);
  const whole = { width: made.width + 2 * MARGIN, height: made.height + 2 * MARGIN };
  return html`<div class="graph scroll" ref=${place} tabindex="0" role="region" aria-label=${title}>
    <svg width=${whole.width} height=${whole.height} viewBox=${`${-MARGIN} ${-MARGIN} ${whole.width} ${whole.height}`} role="group" aria-label=${title}>
      <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 .8L7 4L0 7.2z" /></marker></defs>
      ${edges.map((edge) => made.places.has(edge.from) && made.places.has(edge.to) && html`<${Edge} edge=${edge} from=${made.places.get(edge.from)} to=${made.places.get(edge.to)} box=${box} isVertical=${isVertical} />`)}
      ${nodes.map((node) => html`<${Node} key=${node.id} node=${node} at=${made.places.get(node.id)} box=${box} />`)}
    </svg>
  </div>`;
}

/** To the right where there is room for it, else downwards. */
function fitting(nodes, edges, box, room, hasEdgeLabels) {
  const across = layered(nodes, edges, { ...box, gapAlong: hasEdgeLabels ? 62 : 52, gapAcross: 22 }, false);
  const hasBack = (made) => edges.some(({ from, to }) => made.places.get(to)?.layer <= made.places.get(from)?.layer);
  if (hasBack(across)) across.height += BELOW;
  if (across.width + 2 * MARGIN <= room) return { made: across, isVertical: false };
  const down = layered(nodes, edges, { ...box, gapAlong: 46, gapAcross: 16 }, true);
  if (hasBack(down)) down.width += BESIDE;
  return down.width < across.width ? { made: down, isVertical: true } : { made: across, isVertical: false };
}

function Edge({ edge, from, to, box, isVertical }) {
  const { curve, middle } = isVertical ? downwards(from, to, box) : rightwards(from, to, box);
  const width = 1.2 + 3.8 * (edge.weight ?? 0);
  return html`<g class=${`edge ${edge.isLive ? "is-live" : ""} ${edge.kind ?? ""}`}>
    <path d=${curve} stroke-width=${width} marker-end="url(#arrow)" />
    ${edge.isLive && html`<path class="drops" d=${curve} stroke-width=${Math.max(2, width - 0.6)} />`}
    ${edge.label && html`<text x=${middle.x} y=${middle.y} text-anchor="middle"><title>${edge.title ?? edge.label}</title>${edge.label}</text>`}
  </g>`;
}

function rightwards(from, to, box) {
  const start = { x: from.x + box.width, y: from.y + box.height / 2 };
  const end = { x: to.x - 2, y: to.y + box.height / 2 };
  if (to.layer <= from.layer) return around(from, to, box);
  const bend = Math.max(30, (end.x - start.x) / 2);
  return { curve: `M${start.x} ${start.y}C${start.x + bend} ${start.y} ${end.x - bend} ${end.y} ${end.x} ${end.y}`, middle: { x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 - 8 } };
}

function downwards(from, to, box) {
  const start = { x: from.x + box.width / 2, y: from.y + box.height };
  const end = { x: to.x + box.width / 2, y: to.y - 2 };
  if (to.layer <= from.layer) return beside(from, to, box);
  const bend = Math.max(16, (end.y - start.y) / 2);
  return { curve: `M${start.x} ${start.y}C${start.x} ${start.y + bend} ${end.x} ${end.y - bend} ${end.x} ${end.y}`, middle: { x: (start.x + end.x) / 2 + 28, y: (start.y + end.y) / 2 + 4 } };
}

/** Back to a layer before, or to itself: below the boxes. */
function around(from, to, box) {
  const start = { x: from.x + box.width * 0.7, y: from.y + box.height };
  const end = { x: to.x + box.width * 0.3, y: to.y + box.height + 2 };
  const low = Math.max(start.y, end.y) + 26;
  return { curve: `M${start.x} ${start.y}C${start.x} ${low} ${end.x} ${low} ${end.x} ${end.y}`, middle: { x: (start.x + end.x) / 2, y: low - 4 } };
}

/** The same where the graph runs downwards: to the right of the boxes. */
function beside(from, to, box) {
  const start = { x: from.x + box.width, y: from.y + box.height * 0.7 };
  const end = { x: to.x + box.width + 2, y: to.y + box.height * 0.3 };
  const far = Math.max(start.x, end.x) + 34;
  return { curve: `M${start.x} ${start.y}C${far} ${start.y} ${far} ${end.y} ${end.x} ${end.y}`, middle: { x: far + 16, y: (start.y + end.y) / 2 + 4 } };
}

function Node({ node, at, box }) {
  const inside = html`
    <rect width=${box.width} height=${box.height} rx=${node.isRound ? box.height / 2 : 10} />
    ${node.fill !== undefined && html`<rect class="level" x="10" y=${box.height - 9} width=${Math.max(0, (box.width - 20) * Math.min(1, node.fill))} height="3" rx="1.5" /><rect class="scale" x="10" y=${box.height - 9} width=${box.width - 20} height="3" rx="1.5" />`}
    <text class="label" x="14" y="23">${middled(node.label, (box.width - 24) / 8)}</text>
    ${(node.lines ?? []).map((line, i) => html`<text class="line" x="14" y=${41 + 16 * i}>${short(line, (box.width - 20) / 6.9)}</text>`)}`;
  const shown = html`<title>${[node.label, ...(node.lines ?? [])].join("\n")}</title>${inside}`;
  const kind = `node ${node.tone ?? ""} ${node.isDashed ? "is-dashed" : ""}`;
  const move = `translate(${at.x} ${at.y})`;
  return node.href ? html`<a class=${kind} href=${node.href} transform=${move}>${shown}</a>` : html`<g class=${kind} transform=${move}>${shown}</g>`;
}

/** Names of a family differ at their ends. */
function middled(text, most) {
  if (text.length <= most) return text;
  const kept = Math.max(2, Math.floor(most) - 1);
  const first = Math.floor(kept / 3);
  return `${text.slice(0, first)}…${text.slice(first - kept)}`;
}

const short = (text, most) => (text.length <= most ? text : text.slice(0, Math.max(1, Math.floor(most) - 1)) + "…");
