// The frame around the pages: names of places, search, theme, keys, and the banner when nobody answers.
import { get, path } from "./api.js";
import { clock, count, duration } from "./format.js";
import { html, render, useEffect, useRef, useState } from "./html.js";
import { follow, live, useLive } from "./live.js";
import { go, link, useRoute } from "./route.js";
import { session, useSession } from "./session.js";
import { Badge } from "./parts/bits.js";
import { ask, Dialogs, tell } from "./parts/dialogs.js";
import { Dead } from "./pages/dead.js";
import { Events } from "./pages/events.js";
import { Flows } from "./pages/flows.js";
import { Group, Groups } from "./pages/groups.js";
import { Namespaces } from "./pages/namespaces.js";
import { Overview } from "./pages/overview.js";
import { Queue } from "./pages/queue.js";
import { Queues } from "./pages/queues.js";
import { Schedules } from "./pages/schedules.js";
import { Task } from "./pages/task.js";
import { Tasks } from "./pages/tasks.js";
import { Topics } from "./pages/topics.js";
import { Worker, Workers } from "./pages/workers.js";

/** Each page: its name, the key behind `g`, what is drawn for all and for one, and a number beside its name. */
const PAGES = [
  { page: "overview", label: "Overview", key: "o", all: Overview },
  { page: "queues", label: "Queues", key: "q", all: Queues, one: (name) => html`<${Queue} key=${name} name=${name} />`, tally: ({ status }) => count(status.queues) },
  { page: "tasks", label: "Tasks", key: "t", all: Tasks, one: (id) => html`<${Task} key=${id} id=${id} />` },
  { page: "flows", label: "Flows", key: "f", all: Flows },
  { page: "groups", label: "Groups", key: "r", all: Groups, one: (id) => html`<${Group} key=${id} id=${id} />` },
  { page: "workers", label: "Workers", key: "w", all: Workers, one: (name) => html`<${Worker} key=${name} name=${name} />`, tally: ({ status }) => count(status.workers) },
  { page: "dead", label: "Dead letters", key: "d", all: Dead, tally: ({ status }) => (status.dead ? count(status.dead) : "") },
  { page: "schedules", label: "Schedules", key: "s", all: Schedules },
  { page: "topics", label: "Topics", key: "p", all: Topics },
  { page: "namespaces", label: "Namespaces", key: "n", all: Namespaces },
  { page: "events", label: "Events", key: "e", all: Events },
];

function App() {
  const route = useRoute();
  const { overview } = useLive();
  useSession();
  useKeys();
  const main = useRef(null);
  const place = PAGES.find(({ page }) => page === route.page);
  const address = `${route.page}/${route.name ?? ""}`;
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${route.name ?? place?.label ?? "Nothing here"} · zq`;
    if (!isFirst.current) {
      main.current.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    isFirst.current = false;
  }, [address]);
  useEffect(() => {
    showPlace();
    addEventListener("resize", showPlace);
    return () => removeEventListener("resize", showPlace);
  }, [route.page]);
  return html`
    <a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), main.current.focus())}>Skip to the page</a>
    <div class="frame">
      <header class="rail">
        <a class="brand" href="#/overview"><img src="static/icon.svg" alt="" /><span>zq</span></a>
        <nav aria-label="Pages"><ul>${PAGES.map(({ page, label, tally }) => html`<li><a href=${link(page)} aria-current=${page === route.page ? "page" : null}>${label}${tally && overview?.status && html` <span class="tally">${tally(overview)}</span>`}</a></li>`)}</ul></nav>
        <div class="rail-foot"><span>${session.address ?? ""}</span><span>${session.namespace ? `namespace ${session.namespace}` : ""}</span><span>${session.version ? `zq ${session.version}` : ""}</span></div>
      </header>
      <div class="page">
        <${Banner} />
        <${Top} />
        <main id="main" tabindex="-1" ref=${main}>
          ${!place ? html`<h1>Nothing is here</h1><p>There is no page ${route.page}. <a href="#/overview">Overview</a></p>` : route.name !== null && place.one ? place.one(route.name) : html`<${place.all} query=${route.query} />`}
        </main>
      </div>
    </div>
    <${Dialogs} />`;
}

/** On a phone the names of the pages are a row that is wider than the screen. */
const showPlace = () => document.querySelector(".rail [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

/** Says since when nobody answers, and that it is tried on. */
function Banner() {
  const { link: state, linkSince, isConnected, connectedSince, message } = useLive();
  const isCut = state === "closed";
  const since = isCut ? linkSince : connectedSince;
  const isShown = isCut || !isConnected;
  const ago = duration(Math.max(1, Math.floor(Date.now() / 1000 - (since ?? Date.now() / 1000))));
  return html`<div role="alert">${isShown && html`<div class="banner" id="banner">
    <span>${isCut ? "The dashboard's server" : "The coordinator"} is unreachable since ${clock(since ?? Date.now() / 1000)}</span>
    <span class="soft any">${ago}; trying on. What is shown is from before.${!isCut && message ? ` ${message}` : ""}</span>
  </div>`}</div>`;
}

function Top() {
  const { link: state, isConnected } = useLive();
  const find = async (event) => {
    event.preventDefault();
    const field = event.target.elements.find;
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    field.blur();
    if (live.queues.has(text)) go("queues", text);
    else await findElsewhere(text);
  };
  const isLive = state === "open" && isConnected;
  return html`<div class="top">
    <form role="search" aria-label="Go to" onSubmit=${find}><label><span class="unseen">Go to a task, queue, worker or group</span>
      <input id="find" name="find" type="search" placeholder="Go to a task, queue or worker   /" autocomplete="off" spellcheck=${false} /></label></form>
    <div class="end">
      ${session.is_read_only && session.address && html`<${Badge}>read-only</${Badge}>`}
      <span class=${`badge ${isLive ? "good" : "warn"}`} id="link"><span class="pip" aria-hidden="true"></span>${isLive ? "live" : state === "opening" ? "connecting" : "away"}</span>
      <${Theme} />
      <button class="plain" type="button" onClick=${showKeys} aria-label="Keys">?</button>
    </div>
  </div>`;
}

/** A task, or else a queue that was not among the busy ones, a worker or a group. */
async function findElsewhere(text) {
  for (const [page, isThere] of [["tasks", ({ state }) => state !== "unknown"], ["queues", () => true], ["workers", () => true], ["groups", ({ state }) => state !== "unknown"]]) {
    try {
      if (isThere(await get(path(page, text)))) return go(page, text);
    } catch (error) {
      if (error.status !== 404 && error.status !== 400) return tell(error.message, true);
    }
  }
  return tell(`No task, queue, worker or group is called ${text}.`, true);
}

function Theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light"));
  const other = theme === "dark" ? "light" : "dark";
  const turn = () => {
    document.documentElement.dataset.theme = other;
    try {
      localStorage.setItem("zq-theme", other);
    } catch {
      // It holds until the page is left.
    }
    setTheme(other);
  };
  return html`<button class="plain" id="theme" type="button" onClick=${turn} aria-label=${`Switch to ${other}`} title=${`Switch to ${other}`}><span aria-hidden="true">◐</span></button>`;
}

function showKeys() {
  const keys = [["/", "go to a task, queue or worker"], ...PAGES.map(({ label, key }) => [`g ${key}`, label]), ["?", "these keys"]];
  ask({ title: "Keys", verb: null, cancel: "Close", body: html`<dl class="facts">${keys.map(([key, what]) => html`<dt>${key.split(" ").map((one) => html`<kbd>${one}</kbd> `)}</dt><dd>${what}</dd>`)}</dl>` });
}

const CHORD_SECONDS = 1.5;

function useKeys() {
  useEffect(() => {
    let begunAt = -Infinity;
    const listener = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.target.closest("input, textarea, select")) {
        if (event.key === "Escape") event.target.blur();
        return;
      }
      const isChord = event.timeStamp / 1000 - begunAt < CHORD_SECONDS;
      begunAt = event.key === "g" && !isChord ? event.timeStamp / 1000 : -Infinity;
      const place = isChord && PAGES.find(({ key }) => key === event.key);
      if (place) go(place.page);
      else if (event.key === "/") document.getElementById("find").focus();
      else if (event.key === "?") showKeys();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", listener);
    return () => removeEventListener("keydown", listener);
  }, []);
}

const root = document.getElementById("root");
root.textContent = "";
render(html`<${App} />`, root);
follow();
