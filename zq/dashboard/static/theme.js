// Light, dark or as the system says, before the first paint: a page must not flash in the other one.
(() => {
  let kept = null;
  try {
    kept = localStorage.getItem("zq-theme");
  } catch {
    // Storage may be forbidden; then the system decides.
  }
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
