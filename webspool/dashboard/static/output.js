// The output of an attempt: fetched chunk by chunk after the last one known, so that nothing is missed or repeated.
// Unless one attempt was chosen, the next attempt's output follows when it begins.
// By the socket an answer comes when there is more; without one it is looked for every now and then.
import { ask, isConnected, settled, whenConnection } from "./socket.js";
import { Terminal } from "./terminal.js";

const BUSY_MS = 300;
const QUIET_MS = 1500;
const LOST_MS = 3000;

const box = document.querySelector("[data-output]");
if (box) new Follower(box).follow();

// `heard`, where it is set, is told every answer.
export function Follower(box) {
  const terminal = new Terminal(box);
  const mark = document.querySelector("[data-output-mark]");
  const state = document.querySelector("[data-output-state]");
  const scroll = document.querySelector("[data-output-follow] input");
  const words = { following: state.textContent, ended: box.dataset.ended, lost: box.dataset.lost };
  let attempt = box.dataset.attempt ?? "";
  let after = 0;
  let known = "";
  let begun = false;
  document.querySelector("[data-output-follow]").hidden = false;
  search(terminal);

  function tell(word) {
    mark.hidden = false;
    mark.classList.add("on");
    mark.classList.toggle("lost", word === "lost");
    state.textContent = words[word];
  }

  async function look() {
    return isConnected() ? await asked() : await fetched();
  }

  async function asked() {
    const told = await ask("output", { job: box.dataset.job, attempt, after, known }).catch((fault) => {
      if (fault.fault === "login_required") location.reload();
      throw fault;
    });
    take(told);
    return told;
  }

  async function fetched() {
    const query = new URLSearchParams({ after, ...(attempt && { attempt }) });
    const answer = await fetch(`${box.dataset.output}?${query}`, { redirect: "manual" });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const told = await answer.json();
    take(told);
    return told;
  }

  const take = (told) => {
    if (told.attempt) attempt = String(told.attempt);
    known = told.mark;
    if (told.chunks.length && !begun) {
      terminal.clear();
      begun = true;
    }
    for (const chunk of told.chunks) terminal.write(chunk.text);
    after = told.after;
    if (told.chunks.length && scroll.checked) box.scrollTop = box.scrollHeight;
    this.heard?.(told);
  };

  function pause(told) {
    if (told.more) return 0;
    if (told.ended && told.attempts > told.attempt && box.dataset.attempt === undefined) {
      if (begun) terminal.write(`\n── ${box.dataset.again} ${Number(told.attempt) + 1} ──\n`);
      attempt = String(Number(told.attempt) + 1);
      after = 0;
      known = "";
      return 0;
    }
    const over = told.ended && !told.chunks.length && (told.finished || box.dataset.attempt !== undefined);
    tell(told.ended ? "ended" : "following");
    return over ? null : isConnected() ? 0 : told.chunks.length ? BUSY_MS : QUIET_MS;
  }

  this.follow = async () => {
    let over = false;
    whenConnection((there) => over || tell(there ? "following" : "lost"));
    await settled();
    for (;;) {
      let wait;
      try {
        const told = await look();
        if (!told) return;
        wait = pause(told);
        over = wait === null;
        if (over) return;
      } catch {
        tell("lost");
        wait = LOST_MS;
      }
      await new Promise((go) => setTimeout(go, document.hidden ? Math.max(wait, QUIET_MS) : wait));
    }
  };
}

function search(terminal) {
  const field = document.querySelector("[data-output-search]");
  const input = field.querySelector("input");
  field.hidden = false;
  input.oninput = () => terminal.mark(input.value);
  input.onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    terminal.next(event.shiftKey ? -1 : 1);
  };
}
