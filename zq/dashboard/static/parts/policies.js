// The policies of queues, as `zq queues set` has them, and how what is typed is read.

function number(text, name) {
  if (!text.trim()) return null;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`expected ${name} as a number, got ${text}`);
  return value;
}

function integer(text, name) {
  const value = number(text, name);
  if (value !== null && !Number.isInteger(value)) throw new Error(`expected ${name} as a whole number, got ${text}`);
  return value;
}

const word = (text) => text.trim() || null;
const flag = (text) => text === "yes";
const shown = (value) => (value === null || value === undefined ? "" : String(value));
const yesNo = (value) => (value ? "yes" : "no");

const numeric = (name, hint, read = number) => ({ name, hint, read, show: shown, placeholder: "default" });
const chosen = (name, hint, ...choices) => ({ name, hint, read: word, show: shown, choices: ["", ...choices] });
const switched = (name, hint) => ({ name, hint, read: flag, show: yesNo, choices: ["no", "yes"] });

export const POLICIES = [
  switched("paused", "nothing is assigned; submits are accepted"),
  switched("draining", "nothing new is accepted"),
  numeric("concurrency", "tasks leased at once", integer),
  numeric("rate", "tasks leased a second"),
  numeric("burst", "tasks that may be leased at once after a quiet time", integer),
  numeric("key_concurrency", "tasks of one key leased at once", integer),
  numeric("key_rate", "tasks of one key leased a second"),
  numeric("key_burst", "as burst, for each key", integer),
  numeric("max_tasks", "unfinished tasks above which submits are refused", integer),
  numeric("max_bytes", "bytes of payloads above which submits are refused", integer),
  chosen("overflow", "what happens above these", "refuse", "dead-oldest"),
  chosen("assign", "how workers are chosen", "least-loaded", "hash"),
  numeric("max_attempts", "starts that may fail before a task is dead", integer),
  { name: "retry", hint: "when a task that failed is tried again", read: word, show: shown, placeholder: "default" },
  numeric("ageing", "seconds of waiting that count as one step of priority"),
  switched("fair", "keys take turns"),
  chosen("on_expired", "what becomes of a task that was not started in time", "drop", "dead"),
  { name: "on_dead", hint: "queue that is told of dead letters", read: word, show: shown, placeholder: "none" },
  numeric("alert_waiting", "waiting tasks above which there is an alert", integer),
  numeric("alert_age", "seconds for which a task may wait before there is an alert"),
];
