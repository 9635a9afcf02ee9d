// The parts of a page marked data-live are asked for again when the ledger has changed, and replaced where they differ.
// Without a socket they are asked for again and again.
import { ask, isConnected, settled } from "./socket.js";

const EVERY_MS = 2000;
const AFTER_CHANGE_MS = 500;
const SLOWEST_MS = 30000;
const TOLD_EVERY_MS = 10000;

export function keepUpToDate() {
  const parts = () => [...document.querySelectorAll("[data-live][id]")];
  const mark = document.querySelector("[data-live-mark]");
  if (!parts().length) return;
  let wait = EVERY_MS;
  let version = "";
  mark?.classList.add("on");

  async function look() {
    if (document.hidden || document.querySelector("dialog[open]")) return;
    const begun = performance.now();
    const answer = await fetch(location.href, { headers: { "X-Webspool-Refresh": "1" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const replaced = parts().map((part) => replace(part, fresh.getElementById(part.id)));
    tell(replaced.reduce((sum, each) => sum + (each?.rows ?? 0), 0), replaced.find((each) => each?.title)?.title);
    document.dispatchEvent(new Event("webspool:fresh"));
    wait = Math.max(isConnected() ? AFTER_CHANGE_MS : EVERY_MS, 10 * (performance.now() - begun));
  }

  async function changed() {
    await settled();
    if (!isConnected()) return;
    version = (await ask("change", { version }).catch(() => ({ version }))).version;
  }

  async function round() {
    try {
      await look();
      mark?.classList.remove("lost");
    } catch {
      mark?.classList.add("lost");
      wait = Math.min(wait * 2, SLOWEST_MS);
    }
    setTimeout(() => changed().then(round), wait);
  }
  changed().then(round);
  document.addEventListener("visibilitychange", () => document.hidden || look().catch(() => {}));
}

// For those who do not see it: that rows have come, how a job stands now.
const heard = { rows: 0, at: -TOLD_EVERY_MS };

function tell(rows, title) {
  const place = document.querySelector("[data-heard]");
  heard.rows += rows;
  if (title) place.textContent = title;
  else if (heard.rows && performance.now() - heard.at > TOLD_EVERY_MS) {
    place.textContent = place.dataset.new.replace("{n}", heard.rows);
    Object.assign(heard, { rows: 0, at: performance.now() });
  }
}

function replace(part, fresh) {
  if (!fresh || same(part, fresh) || part.contains(document.activeElement) && document.activeElement.matches("input[type=text], input[type=search], textarea, select")) return;
  const chosen = new Set([...part.querySelectorAll("input:checked")].map((box) => box.value));
  const known = new Set([...part.querySelectorAll("[data-row][id]")].map((row) => row.id));
  const at = part.querySelector("[data-row].at")?.id;
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") ?? document.activeElement.value : null;
  const scrolled = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  part.replaceChildren(...document.adoptNode(fresh).childNodes);
  part.querySelectorAll(".scroll").forEach((box, number) => { box.scrollLeft = scrolled[number] ?? 0; });
  for (const box of part.querySelectorAll("input[type=checkbox]")) box.checked = chosen.has(box.value);
  let rows = 0;
  for (const row of part.querySelectorAll("[data-row][id]")) {
    const arrived = !known.has(row.id);
    rows += arrived;
    row.classList.toggle("fresh", arrived);
    row.classList.toggle("at", row.id === at);
  }
  if (focused) [...part.querySelectorAll("a, input, button")].find((each) => (each.getAttribute("href") ?? each.value) === focused)?.focus({ preventScroll: true });
  return { rows, title: part.querySelector("h1")?.textContent.trim().replace(/\s+/g, " ") };
}

// Marks that only the browser sets are no change.
function same(part, fresh) {
  const plain = (node) => {
    const copy = node.cloneNode(true);
    for (const row of copy.querySelectorAll("[data-row]")) row.classList.remove("at", "fresh");
    return copy.innerHTML.replaceAll(' class=""', "");
  };
  return plain(part) === plain(fresh);
}
