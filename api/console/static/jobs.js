// Jobs: a count of what a filter matches while it is typed, and progress while it is made.
"use strict";

const figure = (number) => number.toLocaleString("en-US");

// The form.
const form = document.getElementById("job-form");
if (form) {
  const matches = document.getElementById("matches");
  document.getElementById("count").classList.add("invisible");
  let waiting = 0;
  let asked = 0;
  const count = async () => {
    const number = ++asked;
    const data = new FormData(form);
    for (const name of ["csrf_token", "key"]) {
      data.delete(name);
    }
    try {
      const answer = await fetch(`${form.dataset.count}?${new URLSearchParams(data)}`, { headers: { Accept: "application/json" } });
      const found = await answer.json();
      if (number === asked) {
        matches.textContent = found.text || found.wrong || "";
        matches.classList.toggle("text-danger-emphasis", !found.text);
      }
    } catch {
      if (number === asked) {
        matches.textContent = "The count cannot be asked for now.";
      }
    }
  };
  const later = () => {
    clearTimeout(waiting);
    waiting = setTimeout(count, 300);
  };
  form.addEventListener("input", later);
  form.addEventListener("taken", later);
  const around = form.closest("details");
  if (!around || around.open) {
    count();
  }
  around?.addEventListener("toggle", () => around.open && count());
}

// How far a job is, in whatever shows it.
const show = (place, job) => {
  const { total = null, done = 0, failed = 0, rows_per_second: rate = null } = job.progress ?? {};
  const put = (name, text) => {
    const element = place.querySelector(`[data-${name}]`);
    if (element && element.textContent !== text) {
      element.textContent = text;
    }
  };
  const bar = place.querySelector("[data-bar]");
  if (total) {
    bar.value = Math.floor((100 * Math.min(done, total)) / total);
  } else if (job.status === "succeeded") {
    bar.value = 100;
  }
  put("done", figure(done));
  put("total", total === null ? "–" : figure(total));
  put("failed", figure(failed));
  const running = job.status === "running";
  put("rate", rate && (running || job.ended) ? figure(Math.round(rate)) : "–");
  if (!job.follow) {
    put("left", running && rate && total !== null ? span((total - done) / rate) : "–");
  }
  return failed;
};

const span = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  return whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
};

const badges = { running: "primary", succeeded: "success", failed: "danger", paused: "warning" };
const name = (badge, state) => {
  if (badge && badge.textContent !== state) {
    badge.className = `badge text-bg-${badges[state] ?? "secondary"}`;
    badge.textContent = state;
  }
};

// One job: its events.
const one = document.getElementById("job");
if (one?.dataset.events) {
  document.querySelector("#more-failed button").addEventListener("click", () => location.reload());
  const events = new EventSource(one.dataset.events);
  const take = (job) => {
    const failed = show(one, job);
    if (job.status !== one.dataset.stateNow) {
      one.dataset.stateNow = job.status;
      name(document.querySelector("h1 [data-state]"), job.status);
      document.getElementById("told").textContent = `The job is ${job.status}.`;
      for (const step of document.querySelectorAll("[data-states]")) {
        step.hidden = !step.dataset.states.split(" ").includes(job.status);
      }
    }
    document.getElementById("more-failed").hidden = failed <= Number(one.dataset.failedShown);
  };
  events.addEventListener("progress", (event) => take(JSON.parse(event.data)));
  events.addEventListener("ended", (event) => {
    events.close();
    take(JSON.parse(event.data));
  });
  // Where too many listen already, it is asked now and then.
  const ask = async () => {
    try {
      const answer = await fetch(one.dataset.job, { headers: { Accept: "application/json" } });
      if (answer.ok) {
        const job = await answer.json();
        take(job);
        if (one.dataset.ended.split(" ").includes(job.status)) {
          return;
        }
      }
    } catch {
      // Asked again in a moment.
    }
    setTimeout(ask, 2000);
  };
  events.addEventListener("error", () => events.readyState === EventSource.CLOSED && ask());
}

// The list: those that have not ended, asked for together, while somebody looks.
const list = document.getElementById("jobs");
if (list) {
  const ended = list.dataset.ended.split(" ");
  const rows = new Map([...list.querySelectorAll("[data-job]")].map((row) => [row.dataset.job, row]));
  const going = () => [...rows].filter(([, row]) => !ended.includes(row.querySelector("[data-state]").textContent)).map(([id]) => id);
  const ask = async () => {
    const ids = going();
    if (!ids.length) {
      return;
    }
    if (!document.hidden) {
      const query = { where: JSON.stringify({ _id: { $in: ids } }), projection: JSON.stringify({ status: 1, progress: 1 }) };
      try {
        const answer = await fetch(`/api/v1/jobs?${new URLSearchParams(query)}`, { headers: { Accept: "application/json" } });
        for (const job of answer.ok ? (await answer.json())._items : []) {
          const row = rows.get(job._id);
          show(row, job);
          name(row.querySelector("[data-state]"), job.status);
        }
      } catch {
        // Asked again in a moment.
      }
    }
    setTimeout(ask, 2000);
  };
  setTimeout(ask, 1000);
}
