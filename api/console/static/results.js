// Keys on the page of a result: a class's number marks it, Enter agrees with the model, arrows go on and back.
"use strict";

const marks = document.getElementById("mark");
const use = document.getElementById("use-keys");
const KEPT = "almanac.keys";

if (use) {
  document.getElementById("keys").classList.remove("invisible");
  try {
    use.checked = localStorage.getItem(KEPT) !== "off";
  } catch {
    // Nothing is kept in this browser: keys are on.
  }
  use.addEventListener("change", () => {
    try {
      localStorage.setItem(KEPT, use.checked ? "on" : "off");
    } catch {
      // It holds for this page then.
    }
  });
}

let sent = false;
document.addEventListener("keydown", (event) => {
  const at = event.target;
  const typing = at.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.altKey || event.metaKey || event.repeat || sent || (use && !use.checked)) {
    return;
  }
  const leads = { ArrowRight: "next", ArrowLeft: "previous" }[event.key];
  if (leads) {
    // Not where arrows already scroll something.
    if (!at.closest("[tabindex='0']")) {
      document.getElementById(leads)?.click();
    }
    return;
  }
  // Enter on a link or a button is for that.
  if (event.key === "Enter" && at.closest("a, button, summary, input")) {
    return;
  }
  const button = marks && [...marks.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
  if (button) {
    event.preventDefault();
    sent = true;
    marks.requestSubmit(button);
  }
});
window.addEventListener("pageshow", () => {
  sent = false;
});
