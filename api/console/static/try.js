// Asks without leaving the page, so that what was drawn or typed stays; without this the form does the same.
"use strict";

{
  const form = document.getElementById("try");
  const answer = document.getElementById("answer");
  const button = document.getElementById("predict");
  let asked = 0;

  const say = (text) => {
    const said = document.createElement("p");
    said.className = "alert alert-danger";
    said.setAttribute("role", "alert");
    said.textContent = text;
    answer.replaceChildren(said);
  };

  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    answer.setAttribute("aria-busy", "true");
    try {
      const got = await fetch(form.action, {
        method: "POST",
        body: new FormData(form),
        headers: { Accept: "text/html", "X-Part": "answer" },
      });
      if (got.redirected) return location.assign(got.url); // to the log-in page
      if (got.headers.get("X-Part") === "answer") {
        answer.innerHTML = await got.text(); // made by this server, of escaped parts
      } else if (got.status === 503 || got.status === 429) {
        say("The server has too much to do just now. Wait a moment, then press Predict again.");
      } else {
        say(`It did not work (${got.status}). Load the page again.`);
      }
    } catch {
      say("The server could not be reached. Look whether it runs, then press Predict again.");
    } finally {
      button.disabled = false;
      answer.removeAttribute("aria-busy");
      answer.dataset.asked = ++asked;
    }
  });

  // An image that is only sent: shown, and taken when it is dropped.
  for (const drop of document.querySelectorAll(".drop:not([data-draws])")) {
    const file = drop.querySelector("input[type=file]");
    const image = drop.querySelector("img");
    file.addEventListener("change", () => {
      const [chosen] = file.files;
      image.hidden = !chosen;
      if (!chosen) return;
      const reader = new FileReader();
      reader.addEventListener("load", () => (image.src = reader.result));
      reader.readAsDataURL(chosen);
    });
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!event.dataTransfer.files.length) return;
      file.files = event.dataTransfer.files;
      file.dispatchEvent(new Event("change"));
    });
  }
}
