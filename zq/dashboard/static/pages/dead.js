// Dead letters by reason: what to bring back, and what to give up.
import { getAll, post, postAll, search } from "../api.js";
import { many, whole } from "../format.js";
import { useFetch } from "../fetching.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { go, link } from "../route.js";
import { mayAct } from "../session.js";
import { Ago, Missing, QueueLink, Table } from "../parts/bits.js";
import { ask, attempt, tell } from "../parts/dialogs.js";

export function Dead({ query }) {
  const { queues } = useLive();
  const queue = query.queue ?? "";
  const { data, error, reload } = useFetch("/dead/reasons" + search({ queue }), 5, summed);
  const rows = data?.rows ?? [];
  const total = rows.reduce((sum, row) => sum + row.count, 0);
  const columns = [
    { label: "Reason", isWide: true, cell: ({ reason }) => html`<span class="any">${reason || "no reason was given"}</span>` },
    { label: "Queue", cell: (row) => html`<${QueueLink} name=${row.queue} />` },
    { label: "Count", isNumber: true, cell: ({ count }) => whole(count) },
    { label: "Oldest", keep: true, cell: ({ oldest_time }) => html`<${Ago} time=${oldest_time} />` },
    { label: "Newest", keep: true, cell: ({ newest_time }) => html`<${Ago} time=${newest_time} />` },
    { label: "Actions", isHidden: true, isEnd: true, isWide: true, cell: (row) => html`<${Actions} row=${row} done=${reload} />` },
  ];
  return html`<div class="head"><h1>Dead letters</h1>
      <div class="end row"><label><span class="unseen">Queue</span><select onChange=${(event) => go("dead", null, { queue: event.target.value })}>
        <option value="">all queues</option>
        ${[...new Set([...queues.keys(), ...(queue ? [queue] : [])])].slice(0, 500).map((name) => html`<option value=${name} selected=${name === queue}>${name}</option>`)}
      </select></label>${total > 0 && html`<${Actions} row=${{ queue: queue || null, reason: null, count: total }} done=${reload} isAll />`}</div></div>
    <section class="card flush" aria-label="Dead letters by reason">
      ${data ? html`<${Table} caption="Dead letters by reason" columns=${columns} rows=${rows} by=${(row) => `${row.queue}\n${row.reason}`} empty="No dead letters. A task becomes one when no attempt is left, or when its handler buries it." />` : html`<${Missing} error=${error} what="the dead letters" />`}
      ${rows.length > 0 && html`<p class="empty"><a href=${link("tasks", null, { state: "dead", queue })}>Look at them one by one</a></p>`}
    </section>
    <${Replays} reasons=${data} />`;
}

/** Pages are of the letters that were looked at: the same reason may stand in several of them. */
async function summed(url) {
  const { rows, is_cut } = await getAll(url);
  const found = new Map();
  for (const row of rows) {
    const key = JSON.stringify([row.queue, row.reason]);
    const before = found.get(key);
    if (!before) found.set(key, row);
    else found.set(key, { ...row, count: before.count + row.count, oldest_time: Math.min(before.oldest_time, row.oldest_time), newest_time: Math.max(before.newest_time, row.newest_time) });
  }
  return { rows: [...found.values()].sort((a, b) => b.count - a.count), is_cut };
}

function Replays({ reasons }) {
  const { data } = useFetch("/replays", 3);
  const rows = data?.rows ?? [];
  if (!rows.length || !reasons) return null;
  const columns = [
    { label: "Replay", isWide: true, cell: ({ id }) => html`<span class="mono any">${id}</span>` },
    { label: "Queue", cell: (row) => html`<${QueueLink} name=${row.queue} />` },
    { label: "Rate", isNumber: true, cell: (row) => `${row.rate}/s` },
    { label: "Moved", isNumber: true, cell: ({ moved }) => whole(moved) },
  ];
  return html`<section class="card flush" aria-labelledby="replays"><h2 id="replays">Replays that go on</h2><${Table} caption="Replays" columns=${columns} rows=${rows} by=${({ id }) => id} /></section>`;
}

/** A reason is shown without ids and numbers: what is sought is the longest piece of it that each of them has. */
const sought = (reason) => (reason ? (reason.split(/[#…*]|<[^>]*>|\bN\b/).sort((a, b) => b.length - a.length)[0].trim() || null) : null);

function Actions({ row, done, isAll = false }) {
  if (!mayAct()) return null;
  const which = { queue: row.queue, reason: row.match ?? sought(row.reason) };
  const replay = async () => {
    const values = await ask({
      title: `Replay ${isAll ? "all dead letters" : many(row.count, "dead letter")}?`,
      text: `${row.reason ?? "Whatever the reason"}${row.queue ? `, of ${row.queue}` : ", of all queues"}. They wait again, with no attempts charged.`,
      verb: "Replay",
      fields: [
        { name: "rate", label: "Dead letters a second", type: "number", min: 0.001, step: "any", value: "10", required: true },
        { name: "to", label: "To another queue", placeholder: "their own" },
      ],
    });
    if (values && (await attempt(() => post("/dead/replay", { ...which, rate: Number(values.rate), to: values.to.trim() || null }), "They are brought back."))) done();
  };
  const purge = async () => {
    let found;
    try {
      found = await post("/dead/purge", { ...which, is_dry_run: true });
    } catch (error) {
      tell(error.message, true);
      return;
    }
    if (!found.count) return void tell("There is none any more.");
    const letters = many(found.count, "dead letter");
    if (!(await ask({ title: `Give ${letters} up?`, text: "For good: their payloads are deleted.", verb: `Give ${letters} up`, isDangerous: true }))) return;
    if (await attempt(() => postAll("/dead/purge", which), ({ count }) => `Gave ${many(count, "dead letter")} up.`)) done();
  };
  const name = isAll ? " all" : "";
  return html`<div class="row">
    <button class="small" type="button" onClick=${replay} aria-label=${isAll ? null : `Replay: ${row.reason}`}>Replay${name}</button>
    <button class="small danger" type="button" onClick=${purge} aria-label=${isAll ? null : `Purge: ${row.reason}`}>Purge${name}</button>
  </div>`;
}
