// Numbers, times and sizes for people; the same units as `zq top` and the command line.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Seconds as "12 ms", "3.4 s", "5 min 2 s", "3 h 4 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0) return "-" + duration(-seconds);
  if (seconds < 0.0005) return "< 1 ms";
  if (seconds < 0.9995) return `${seconds < 0.00995 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const first = UNITS.findIndex(([, size]) => whole >= size);
  const [name, size] = UNITS[first];
  const [lesser, part] = UNITS[first + 1] ?? [null, 1];
  const rest = lesser ? Math.floor((whole % size) / part) : 0;
  return `${Math.floor(whole / size)} ${name}` + (rest ? ` ${rest} ${lesser}` : "");
}

/** 1234 as "1,234", from a hundred thousand as "123k". */
export function count(n) {
  if (n === null || n === undefined) return "–";
  if (Math.abs(n) < 100000) return Math.round(n).toLocaleString("en");
  for (const [name, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(n) >= size) return (n / size).toFixed(n / size < 100 ? 1 : 0).replace(/\.0$/, "") + name;
  }
  return String(n);
}

export const whole = (n) => (n === null || n === undefined ? "–" : Math.round(n).toLocaleString("en"));

/** "12.3/s". */
export const perSecond = (n) => (n === null || n === undefined ? "–" : `${rate(n)}/s`);

/** Something a second. */
export function rate(n) {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "0";
  if (n < 0.1) return n.toFixed(2);
  return n < 99.95 ? n.toFixed(1) : count(n);
}

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  let left = bytes;
  for (const name of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (left < 1024 || name === "TiB") return `${name === "B" || left >= 100 ? Math.round(left) : left.toFixed(1)} ${name}`;
    left /= 1024;
  }
  return "";
}

const two = (n) => String(n).padStart(2, "0");

/** Wall seconds as the browser's local date and time, with its zone in full. */
export function moment(wall) {
  if (wall === null || wall === undefined) return "–";
  const at = new Date(wall * 1000);
  const away = -at.getTimezoneOffset();
  const zone = `${away < 0 ? "-" : "+"}${two(Math.floor(Math.abs(away) / 60))}:${two(Math.abs(away) % 60)}`;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(wall)}${zone}`;
}

export function clock(wall, digits = 0) {
  const at = new Date(wall * 1000);
  const rest = digits ? "." + String(at.getMilliseconds()).padStart(3, "0").slice(0, digits) : "";
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}${rest}`;
}

/** "1 task", "2 tasks". */
export const many = (n, noun) => `${whole(n)} ${noun}${Math.round(n) === 1 ? "" : "s"}`;

/** "90", "90s", "5 min", "2h", "1 d" as seconds; NaN for what is none. */
export function seconds(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d)?\s*$/.exec(text);
  if (!found) return NaN;
  return Number(found[1]) * { s: 1, sec: 1, m: 60, min: 60, h: 3600, d: 86400 }[found[2] ?? "s"];
}

export const firstLine = (text) => (text ?? "").split("\n").find((line) => line.trim()) ?? "";

/** The line of a traceback that says what happened: its last one. */
export function summary(text) {
  const lines = (text ?? "").trimEnd().split("\n");
  return /^Traceback /.test(lines.find((line) => line.trim()) ?? "") ? lines.at(-1) : firstLine(text);
}

/** Upper bounds of the coordinator's histograms, in seconds; the last bucket has none. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400];

/** A percentile of a histogram ({buckets} or buckets alone, not cumulative), interpolated; null when it is empty. */
export function percentile(histogram, q) {
  const buckets = Array.isArray(histogram) ? histogram : histogram?.buckets;
  const total = buckets?.reduce((sum, n) => sum + n, 0) ?? 0;
  if (!total) return null;
  let left = q * total;
  for (let i = 0; i < buckets.length; i += 1) {
    if (buckets[i] && left <= buckets[i]) {
      const low = i ? BOUNDS[i - 1] : 0;
      return low + ((BOUNDS[i] ?? low) - low) * (left / buckets[i]);
    }
    left -= buckets[i];
  }
  return BOUNDS.at(-1);
}
