// What a page does by itself: it stays up to date, obeys keys, keeps the theme, counts what is selected.
import { keepUpToDate } from "./live.js";
import { obeyKeys } from "./keys.js";

const page = document.documentElement;

function keepTheme() {
  const button = document.querySelector("[data-theme-toggle]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = page.dataset.theme ? page.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    page.dataset.theme = dark ? "light" : "dark";
    document.cookie = `webspool_theme=${page.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  });
}

function countSelected() {
  const form = document.querySelector("[data-selection]");
  const all = form?.querySelector("[data-all]");
  if (!all) return;
  const told = form.querySelector("[data-selected]");
  const word = told.textContent;
  const boxes = () => [...form.querySelectorAll("input[name=id]")];
  const show = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
    told.textContent = chosen ? `${word}: ${chosen}` : word;
  };
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    show();
  });
  form.addEventListener("change", (event) => event.target !== all && show());
  document.addEventListener("webspool:fresh", show);
}

function offerCopies() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("succeeded");
    });
  }
}

function forgetWhatWasTold() {
  const here = new URL(location.href);
  if (here.searchParams.has("told")) {
    here.searchParams.delete("told");
    history.replaceState(null, "", here);
  }
}

document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
keepTheme();
countSelected();
offerCopies();
forgetWhatWasTold();
keepUpToDate();
obeyKeys();
