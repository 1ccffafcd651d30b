// Says so when a file of the page did not come, or a script failed before anything was drawn.
(() => {
  let reason = "";

  const tell = () => {
    const boot = document.getElementById("boot"); // there until something is drawn
    if (!reason || !boot) return;
    boot.classList.add("is-late");
    document.getElementById("boot-what").textContent = reason;
  };

  const listener = (event) => {
    if (event.target instanceof HTMLScriptElement) reason = `${new URL(event.target.src).pathname}, or what it needs, could not be loaded.`;
    else if (event instanceof ErrorEvent) reason = `The page could not start: ${event.message}.`;
    tell();
  };
  addEventListener("error", listener, true); // errors of elements do not bubble
  addEventListener("DOMContentLoaded", tell);
  addEventListener("click", (event) => {
    if (event.target.id !== "boot-again") return;
    event.preventDefault(); // the link alone would forget which page it was
    location.reload();
  });
})();
