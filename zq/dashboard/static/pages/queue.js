// One queue: how it goes, what it has been told, what is in it.
import { path, post, search } from "../api.js";
import { count, duration, perSecond, size, whole } from "../format.js";
import { useFetch } from "../fetching.js";
import { html, useState } from "../html.js";
import { now, useLive } from "../live.js";
import { go, link } from "../route.js";
import { mayAct } from "../session.js";
import { Badge, Facts, Missing, State, Tile } from "../parts/bits.js";
import { Charts, usePoints, useSpan } from "../parts/charts.js";
import { ask, attempt, tell } from "../parts/dialogs.js";
import { Operations } from "../parts/operations.js";
import { POLICIES } from "../parts/policies.js";
import { isDraining, isPaused, QueueActions } from "../parts/queue_actions.js";
import { Failures } from "./overview.js";

export function Queue({ name }) {
  const { queues } = useLive();
  const url = path("queues", name);
  const { data, error, reload } = useFetch(url, 3);
  const [span, picker] = useSpan();
  const { points } = usePoints(span, name);
  if (!data) return html`<div class="head"><h1>${name}</h1></div><${Missing} error=${error} what=${`the queue ${name}`} />`;
  const row = { ...data, ...queues.get(name), policies: data.policies, closed_by: data.closed_by };
  const done = (isGone) => (isGone ? go("queues") : reload());
  return html`
    <div class="head"><h1>${name}</h1>
      ${isPaused(row) && html`<${State} of="paused" />`}${isDraining(row) && html`<${State} of="draining" />`}
      ${(row.alerts ?? []).map((text) => html`<${Badge} tone="warn">${text}</${Badge}>`)}
      <div class="end row">${mayAct() && html`<button type="button" onClick=${() => submitTask(name, reload)}>Submit a task</button>`}<${QueueActions} row=${row} done=${done} /></div>
    </div>
    <${Tiles} row=${row} />
    <div class="head"><div class="end">${picker}</div></div>
    <${Charts} points=${points} />
    <div class="grid">
      <${Policies} key=${name} name=${name} policies=${data.policies ?? {}} done=${reload} />
      <${More} row=${row} />
    </div>
    <${QueueFailures} name=${name} />
    <${Operations} queue=${name} />`;
}

function Tiles({ row }) {
  const tasks = (state) => link("tasks", null, { queue: row.name, state });
  return html`<div class="tiles">
    <${Tile} name="Waiting" value=${count(row.waiting)} more=${row.parked ? `${count(row.parked)} behind their key` : null} href=${tasks("waiting")} />
    <${Tile} name="Leased" value=${count(row.leased)} href=${tasks("leased")} />
    <${Tile} name="Scheduled" value=${count(row.scheduled)} href=${tasks("scheduled")} />
    <${Tile} name="Dead" value=${count(row.dead)} tone=${row.dead ? "bad" : ""} href=${link("dead", null, { queue: row.name })} />
    <${Tile} name="In" value=${perSecond(row.rates?.in)} />
    <${Tile} name="Out" value=${perSecond(row.rates?.out)} more=${`${count(row.done)} done`} />
    <${Tile} name="Oldest waiting" value=${row.oldest_time ? duration(Math.max(0, Math.floor(now() - row.oldest_time))) : "–"} />
    <${Tile} name="Workers" value=${count(row.workers)} tone=${!row.workers && row.waiting ? "warn" : ""} />
  </div>`;
}

const More = ({ row }) => html`<section class="card" aria-labelledby="more"><h2 id="more">In it</h2>
  <${Facts} of=${[
    ["payloads", size(row.bytes)],
    ["held back by", row.closed_by?.length ? row.closed_by.join(", ") : "nothing"],
    ["held keys", row.held_keys === null || row.held_keys === undefined ? null : whole(row.held_keys)],
    ["accepted", row.accepted === undefined ? null : whole(row.accepted)],
    ["failed attempts", row.failed === undefined ? null : whole(row.failed)],
    ["retried", row.retried === undefined ? null : whole(row.retried)],
    ["lost with workers", row.lost === undefined ? null : whole(row.lost)],
    ["cancelled", whole(row.cancelled)],
    ["expired", whole(row.expired)],
    ["chosen by", row.assign],
    ["refuses above", `${whole(row.max_tasks)} tasks`],
  ]} />
</section>`;

function QueueFailures({ name }) {
  const { data } = useFetch("/failures" + search({ queue: name, limit: 10 }), 3);
  const rows = data?.rows ?? (Array.isArray(data) ? data : []);
  return rows.length ? html`<${Failures} failures=${rows} hasQueue=${false} />` : null;
}

/** Every policy with what it is now; what is changed is sent together. */
function Policies({ name, policies, done }) {
  const [isOpen, setOpen] = useState(false);
  const known = POLICIES.filter((policy) => policy.name in policies);
  const set = known.filter((policy) => policies[policy.name] !== null && policies[policy.name] !== false);
  const save = async (event) => {
    event.preventDefault();
    const values = new FormData(event.target);
    let changes;
    try {
      changes = Object.fromEntries(known.map((policy) => [policy.name, policy.read(values.get(policy.name), policy.name)]).filter(([policy, value]) => value !== (policies[policy] ?? null)));
    } catch (error) {
      tell(error.message, true);
      return;
    }
    if (!Object.keys(changes).length) setOpen(false);
    else if (await attempt(() => post(`${path("queues", name)}/policies`, changes), `Set ${Object.keys(changes).join(", ")} of ${name}.`)) {
      setOpen(false);
      done();
    }
  };
  return html`<section class="card" aria-labelledby="policies">
    <div class="head"><h2 id="policies">Policies</h2><div class="end">${mayAct() && !isOpen && html`<button class="small" type="button" onClick=${() => setOpen(true)}>Change</button>`}</div></div>
    ${isOpen ? html`<form onSubmit=${save}>
        <div class="filters">${known.map((policy) => html`<${Policy} policy=${policy} value=${policies[policy.name]} />`)}</div>
        <p class="row" style=${{ marginTop: "1rem" }}><button class="main">Save</button><button type="button" onClick=${() => setOpen(false)}>Cancel</button></p>
      </form>`
    : set.length ? html`<${Facts} of=${set.map((policy) => [policy.name, String(policies[policy.name])])} />`
    : html`<p class="soft">All as the coordinator has them.</p>`}
  </section>`;
}

const Policy = ({ policy, value }) => html`<label title=${policy.hint}>${policy.name}
  ${policy.choices ? html`<select name=${policy.name}>${policy.choices.map((choice) => html`<option value=${choice} selected=${choice === policy.show(value)}>${choice || "default"}</option>`)}</select>`
  : html`<input name=${policy.name} defaultValue=${policy.show(value)} placeholder=${policy.placeholder} autocomplete="off" />`}
</label>`;

async function submitTask(name, done) {
  const values = await ask({
    title: `Submit a task to ${name}`,
    verb: "Submit",
    fields: [
      { name: "payload", label: "Payload, as JSON", type: "textarea", value: "{}" },
      { name: "delay", label: "Delay in seconds", type: "number", min: 0, step: "any", placeholder: "none" },
    ],
  });
  if (!values) return;
  let payload;
  try {
    payload = JSON.parse(values.payload);
  } catch (error) {
    tell(`The payload is no JSON: ${error.message}`, true);
    return;
  }
  const options = values.delay ? { delay: Number(values.delay) } : {};
  await attempt(() => post("/tasks/submit", { queue: name, payload, options }), ({ id }) => `Submitted ${id ?? "it"}.`);
  done();
}
