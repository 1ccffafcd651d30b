// Recurring tasks: when each comes next.
import { path, post } from "../api.js";
import { duration, moment, whole } from "../format.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { mayAct } from "../session.js";
import { Ago, Missing, QueueLink, State, Table, TaskLink } from "../parts/bits.js";
import { ask, attempt } from "../parts/dialogs.js";

export function Schedules() {
  useLive();
  const { data, error, reload } = useFetch("/schedules", 5);
  const columns = [
    { label: "Schedule", isWide: true, cell: (row) => html`<b class="any">${row.name}</b>${row.error && html`<div class="bad small any">${row.error}</div>`}` },
    { label: "Queue", cell: ({ queue }) => html`<${QueueLink} name=${queue} />` },
    { label: "When", keep: true, cell: ({ every, cron, timezone }) => (cron ? html`<code class="keep">${cron}</code> <span class="soft small">${timezone}</span>` : `every ${duration(every)}`) },
    { label: "Next", isWide: true, cell: (row) => (row.is_paused ? html`<${State} of="paused" />` : html`<${Ago} time=${row.next_time} ahead /> <span class="soft small">${moment(row.next_time)}</span>`) },
    { label: "Fired", isNumber: true, cell: ({ fired }) => whole(fired) },
    { label: "Last", isWide: true, cell: (row) => (row.last_id ? html`<${TaskLink} id=${row.last_id} />` : html`<span class="soft">never</span>`) },
    { label: "Actions", isHidden: true, isEnd: true, isWide: true, cell: (row) => html`<${Actions} row=${row} done=${reload} />` },
  ];
  return html`<div class="head"><h1>Schedules</h1></div>
    <section class="card flush" aria-label="Schedules">
      ${data ? html`<${Table} caption="Schedules" columns=${columns} rows=${data.rows} by=${({ name }) => name} empty="No schedules. One is made by: zq schedules add NAME QUEUE PAYLOAD --every 60" />` : html`<${Missing} error=${error} what="the schedules" />`}
    </section>`;
}

function Actions({ row, done }) {
  if (!mayAct()) return null;
  const act = async (verb, said) => {
    await attempt(() => post(`${path("schedules", row.name)}/${verb}`), said);
    done();
  };
  const remove = async () => {
    if (await ask({ title: `Delete the schedule ${row.name}?`, text: "Tasks that it has stored stay.", verb: "Delete", isDangerous: true })) await act("delete", `Deleted ${row.name}.`);
  };
  return html`<div class="row">
    <button class="small" type="button" aria-label=${`Run ${row.name} now`} onClick=${() => act("run", ({ id }) => `It is stored${id ? ` as ${id}` : ""}.`)}>Run now</button>
    <button class="small" type="button" aria-label=${`${row.is_paused ? "Resume" : "Pause"} ${row.name}`} onClick=${() => act(row.is_paused ? "resume" : "pause", `${row.is_paused ? "Resumed" : "Paused"} ${row.name}.`)}>${row.is_paused ? "Resume" : "Pause"}</button>
    <button class="small danger" type="button" aria-label=${`Delete ${row.name}`} onClick=${remove}>Delete</button>
  </div>`;
}
