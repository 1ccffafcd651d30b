// What components are written with: tagged templates in place of a compiler. Text in them is always text, never markup.
import { Fragment, h, render } from "./vendor/preact.module.js";
import htm from "./vendor/htm.module.js";

export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.module.js";
export { Fragment, render };
export const html = htm.bind(h);
