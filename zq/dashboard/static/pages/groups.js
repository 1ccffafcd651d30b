// Groups: tasks whose results are joined when the last of them has ended.
import { path, post, search } from "../api.js";
import { moment, summary, whole } from "../format.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { go, link } from "../route.js";
import { mayAct } from "../session.js";
import { Ago, Facts, Missing, QueueLink, State, Table } from "../parts/bits.js";
import { ask, attempt } from "../parts/dialogs.js";
import { TaskGraph } from "../parts/task_graph.js";
import { TaskTable } from "./tasks.js";

const STATES = ["any", "open", "done", "failed", "cancelled"];

export function Groups({ query }) {
  const state = query.state ?? "any";
  const { data, error } = useFetch("/groups" + search({ state: state === "any" ? null : state, cursor: query.cursor }), 5);
  const columns = [
    { label: "Group", isWide: true, cell: ({ id }) => html`<a class="mono any" href=${link("groups", id)}>${id}</a>` },
    { label: "State", cell: (row) => html`<${State} of=${row.state} />` },
    { label: "Ended", isNumber: true, cell: ({ size, outstanding }) => (size === null || size === undefined ? "–" : `${whole(size - (outstanding ?? 0))} of ${whole(size)}`) },
    { label: "Policy", cell: ({ policy }) => policy ?? "–" },
    { label: "Callback", cell: ({ callback }) => html`<${QueueLink} name=${callback} />` },
    { label: "Opened", keep: true, cell: ({ opened_time }) => html`<${Ago} time=${opened_time} />` },
  ];
  return html`<div class="head"><h1>Groups</h1><div class="end"><div class="switch" role="group" aria-label="State">
      ${STATES.map((one) => html`<button type="button" aria-pressed=${one === state ? "true" : "false"} onClick=${() => go("groups", null, one === "any" ? {} : { state: one })}>${one}</button>`)}
    </div></div></div>
    <section class="card flush" aria-label="Groups">
      ${data ? html`<${Table} caption="Groups" columns=${columns} rows=${data.rows} by=${({ id }) => id} empty="No groups. A group is made by Client.group, by a pipeline that scatters, or by a handler." />` : html`<${Missing} error=${error} what="the groups" />`}
      ${data?.cursor && html`<p class="empty"><a class="button" href=${link("groups", null, { state: query.state, cursor: data.cursor })}>Next</a></p>`}
    </section>`;
}

export function Group({ id }) {
  useLive();
  const { data, error, reload } = useFetch(path("groups", id), 2);
  if (!data) return html`<div class="head"><h1 class="mono">${id}</h1></div><${Missing} error=${error} what="the group" />`;
  const isOver = data.state !== "open";
  const members = data.members?.rows ?? data.members ?? [];
  const cancel = async () => {
    if (await ask({ title: "Cancel this group with its members?", verb: "Cancel the group", cancel: "Leave it", isDangerous: true })) {
      await attempt(() => post("/tasks/cancel", { ids: [id] }), ({ count }) => `Cancelled ${whole(count)}.`);
      reload();
    }
  };
  return html`<div class="head"><h1 class="mono">${id}</h1><${State} of=${data.state} />
      <div class="end">${mayAct() && !isOver && html`<button class="danger" type="button" onClick=${cancel}>Cancel</button>`}</div></div>
    <section class="card" aria-labelledby="about"><h2 id="about">About it</h2><${Facts} of=${[
      ["ended", data.size === null || data.size === undefined ? null : `${whole(data.size - (data.outstanding ?? 0))} of ${whole(data.size)}`],
      ["policy", data.policy],
      ["callback", data.callback && html`<${QueueLink} name=${data.callback} />`],
      ["reason", data.reason && html`<span class="any">${summary(data.reason)}</span>`],
      ["opened", data.opened_time && moment(data.opened_time)],
      ["finished", data.finished_time && moment(data.finished_time)],
    ]} /></section>
    <${TaskGraph} id=${id} isOver=${isOver} isAlone />
    ${members.length > 0 && html`<section class="card flush" aria-labelledby="members"><h2 id="members">Members</h2><${TaskTable} rows=${members} /></section>`}
    ${!members.length && html`<p class="soft">Its members are not known by its id: what a stage scatters, and what a handler opens a group with, has ids of its own.</p>`}`;
}
