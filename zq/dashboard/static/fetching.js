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
  const asking = useRef({ pulse: 0, isOut: false, again: false });
  const { pulses } = useLive();
  const [turn, setTurn] = useState(0);
  const reload = () => {
    if (asking.current.isOut) asking.current.again = true; // one that is not answered yet is waited for, however slow
    else setTurn((n) => n + 1);
  };
  useEffect(() => {
    if (url === null) return undefined;
    const aborter = new AbortController();
    const mine = (asking.current = { pulse: live.pulses, isOut: true, again: false });
    const end = (take) => (answer) => {
      if (aborter.signal.aborted) return;
      take(answer);
      mine.isOut = false;
      if (mine.again) setTurn((n) => n + 1);
    };
    fetcher(url, aborter.signal).then(
      end((data) => setFound({ url, data, error: null })),
      end((error) => setFound((before) => ({ url, data: before.url === url ? before.data : null, error }))),
    );
    return () => aborter.abort();
  }, [url, turn]);
  useEffect(() => {
    if (every && !document.hidden && live.isConnected && pulses - asking.current.pulse >= every) reload();
  }, [pulses]);
  const isMine = found.url === url;
  return { data: isMine ? found.data : null, error: isMine ? found.error : null, reload };
}
