// The line on top that says that the store is away, and asks until it is back.
import { ask } from "./api.js";
import { el, find } from "./dom.js";

const FIRST_PAUSE = 2;
const LONGEST_PAUSE = 15;

let timer = null;
let pause = FIRST_PAUSE;
let recovered = () => {};

/** Show what is away, and call `back` once it answers again. */
export function showAway(problem, back) {
  recovered = back;
  if (find("banner").hidden) pause = FIRST_PAUSE;
  const title = problem.kind === "away" ? "The store is away" : "flagvec ui has stopped";
  find("banner").replaceChildren(
    el("div", {}, el("strong", {}, `${title}. `), el("span", { class: "reason", dir: "auto" }, problem.message)),
    el("span", { class: "pulse" }, "Trying again by itself"),
    el("button", { type: "button", class: "small", onclick: () => tryNow() }, "Try now"),
  );
  find("banner").hidden = false;
  document.body.dataset.store = "away";
  clearTimeout(timer);
  timer = setTimeout(tryNow, pause * 1000);
  pause = Math.min(pause * 1.5, LONGEST_PAUSE);
}

/** Show that everything answers. */
export function showBack() {
  clearTimeout(timer);
  find("banner").hidden = true;
  document.body.dataset.store = "here";
}

async function tryNow() {
  clearTimeout(timer);
  try {
    const about = await ask("store");
    showBack();
    recovered(about);
  } catch (problem) {
    showAway(problem, recovered);
  }
}
