// What is known now: one event stream for all pages, kept open while the page is looked at.
import { useEffect, useState } from "./html.js";

const EVENTS_KEPT = 1000;
const POINTS_KEPT = 900; // a quarter of an hour at one a second
const HIDDEN_SECONDS = 10; // so long the stream stays open behind another tab: a browser has six connections to a server for all tabs
const SILENT_SECONDS = 10; // a server that says nothing so long is not there any more: it pulses once a second
const RETRY_SECONDS = [1, 1, 2, 4, 8];

export const live = {
  link: "opening", // "opening", "open", "closed" (no stream from the dashboard's server)
  linkSince: Date.now() / 1000,
  isConnected: true, // whether the server reaches the coordinator
  connectedSince: null, // wall seconds of the change
  message: "",
  pulses: 0,
  skew: 0, // seconds that the coordinator's clock is ahead of this one
  overview: null,
  queues: new Map(),
  workers: [],
  events: [], // newest last, each with a number of its own
  dropped: 0,
  points: [], // of the charts: {time, ...} once a second
};

/** The coordinator's wall clock. */
export const now = () => Date.now() / 1000 + live.skew;

const listeners = new Set();
const eventListeners = new Set();
const tell = () => [...listeners].forEach((listener) => listener());

/** Calls back with each list of events that has come; returns what ends it. */
export function onEvents(listener) {
  eventListeners.add(listener);
  return () => eventListeners.delete(listener);
}

/** Draws a component again with each pulse; returns what is known. */
export function useLive() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listener = () => redraw((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return live;
}

function setLink(link) {
  if (live.link !== link) {
    live.link = link;
    live.linkSince = Date.now() / 1000;
    tell();
  }
}

function takePulse(pulse) {
  const overview = pulse.overview ?? live.overview;
  const time = overview?.status?.time ?? overview?.time;
  if (time) live.skew = time - Date.now() / 1000;
  live.overview = overview;
  for (const row of pulse.queues ?? []) live.queues.set(row.name, { ...live.queues.get(row.name), ...row });
  for (const name of pulse.removed ?? []) live.queues.delete(name);
  live.workers = pulse.workers ?? live.workers;
  live.pulses += 1;
  if (overview) keepPoint(overview, time ?? now());
  setLink("open");
  tell();
}

function keepPoint(overview, time) {
  const status = overview.status ?? {};
  const { rates = {}, wait, run } = overview;
  const last = live.points.at(-1);
  if (last && time <= last.time) live.points = live.points.filter((point) => point.time < time);
  live.points.push({
    time,
    in: rates.accepted ?? null, // of the first look there are no rates
    out: rates.done ?? null,
    failed: rates.failed ?? null,
    waiting: status.waiting ?? status.tasks?.waiting ?? 0,
    scheduled: status.scheduled ?? status.tasks?.scheduled ?? 0,
    leased: status.leased ?? status.tasks?.leased ?? 0,
    wait,
    run,
    oldest: overview.oldest_time ? Math.max(0, time - overview.oldest_time) : 0,
    commits: last && status.commits >= last.total && time > last.time ? (status.commits - last.total) / (time - last.time) : null,
    total: status.commits,
  });
  if (live.points.length > POINTS_KEPT) live.points.splice(0, live.points.length - POINTS_KEPT);
}

let numbered = 0;

function takeEvents(found) {
  const events = Array.isArray(found) ? found : (found.events ?? []);
  live.dropped += (Array.isArray(found) ? 0 : found.dropped) || 0;
  const fresh = events.map((event) => ({ ...event, number: (numbered += 1) }));
  live.events = [...live.events, ...fresh].slice(-EVENTS_KEPT);
  eventListeners.forEach((listener) => listener(fresh));
}

function takeConnection({ is_connected, message }) {
  if (live.isConnected !== is_connected || live.connectedSince === null) live.connectedSince = Date.now() / 1000;
  live.isConnected = is_connected;
  live.message = message ?? "";
  tell();
}

let source = null;
let failures = 0;
let timer = null;
let heardAt = 0;

function heard(take) {
  return (message) => {
    heardAt = Date.now() / 1000;
    failures = 0;
    take(JSON.parse(message.data));
  };
}

function open() {
  clearTimeout(timer);
  close();
  heardAt = Date.now() / 1000;
  source = new EventSource("api/v1/events");
  source.addEventListener("pulse", heard(takePulse));
  source.addEventListener("happened", heard(takeEvents));
  source.addEventListener("connection", heard(takeConnection));
  source.onopen = () => setLink("open");
  source.onerror = lose;
}

/** The browser's own reconnecting ends for good at the first refusal, so it is not relied upon. */
function lose() {
  close();
  setLink("closed");
  timer = setTimeout(open, 1000 * RETRY_SECONDS[Math.min(failures, RETRY_SECONDS.length - 1)]);
  failures += 1;
}

function close() {
  source?.close();
  source = null;
}

/** Follows for as long as the page is there; nobody who looks elsewhere costs the coordinator anything. */
export function follow() {
  let hiddenTimer = null;
  open();
  setInterval(() => {
    if (source && Date.now() / 1000 - heardAt > SILENT_SECONDS) lose();
    else if (!live.isConnected || live.link !== "open") tell(); // banners count on
  }, 1000);
  // A page that is kept for going back would keep its connection: after six of them nothing would be answered any more.
  addEventListener("pagehide", () => {
    clearTimeout(timer);
    close();
  });
  addEventListener("pageshow", (event) => event.persisted && open());
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) {
      hiddenTimer = setTimeout(() => {
        clearTimeout(timer);
        close();
      }, 1000 * HIDDEN_SECONDS);
    } else if (!source) {
      open();
    }
  });
}
