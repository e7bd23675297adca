// Times that are typed: shown and taken in the reader's zone, sent in UTC. Without a script they are UTC.
"use strict";

for (const field of document.querySelectorAll("input[data-utc]")) {
  const sent = document.createElement("input");
  sent.type = "hidden";
  sent.name = field.name;
  field.removeAttribute("name");
  field.after(sent);
  const given = field.getAttribute("value");
  const time = given ? new Date(/(Z|[+-]\d\d:\d\d)$/.test(given) ? given : `${given}Z`) : null;
  if (time && !Number.isNaN(time.getTime())) {
    const local = new Date(time.getTime() - time.getTimezoneOffset() * 60000);
    field.value = local.toISOString().slice(0, 19);
  }
  const take = () => {
    const chosen = field.value ? new Date(field.value) : null;
    sent.value = chosen && !Number.isNaN(chosen.getTime()) ? chosen.toISOString() : "";
    // Those who look at what is typed hear of the field that is sent.
    field.form?.dispatchEvent(new Event("taken"));
  };
  field.addEventListener("input", take);
  take();
  const hint = document.getElementById(`${field.id}-hint`);
  if (hint) {
    hint.textContent = `in your time, ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
  }
}
