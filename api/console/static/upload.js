// Uploads a model by the API, so that it can be seen how far it is; without this the form does the same.
"use strict";

{
  const form = document.getElementById("upload-form");
  const element = (name) => document.getElementById(`upload-${name}`);
  const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

  const show = (message, issues) => {
    const problem = element("problem");
    problem.replaceChildren();
    const said = document.createElement("p");
    said.className = "mb-0 fw-semibold";
    said.textContent = message;
    const list = document.createElement("ul");
    list.className = "mb-0";
    for (const [place, reason] of Object.entries(issues ?? {})) {
      const item = document.createElement("li");
      item.textContent = `${place}: ${reason}`;
      list.append(item);
      element(place)?.setAttribute("aria-invalid", "true");
    }
    problem.append(said, list);
    problem.hidden = false;
    element("progress").hidden = true;
    element("said").textContent = "";
    element("button").disabled = false;
    element(Object.keys(issues ?? {})[0])?.focus();
  };

  const body = () => {
    const sent = new FormData();
    for (const [name, value] of new FormData(form)) {
      const there = typeof value === "string" ? value.trim() : value.name;
      if (there && name !== "csrf_token") sent.append(name, typeof value === "string" ? there : value);
    }
    return sent;
  };

  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    element("problem").hidden = true;
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (at) => {
      if (!at.lengthComputable) return;
      element("progress").value = (100 * at.loaded) / at.total;
      element("said").textContent = `${megabytes(at.loaded)} of ${megabytes(at.total)} MB`;
    });
    request.upload.addEventListener("load", () => {
      element("said").textContent = "It is being stored ...";
    });
    request.addEventListener("error", () => {
      show("The server could not be reached, or the file changed meanwhile. Choose it again and try once more.");
    });
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // Not from Almanac: its status is all there is to say.
      }
      if (request.status === 201) {
        location.assign(`/console/models/${encodeURIComponent(answer.name)}?version=${answer.version}`);
      } else if (request.status === 401) {
        show("You are not logged in any more. Log in in another window, then upload it here.");
      } else {
        const message = answer._error?.message ?? `It was refused (${request.status})`;
        show(`${message[0].toUpperCase()}${message.slice(1)}.`, answer._issues);
      }
    });
    element("button").disabled = true;
    element("progress").hidden = false;
    element("progress").value = 0;
    element("said").textContent = "";
    request.open("POST", "/api/v1/models");
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRF-Token", document.querySelector("meta[name=csrf-token]").content);
    request.send(body());
  });
}
