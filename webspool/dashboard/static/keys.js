// Keys: / to the search field, j and k through the rows, Enter opens, x selects, g and a letter goes, ? tells.
export function obeyKeys() {
  let before = "";
  const rows = () => [...document.querySelectorAll("[data-row]")];

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.classList.contains("at"));
    const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
    all[at]?.classList.remove("at");
    all[next].classList.add("at");
    all[next].scrollIntoView({ block: "nearest" });
    opener(all[next])?.focus({ preventScroll: true });
  }

  const here = () => document.querySelector("[data-row].at");
  const opener = (row) => row?.querySelector("a[data-open]") ?? row?.querySelector("a");
  const actions = {
    "/": () => document.querySelector("input[type=search]")?.focus(),
    "?": () => document.getElementById("keys")?.showModal(),
    j: () => move(1),
    k: () => move(-1),
    Enter: () => opener(here())?.click(),
    x: () => here()?.querySelector("input[type=checkbox]")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "Enter" && (event.target !== document.body || !here())) return;
    const was = before;
    before = event.key;
    if (was === "g") {
      const place = [...document.querySelectorAll("[data-letter]")].find((link) => link.dataset.letter === event.key);
      if (place) return place.click();
    }
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
}
