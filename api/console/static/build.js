// Follows a build: its log as it is written, and the page anew when it has ended.
"use strict";

{
  const SECOND = 1000;
  const building = document.getElementById("building");
  const log = document.getElementById("log");
  const said = document.getElementById("building-said");

  const look = async () => {
    let wait = SECOND;
    try {
      const answer = await fetch(building.dataset.model, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (answer.status === 401 || answer.status === 404) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const model = await answer.json();
      if (model.state !== "loading") return location.reload();
      const text = (model.build?.log ?? []).join("\n");
      if (text !== log.textContent) {
        const below = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
        log.textContent = text;
        if (below) log.scrollTop = log.scrollHeight;
      }
      const now = model.build?.started ? "It is being built: exported, proven equal to Keras, timed." : "It waits to be built.";
      if (said.textContent !== now) said.textContent = now;
    } catch {
      wait = 5 * SECOND; // the server is busy, or starts again
    }
    setTimeout(look, wait);
  };

  document.getElementById("building-again").hidden = true;
  setTimeout(look, SECOND);
}
