// Answers of the API for a component, asked for again while they are looked at.
import { get } from "./api.js";
import { useEffect, useRef, useState } from "./html.js";
import { live, useLive } from "./live.js";

/**
 * Returns {data, error, reload} of a path; null is none.
 *
 * @param url path below /api/v1, or null
 * @param every pulses between two askings; 0: once
 * @param fetcher what asks, of a path and a signal that ends it
 */
export function useFetch(url, every = 0, fetcher = get) {
  const [found, setFound] = useState({ url, data: null, error: null });
  const asked = useRef(0);
  const { pulses } = useLive();
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (url === null) return undefined;
    const aborter = new AbortController();
    asked.current = live.pulses;
    fetcher(url, aborter.signal).then(
      (data) => setFound({ url, data, error: null }),
      (error) => {
        if (error.name !== "AbortError") setFound((before) => ({ url, data: before.url === url ? before.data : null, error }));
      },
    );
    return () => aborter.abort();
  }, [url, turn]);
  useEffect(() => {
    if (every && !document.hidden && live.isConnected && pulses - asked.current >= every) setTurn((n) => n + 1);
  }, [pulses]);
  const isMine = found.url === url;
  return { data: isMine ? found.data : null, error: isMine ? found.error : null, reload: () => setTurn((n) => n + 1) };
}
