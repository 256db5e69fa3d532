// The list of hits. An element stays the same hit's while the list is ordered anew, so that focus stays where it is.
import { counted, el, find, marked, number, setVars } from "./dom.js";
import { NAMES, parts } from "./ranking.js";

const cards = new Map();
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

/** Show hits in order.
 *  view: { weights: null unless they order the hits; before: the ranks to compare with, by id; onExplain; onFilter } */
export function showHits(hits, view) {
  const list = find("hits");
  const tops = new Map([...list.children].map((child) => [child, child.getBoundingClientRect().top]));
  const largest = Math.max(...hits.map((hit) => hit.score), 0);
  const shown = hits.map((hit, index) => {
    const card = cards.get(hit.id) ?? made(hit, view);
    cards.set(hit.id, card);
    update(card, hit, index + 1, largest, view);
    return card.item;
  });
  const focused = document.activeElement;
  list.replaceChildren(...shown);
  if (focused && list.contains(focused)) focused.focus({ preventScroll: true });
  if (!still.matches) glide(shown, tops);
}

/** Forget the hits of the search before. */
export function clearHits() {
  cards.clear();
  find("hits").replaceChildren();
}

/** Show grey cards while the first hits are on their way. */
export function showLoading() {
  clearHits();
  const bars = () => [el("i", {}), el("i", {}), el("i", {})];
  find("hits").replaceChildren(...[1, 2, 3, 4].map(() => el("li", { class: "hit skeleton", "aria-hidden": "true" }, bars())));
}

/** Put the cursor on the next or previous hit. */
export function step(by) {
  const toggles = [...find("hits").querySelectorAll(".why")];
  const item = document.activeElement?.closest(".hit");
  const at = toggles.findIndex((toggle) => toggle.closest(".hit") === item);
  const next = toggles[at < 0 ? 0 : Math.min(Math.max(at + by, 0), toggles.length - 1)];
  next?.focus();
  next?.closest(".hit").scrollIntoView({ block: "nearest" });
}

function glide(items, tops) {
  for (const item of items) {
    const before = tops.get(item);
    if (before === undefined) continue;
    const by = before - item.getBoundingClientRect().top;
    if (Math.abs(by) < 2000 && Math.abs(by) > 1) {
      item.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 180, easing: "ease-out" });
    }
  }
}

function made(hit, view) {
  const card = {
    rank: el("span", { class: "rank" }),
    moved: el("span", { class: "moved" }),
    score: el("span", { class: "score" }),
    bar: el("div", { class: "bar", "aria-hidden": "true" }),
    legend: el("ul", { class: "legend", "aria-label": "Scores" }),
    panel: el("div", { class: "panel", hidden: true }),
  };
  card.why = el("button", {
    type: "button", class: "why", "aria-expanded": "false", onclick: () => view.onExplain(hit.id, card),
  }, "Explain");
  const title = typeof hit.metadata.title === "string" ? hit.metadata.title : hit.id;
  card.why.setAttribute("aria-label", `Explain ${title}`);
  card.item = el("li", { class: "hit", "data-id": hit.id },
    el("div", { class: "head" }, card.rank, el("h3", { dir: "auto" }, title), card.moved, card.score),
    el("div", { class: "bars" }, card.bar, card.legend),
    el("p", { class: "snippet", dir: "auto" }, hit.cut_before ? "… " : null, marked(hit.segments), hit.cut_after ? " …" : null),
    el("div", { class: "foot" }, chips(hit, view), card.why),
    card.panel,
  );
  return card;
}

function chips(hit, view) {
  const fields = Object.entries(hit.metadata).filter(([name]) => name !== "title").slice(0, 8);
  const size = el("span", { class: "size" }, counted(hit.characters, "character"));
  return el("ul", { class: "chips", "aria-label": "Metadata" },
    fields.map(([name, value]) => el("li", {}, el("button", {
      type: "button", class: "chip", title: "Filter by this value", "aria-label": `Filter by ${name}: ${value}`,
      onclick: () => view.onFilter(name, value),
    }, el("b", { dir: "auto" }, name), " ", el("span", { dir: "auto" }, String(value))))),
    el("li", {}, size));
}

function update(card, hit, rank, largest, view) {
  const shares = view.weights ? parts(hit.scores, view.weights) : null;
  card.rank.textContent = String(rank);
  card.score.textContent = number(hit.score, 4);
  card.item.dataset.score = String(hit.score);
  const was = view.before?.get(hit.id);
  const by = was === undefined ? 0 : was - rank;
  card.moved.textContent = by === 0 ? "" : `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`;
  card.moved.className = `moved ${by > 0 ? "up" : "down"}`;
  const named = Object.entries(hit.scores);
  const pieces = shares ?? { [view.alone]: hit.score };
  card.bar.replaceChildren(...Object.entries(pieces).map(([name, value]) =>
    el("i", { class: name, vars: { part: Math.max(value, 0) / Math.max(largest, 1e-9) } })));
  card.bar.hidden = !shares && !(view.alone in NAMES);
  card.legend.replaceChildren(...named.map(([name, value]) => el("li", { class: name },
    el("span", { class: "dot" }), `${NAMES[name]} `, el("b", {}, number(value)))));
}
