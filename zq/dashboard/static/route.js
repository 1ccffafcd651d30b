// Hash routes: "#/queues/NAME?x=y" as {page, name, query}.
import { search } from "./api.js";
import { useEffect, useState } from "./html.js";

function read() {
  const [before, after = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...rest] = before.split("/");
  return { page: page || "overview", name: rest.length ? decode(rest.join("/")) : null, query: Object.fromEntries(new URLSearchParams(after)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand
  }
}

/** The address of a page; names may have any characters. */
export const link = (page, name = null, query = {}) =>
  `#/${page}` + (name === null ? "" : `/${encodeURIComponent(name)}`) + search(query);

export function go(page, name = null, query = {}) {
  location.hash = link(page, name, query);
}

export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const listener = () => setRoute(read());
    addEventListener("hashchange", listener);
    return () => removeEventListener("hashchange", listener);
  }, []);
  return route;
}
