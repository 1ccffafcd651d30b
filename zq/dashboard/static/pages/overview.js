// How it goes: rates, depths, times, what waits longest, what failed last.
import { count, duration, firstLine, perSecond, rate, size, summary, whole } from "../format.js";
import { html } from "../html.js";
import { now, useLive } from "../live.js";
import { link } from "../route.js";
import { Ago, Badge, Empty, Missing, QueueLink, State, Table, TaskLink, Tile } from "../parts/bits.js";
import { Charts, usePoints, useSpan } from "../parts/charts.js";

const SHOWN = 6; // of the last failures

export function Overview() {
  const { overview } = useLive();
  const [span, picker] = useSpan();
  const { points } = usePoints(span);
  if (!overview) return html`<${Head} picker=${null} /><${Missing} />`;
  const { status = {}, failures = [], alerts = [] } = overview;
  return html`
    <${Head} picker=${picker} />
    <${Tiles} overview=${overview} status=${status} />
    ${alerts.length > 0 && html`<${Alerts} alerts=${alerts} />`}
    <${Charts} points=${points} isWhole />
    <${Failures} failures=${failures.slice(0, SHOWN)} />
    <${Machine} status=${status} />`;
}

const Head = ({ picker }) => html`<div class="head"><h1>Overview</h1>${picker && html`<div class="end">${picker}</div>`}</div>`;

function Tiles({ overview, status }) {
  const { rates = {}, wait = {}, run = {}, oldest_time } = overview;
  const oldest = oldest_time ? duration(Math.max(0, Math.floor(now() - oldest_time))) : "–";
  return html`<div class="tiles">
    <${Tile} name="In" value=${perSecond(rates.accepted)} more="accepted" />
    <${Tile} name="Out" value=${perSecond(rates.done)} more=${`${count(status.done)} done`} />
    <${Tile} name="Waiting" value=${count(status.waiting)} more=${`${count(status.scheduled)} scheduled`} href=${link("tasks", null, { state: "waiting" })} />
    <${Tile} name="Leased" value=${count(status.leased)} more=${`${count(status.workers)} worker${status.workers === 1 ? "" : "s"}`} href=${link("tasks", null, { state: "leased" })} />
    <${Tile} name="Oldest waiting" value=${oldest} />
    <${Tile} name="Wait p95" value=${duration(wait?.p95)} more=${`run p95 ${duration(run?.p95)}`} />
    <${Tile} name="Dead letters" value=${count(status.dead)} tone=${status.dead ? "bad" : ""} href=${link("dead")} more=${rates.failed ? `${rate(rates.failed)}/s fail` : null} />
  </div>`;
}

const Alerts = ({ alerts }) => html`<section class="card" aria-labelledby="alerts">
  <h2 id="alerts">Alerts</h2>
  <ul>${alerts.map(({ queue, text }) => html`<li class="row"><${Badge} tone="warn">alert</${Badge}><${QueueLink} name=${queue} /><span class="any">${text}</span></li>`)}</ul>
</section>`;

/** What failed last, newest first. */
export function Failures({ failures, hasQueue = true }) {
  const columns = [
    { label: "When", keep: true, cell: ({ time }) => html`<${Ago} time=${time} />` },
    { label: "Task", cell: ({ id }) => html`<${TaskLink} id=${id} />` },
    hasQueue && { label: "Queue", cell: ({ queue }) => html`<${QueueLink} name=${queue} />` },
    { label: "Error", isWide: true, cell: ({ error }) => html`<span class="any">${summary(error) || firstLine(error)}</span>` },
    { label: "Next", keep: true, cell: ({ next_time, is_dead }) => (is_dead ? html`<${State} of="dead" />` : html`<${Ago} time=${next_time} ahead />`) },
  ].filter(Boolean);
  return html`<section class="card flush" aria-labelledby="failures">
    <h2 id="failures">Last failures</h2>
    ${failures.length ? html`<${Table} caption="Last failures" columns=${columns} rows=${failures} by=${({ id, time }) => `${id} ${time}`} />` : html`<${Empty}>Nothing has failed lately.</${Empty}>`}
  </section>`;
}

function Machine({ status }) {
  const { store = {}, journal, memory = {}, connections = {}, refused = {} } = status;
  const refusals = Object.entries(refused).filter(([, n]) => n);
  const commit = status.commit?.count ? status.commit.sum / status.commit.count : null;
  return html`<section class="card" aria-labelledby="machine">
    <h2 id="machine">Coordinator</h2>
    <dl class="facts">
      <dt>version</dt><dd>${status.version ?? "–"}</dd>
      <dt>up for</dt><dd>${duration(Math.floor(status.uptime ?? 0))}</dd>
      <dt>queues</dt><dd>${whole(status.queues)}</dd>
      <dt>store</dt><dd>${size(store.used_bytes)} used of ${size(store.map_bytes)}${" "}${store.is_full && html`<span title=${store.why_full}><${Badge} tone="bad">${store.full_by || "store"} full</${Badge}></span>`}</dd>
      ${journal && html`<dt>journal</dt><dd>${journal.is_on ? `${whole(journal.records)} records, ${whole(journal.checkpoints)} checkpoints` : `off${journal.reason ? `: ${journal.reason}` : ""}`}</dd>`}
      ${status.damaged > 0 && html`<dt>damaged</dt><dd><${Badge} tone="bad">${whole(status.damaged)} set aside</${Badge}></dd>`}
      <dt>memory</dt><dd>${size(memory.bytes)}</dd>
      <dt>connections</dt><dd>${whole(connections.open)}</dd>
      <dt>commits</dt><dd>${whole(status.commits)}${commit !== null && html`, ${duration(commit)} each`}</dd>
      <dt>refused</dt><dd>${refusals.length ? refusals.map(([why, n]) => `${why}: ${whole(n)}`).join(", ") : "nothing"}</dd>
    </dl>
  </section>`;
}
