// Who serves this page: version, address, what may be done. One value for all components.
import { get } from "./api.js";
import { useEffect } from "./html.js";
import { live, useLive } from "./live.js";

export const session = { version: null, address: null, namespace: null, is_read_only: true };

/** Learns it, and again after each time the coordinator was away. */
export function useSession() {
  const { link, isConnected } = useLive();
  useEffect(() => {
    if (link !== "closed") get("/session").then((found) => Object.assign(session, found), () => {});
  }, [link, isConnected]);
  return session;
}

/** Whether buttons that change something are shown. */
export const mayAct = () => !session.is_read_only && live.isConnected;
