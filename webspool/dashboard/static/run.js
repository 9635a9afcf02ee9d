// The Run page: the form is sent without leaving the page, and the lines of its own job arrive beside it.
import { Follower } from "./output.js";

const WAITING = ["scheduled", "blocked"];

const form = document.querySelector("[data-run]");
const box = document.querySelector("[data-terminal]");
const button = form.querySelector("button.primary");
const word = button.textContent;
const states = JSON.parse(box.dataset.states);

function busy(is) {
  button.disabled = is;
  button.textContent = is ? button.dataset.running : word;
}

function tell(faults) {
  const fault = form.querySelector("[data-fault]");
  fault.hidden = !Object.keys(faults).length;
  if (faults[""]) fault.querySelector("span").textContent = faults[""];
  for (const each of form.querySelectorAll(".fault-of")) {
    const why = faults[each.id.replace("fault-", "")];
    each.hidden = !why;
    each.textContent = why ?? "";
    each.closest(".field")?.classList.toggle("bad", Boolean(why));
  }
}

function show(state) {
  const mark = document.querySelector("[data-run-state]");
  mark.hidden = false;
  mark.className = `state ${state}`;
  mark.textContent = states[state] ?? state;
}

function follow(told) {
  const link = document.querySelector("[data-run-job]");
  link.href = told.page;
  link.hidden = false;
  document.querySelector("[data-run-error]").hidden = true;
  box.replaceChildren();
  box.dataset.job = told.job;
  box.dataset.output = told.output;
  const follower = new Follower(box);
  follower.heard = (answer) => {
    show(answer.state);
    if (WAITING.includes(answer.state)) busy(false);
    if (answer.finished && answer.ended && !answer.more) finish(answer);
  };
  follower.follow().finally(() => busy(false));
}

function finish(answer) {
  const error = document.querySelector("[data-run-error]");
  error.hidden = !answer.error;
  error.querySelector("span").textContent = answer.error ?? "";
  if (!box.textContent) box.textContent = box.dataset.none;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  busy(true);
  tell({});
  try {
    const answer = await fetch(form.action, {
      method: "POST", body: new FormData(form), headers: { Accept: "application/json" }, redirect: "manual",
    });
    if (answer.type === "opaqueredirect") return location.reload();
    const told = await answer.json();
    if (told.faults || !answer.ok) {
      tell(told.faults ?? { "": told.detail });
      return busy(false);
    }
    form.elements.once.value = told.once;
    follow(told);
  } catch (fault) {
    tell({ "": form.dataset.failed + fault.message });
    busy(false);
  }
});
