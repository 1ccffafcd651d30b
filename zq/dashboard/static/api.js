// The JSON API of the dashboard's server, /api/v1 (docs/dashboard.md).

const BASE = "api/v1";

/** What the server answered when it could not do what was asked, in words. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The path of one thing: names may have any characters. */
export const path = (...parts) => "/" + parts.map((part) => encodeURIComponent(part)).join("/");

/** `?a=b` of what is not empty. */
export function search(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? "?" + new URLSearchParams(given.map(([name, value]) => [name, String(value)])) : "";
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(BASE + url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "the dashboard's server does not answer");
  }
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // The status says enough.
  }
  if (!response.ok) {
    const { code = "error", message = `the server answered ${response.status}` } = answer?.error ?? {};
    throw new ApiError(response.status, code, message);
  }
  return answer;
}

export const get = (url, signal) => ask(url, { signal });

/** All rows of a listing, of its first pages. */
export async function getAll(url, pages = 20) {
  const rows = [];
  let cursor = null;
  let page = 0;
  do {
    const found = await get(url + (cursor ? (url.includes("?") ? "&" : "?") + new URLSearchParams({ cursor }) : ""));
    rows.push(...found.rows);
    cursor = found.cursor;
    page += 1;
  } while (cursor && page < pages);
  return { rows, is_cut: cursor !== null };
}

/** A deed on many goes on in portions: one request after the other, until there is nothing left; {count} of all. */
export async function postAll(url, body) {
  let count = 0;
  let cursor = null;
  let isOver = false;
  while (!isOver) {
    const done = await post(url, cursor ? { ...body, cursor } : body);
    count += done.count;
    cursor = done.cursor ?? null;
    isOver = !cursor && !done.is_least;
  }
  return { count };
}

export const post = (url, body = {}) =>
  ask(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
