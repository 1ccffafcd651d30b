// The charts of the overview and of a queue: history from the coordinator's disk, and its last quarter of an hour, live.
import { count, duration, percentile, rate } from "../format.js";
import { useFetch } from "../fetching.js";
import { html, useMemo, useState } from "../html.js";
import { live, now } from "../live.js";
import { search } from "../api.js";
import { Chart } from "./chart.js";

const SPANS = [
  { label: "15 min", seconds: 900, step: 10, every: 10 },
  { label: "1 hour", seconds: 3600, step: 10, every: 10 },
  { label: "1 day", seconds: 86400, step: 300, every: 60 },
  { label: "1 week", seconds: 604800, step: 300, every: 60 },
];

/** A span of time that is chosen, and the switch for it. */
export function useSpan() {
  const [index, setIndex] = useState(0);
  const picker = html`<div class="switch" role="group" aria-label="Time shown">
    ${SPANS.map(({ label }, i) => html`<button type="button" aria-pressed=${i === index ? "true" : "false"} onClick=${() => setIndex(i)}>${label}</button>`)}
  </div>`;
  return [SPANS[index], picker];
}

/** Points of a span: rows of /history made into numbers a second, with the live ones of the overview behind them. */
export function usePoints(span, queue = null) {
  const since = useMemo(() => Math.floor(now() - span.seconds), [span]);
  const { data, error } = useFetch("/history" + search({ step: span.step, queue, since }), span.every);
  const rows = data?.rows ?? (Array.isArray(data) ? data : null);
  const tail = queue === null && span.step === 10 ? live.points : [];
  return { points: useMemo(() => join(rows ?? [], span, tail), [rows, span, live.pulses]), error };
}

function join(rows, span, tail) {
  const end = Math.floor(now());
  const start = end - span.seconds;
  const liveFrom = tail.length ? tail[0].time : Infinity;
  const points = [];
  let last = null;
  for (const row of rows) {
    if (row.time < start || row.time > liveFrom) continue;
    if (last && row.time - last.time > span.step * 1.5) points.push(...quiet(last, row.time - span.step, span.step));
    points.push((last = ofRow(row, span.step)));
  }
  if (last && Math.min(liveFrom, end) - last.time > span.step * 2) points.push(...quiet(last, Math.min(liveFrom, end) - span.step, span.step));
  return points.concat(tail.filter((point) => point.time >= start));
}

/** Steps in which nothing changed have no row: the first and last of such a time are enough to draw it. */
function quiet(last, until, step) {
  const still = { ...last, ...{ in: 0, out: 0, failed: 0, commits: 0, wait: null, run: null } };
  const from = last.time + step;
  if (from > until) return [];
  return until > from ? [{ ...still, time: from }, { ...still, time: until }] : [{ ...still, time: from }];
}

function ofRow(row, step) {
  return {
    time: row.time,
    in: row.accepted / step,
    out: row.done / step,
    failed: row.failed / step,
    commits: (row.commits ?? 0) / step,
    waiting: row.waiting,
    scheduled: row.scheduled,
    leased: row.leased,
    wait: row.wait && percentiles(row.wait),
    run: row.run && percentiles(row.run),
    oldest: row.oldest_time ? Math.max(0, row.time - row.oldest_time) : null,
  };
}

const percentiles = (found) => ("p50" in found ? found : { p50: percentile(found, 0.5), p95: percentile(found, 0.95), p99: percentile(found, 0.99) });

const RATES = [{ label: "in", tone: "accent-2", dash: [5, 4] }, { label: "out", tone: "accent", isFilled: true }, { label: "failed", tone: "bad" }];
const DEPTH = [{ label: "leased", tone: "accent", isFilled: "full" }, { label: "waiting", tone: "accent-2", isFilled: "full" }, { label: "scheduled", tone: "accent-3", isFilled: "full" }];
const TIMES = [{ label: "p50", tone: "accent" }, { label: "p95", tone: "accent-2" }, { label: "p99", tone: "line-strong", dash: [5, 4] }];
const OLDEST = [{ label: "age", tone: "accent", isFilled: true }];
const COMMITS = [{ label: "commits", tone: "accent", isFilled: true }];

/** A round number beside an axis. */
const plain = (n) => (Math.abs(n) >= 1000 ? count(n) : String(Number(n.toFixed(2))));

const column = (points, read) => points.map((point) => read(point) ?? null);

/** What was asked of points: in and out, depth, wait and run; the overview has two more. */
export function Charts({ points, isWhole = false }) {
  const data = useMemo(() => {
    const times = points.map((point) => point.time);
    const of = (...reads) => [times, ...reads.map((read) => column(points, read))];
    return {
      rates: of((p) => p.in, (p) => p.out, (p) => p.failed),
      depth: of((p) => p.leased, (p) => p.waiting, (p) => p.scheduled),
      wait: of((p) => p.wait?.p50, (p) => p.wait?.p95, (p) => p.wait?.p99),
      run: of((p) => p.run?.p50, (p) => p.run?.p95, (p) => p.run?.p99),
      oldest: of((p) => p.oldest),
      commits: of((p) => p.commits),
    };
  }, [points]);
  return html`<div class="grid">
    <${Chart} title="In and out" unit="tasks a second" data=${data.rates} series=${RATES} format=${rate} tick=${plain} />
    <${Chart} title="Depth" unit="tasks by state" data=${data.depth} series=${DEPTH} isStacked format=${count} tick=${plain} />
    <${Chart} title="Wait" unit="until a worker has it" data=${data.wait} series=${TIMES} none="No worker has taken a task in this time." format=${duration} />
    <${Chart} title="Run" unit="until it ends" data=${data.run} series=${TIMES} none="No task has ended in this time." format=${duration} />
    ${isWhole && html`<${Chart} title="Oldest waiting" unit="age of it" data=${data.oldest} series=${OLDEST} format=${duration} />
      <${Chart} title="Commits" unit="to the disk, a second" data=${data.commits} series=${COMMITS} format=${rate} tick=${plain} />`}
  </div>`;
}
