// What can be done with a queue, with counts and a question before anything is destroyed.
import { path, post } from "../api.js";
import { count, many } from "../format.js";
import { html } from "../html.js";
import { mayAct } from "../session.js";
import { ask, attempt, tell } from "./dialogs.js";

export const isPaused = (row) => row.policies?.paused ?? row.is_paused ?? row.paused ?? row.closed_by?.includes("paused") ?? false;
export const isDraining = (row) => row.policies?.draining ?? row.is_draining ?? row.draining ?? false;

const deed = (name, verb, body) => post(`${path("queues", name)}/${verb}`, body);

export async function pauseOrResume(row, done) {
  const verb = isPaused(row) || isDraining(row) ? "resume" : "pause";
  await attempt(() => deed(row.name, verb), `${verb === "pause" ? "Paused" : "Resumed"} ${row.name}.`);
  done?.();
}

async function drain({ name, waiting = 0, leased = 0 }, done) {
  const text = `It accepts nothing new and runs empty, until it is resumed. ${many(waiting, "task")} wait${waiting === 1 ? "s" : ""} in it, and ${count(leased)} ${leased === 1 ? "runs" : "run"}.`;
  if (await ask({ title: `Drain ${name}?`, text, verb: "Drain" })) {
    await attempt(() => deed(name, "drain"), `Draining ${name}.`);
    done?.();
  }
}

/** Asks the coordinator how many it would be before it asks the one who clicked. */
async function purge(name, done) {
  const states = ["waiting", "scheduled"];
  let found;
  try {
    found = await deed(name, "purge", { states, is_dry_run: true });
  } catch (error) {
    tell(error.message, true);
    return;
  }
  if (!found.count) {
    tell(`Nothing waits in ${name}.`);
    return;
  }
  const text = "They end as cancelled, for good. What runs goes on; dead letters stay.";
  if (await ask({ title: `Purge ${many(found.count, "task")} of ${name}?`, text, verb: `Purge ${many(found.count, "task")}`, isDangerous: true })) {
    await attempt(() => deed(name, "purge", { states }), ({ count }) => `Purged ${many(count, "task")} of ${name}.`);
    done?.();
  }
}

async function remove(row, done) {
  const kept = (row.waiting ?? 0) + (row.scheduled ?? 0) + (row.dead ?? 0);
  const text = kept ? `${many(kept, "task")} in it, dead letters included, are given up with it.` : "It is empty. Workers that ask for it make it anew.";
  if (await ask({ title: `Delete ${row.name}?`, text, verb: "Delete", isDangerous: true })) {
    if (await attempt(() => deed(row.name, "delete", { may_purge: kept > 0 }), `Deleted ${row.name}.`)) done?.(true);
  }
}

export function QueueActions({ row, done, isShort = false }) {
  if (!mayAct()) return null;
  const size = isShort ? "small" : "";
  const isHeld = isPaused(row) || isDraining(row);
  return html`<div class="row">
    <button class=${size} type="button" onClick=${() => pauseOrResume(row, done)} aria-label=${`${isHeld ? "Resume" : "Pause"} ${row.name}`}>${isHeld ? "Resume" : "Pause"}</button>
    ${!isShort && html`<button type="button" onClick=${() => drain(row, done)}>Drain</button>`}
    <button class=${`danger ${size}`} type="button" onClick=${() => purge(row.name, done)} aria-label=${`Purge ${row.name}`}>Purge</button>
    ${!isShort && html`<button class="danger" type="button" onClick=${() => remove(row, done)}>Delete</button>`}
  </div>`;
}
