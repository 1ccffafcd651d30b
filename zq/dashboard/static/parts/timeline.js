// The life of a task as bars (who had it, and how that ended) and as a list of what happened.
import { clock, duration, moment, summary } from "../format.js";
import { html } from "../html.js";
import { link } from "../route.js";

const ENDS = { done: "done", lost: "lost", returned: "returned", retry: "failed", dead: "dead", cancelled: "cancelled", expired: "expired" };
export const FINAL = new Set(["done", "dead", "cancelled", "expired", "duplicate", "purged", "unknown"]);

/** Of what happened in one instant, what must have been first: a lease ends before the next one begins. */
const RANKS = { accepted: 0, revived: 0, due: 1, suspect: 1, lost: 2, returned: 2, retry: 3, moved: 4, assigned: 5, started: 6 };

/** Events in the order in which they must have been. */
export const inOrder = (events) => [...events].sort((a, b) => a.time - b.time || (RANKS[a.event] ?? 9) - (RANKS[b.event] ?? 9));

/**
 * The leases of a task, made of its trace: [{worker, token, start, started, end, how, error}]; `end` is null for one
 * that goes on. A worker that was lost and an attempt that failed leave two events, of which the first says how.
 */
export function leases(events) {
  const found = [];
  for (const { time, event, detail } of events) {
    if (event === "assigned") {
      found.push({ worker: detail.worker ?? "", token: detail.token, start: time, started: null, silent: null, end: null, how: null, error: null });
      continue;
    }
    const mine = found.findLast((one) => detail.token === undefined || detail.token === null || one.token === detail.token);
    if (!mine) continue;
    if (event === "started") mine.started = time;
    else if (event === "suspect") mine.silent = time;
    else if (event in ENDS) {
      const text = detail.error ?? detail.reason ?? null;
      mine.error ??= text;
      if (mine.end === null) {
        mine.end = time;
        mine.how = ENDS[event];
      }
    }
  }
  return found;
}

export function Timeline({ events, until }) {
  const held = leases(events);
  if (!events.length) return html`<p class="empty">Nothing is known of its life any more.</p>`;
  const start = events[0].time;
  const end = Math.max(until, events.at(-1).time, start + 0.001);
  const at = (time) => `${(100 * (time - start)) / (end - start)}%`;
  const wide = (from, to) => `max(4px, ${(100 * (to - from)) / (end - start)}%)`;
  return html`<div class="timeline">
    ${held.length > 0 && html`<ol class="bars" aria-label="Who had it">
      ${held.map((lease, i) => html`${i > 0 && html`<${Handover} before=${held[i - 1]} after=${lease} />`}
        <li class="bar-row">
          <span class="who any"><a href=${link("workers", lease.worker)}>${lease.worker || "a pull"}</a></span>
          <span class="track">
            <span class=${`bar is-${lease.how ?? "running"}`} style=${{ left: at(lease.start), width: wide(lease.start, lease.end ?? end) }}></span>
            ${lease.silent !== null && html`<span class="mark" style=${{ left: at(lease.silent) }} title="silent"></span>`}
          </span>
          <span class=${`how is-${lease.how ?? "running"}`}>${lease.how ?? "has it"}${" "}<span class="soft">${duration((lease.end ?? end) - lease.start)}</span></span>
        </li>`)}
      <li class="axis" aria-hidden="true"><span></span><span class="ends"><span>${clock(start)}</span><span>${clock(end)} (${duration(end - start)})</span></span><span></span></li>
    </ol>`}
    <ol class="story" aria-label="What happened">
      ${events.map((event, i) => html`<${Happening} event=${event} before=${events[i - 1]} isAgain=${event.event === "assigned" && leasesBefore(events, i) > 0} />`)}
    </ol>
  </div>`;
}

const leasesBefore = (events, i) => events.slice(0, i).filter(({ event }) => event === "assigned").length;

function Handover({ before, after }) {
  const gap = after.start - (before.end ?? after.start);
  const what = before.how === "lost" ? "Lost" : before.how === "failed" ? "Failed" : "Back in the queue";
  const tone = before.how === "lost" || before.how === "failed" ? "bad" : "soft";
  const again = after.worker === before.worker ? "given to the same worker again" : html`reassigned to <b class="any">${after.worker || "a pull"}</b>`;
  return html`<li class="handover"><span class=${tone}>${what}</span>, ${again} ${gap < 0.05 ? "at once" : `after ${duration(gap)}`}</li>`;
}

const TONES = { lost: "bad", dead: "bad", retry: "warn", suspect: "warn", stale: "warn", expired: "warn", cancelled: "warn", done: "good", assigned: "accent", started: "accent" };

function Happening({ event: { time, event, detail }, before, isAgain }) {
  const gap = before ? time - before.time : 0;
  return html`<li class=${`happening ${TONES[event] ?? ""}`}>
    <time dateTime=${new Date(time * 1000).toISOString()} title=${moment(time)}>${clock(time, 3)}</time>
    <span class="gap soft">${gap >= 0.001 ? `+${duration(gap)}` : ""}</span>
    <span class="what"><b>${isAgain ? "reassigned" : event}</b> <${Sentence} event=${event} detail=${detail} /></span>
  </li>`;
}

function Sentence({ event, detail }) {
  const { worker, token, ...rest } = detail;
  const by = worker ? html`<a class="any" href=${link("workers", worker)}>${worker}</a>` : "a pull";
  switch (event) {
    case "accepted":
      return html`in <a class="any" href=${link("queues", detail.queue ?? "")}>${detail.queue}</a>${detail.tasks > 1 && `, one of ${detail.tasks}`}`;
    case "assigned":
      return html`to ${by}`;
    case "started":
      return html`by ${by}`;
    case "suspect":
      return html`${by} has gone silent`;
    case "lost":
      return html`with ${by}: <span class="any">${detail.reason}</span>`;
    case "returned":
      return html`by ${by}, unstarted${detail.reason && `: ${detail.reason}`}`;
    case "retry":
      return html`attempt ${detail.attempt} ${detail.error ? html`ended with <span class="any">${summary(detail.error)}</span>` : ""}, again ${detail.in > 0.0005 ? `in ${duration(detail.in)}` : "at once"}`;
    case "done":
      return worker ? html`by ${by}` : "";
    case "moved":
      return html`from ${detail.from} to <a class="any" href=${link("queues", detail.to ?? "")}>${detail.to}</a>`;
    case "forwarded":
      return html`to ${(detail.batches ?? []).map(({ id, queue, tasks }, i) => html`${i > 0 && ", "}${tasks ? html`<a class="any" href=${link("tasks", id)}>${queue}</a>` : html`<a class="any" href=${link("groups", id)}>group ${id}</a>`}`)}${detail.more && ` and ${detail.more} more`}`;
    default:
      return html`<span class="any">${Object.entries({ ...(worker && { worker }), ...rest }).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : summary(String(value))}`).join(", ")}</span>`;
  }
}
