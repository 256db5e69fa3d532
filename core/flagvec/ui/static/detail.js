// Why a hit is a hit: the shares of its score, the shared words, and which word answers which.
import { el, marked, number } from "./dom.js";
import { NAMES, parts } from "./ranking.js";

// Stores compute in float32, and in other orders than numpy.
const TOLERANCE = 1e-4;

/** Fill a hit's panel.
 *  found: the server's explanation; weights: those of the sliders, null unless they order the hits. */
export function fill(panel, hit, found, weights, about) {
  panel.replaceChildren(
    ...[shares(hit, found, weights), shared(found, about), alignment(found, about), text(found)].filter(Boolean),
  );
}

/** Show the shares anew after the weights changed. */
export function refresh(panel, hit, found, weights) {
  panel.querySelector(".shares")?.replaceWith(shares(hit, found, weights));
}

const part = (title, ...content) => el("section", { class: "part" }, el("h4", {}, title), ...content);

/** Return what each representation adds. The sliders may have moved since the server explained. */
function partsNow(found, weights) {
  if (!weights) return found.parts;
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  return Object.entries(parts(found.scores, weights)).map(([name, amount]) => ({ name, amount, weight: weights[name] / total }));
}

function origin(one) {
  if (!one) return "–";
  if (Number.isFinite(one.weight)) return `× ${number(100 * one.weight, 0)} %`;
  return one.rank === null ? "not a candidate" : `rank ${one.rank}`;
}

function shares(hit, found, weights) {
  const now = partsNow(found, weights);
  const total = now.reduce((sum, one) => sum + one.amount, 0);
  const head = ["", "Score", now.some((one) => one.weight === null) ? "Rank" : "Share", "Adds"];
  const rows = Object.entries(found.scores).map(([name, score]) => {
    const one = now.find((each) => each.name === name);
    return el("tr", {},
      el("th", { scope: "row", class: name }, el("span", { class: "dot" }), NAMES[name]),
      el("td", {}, number(score, 4)),
      el("td", {}, origin(one)),
      el("td", {}, one ? number(one.amount, 5) : "–"));
  });
  const foot = el("tfoot", {}, el("tr", {},
    el("th", { scope: "row" }, "Together"), el("td"), el("td"), el("td", {}, el("b", {}, number(total, 5)))));
  const made = part("The score",
    el("table", { class: "numbers" },
      el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows), foot),
    Math.abs(total - hit.score) > TOLERANCE
      ? el("p", { class: "problem", role: "alert" },
        `The parts add up to ${number(total, 4)}, and the hit's score is ${number(hit.score, 4)}: the store has changed since the search. Search again.`)
      : "");
  made.classList.add("shares");
  return made;
}

function shared(found, about) {
  if (!about.representations.includes("sparse")) return null;
  if (!found.shared.length) return part("Shared words", el("p", { class: "note" }, "None: the sparse score is 0."));
  const largest = found.shared[0].product;
  const rows = found.shared.slice(0, 12).map((one) => el("tr", {},
    el("th", { scope: "row", dir: "auto" }, one.token),
    el("td", {}, number(one.query, 2)), el("td", {}, number(one.document, 2)),
    el("td", {}, el("span", { class: "meter", vars: { part: one.product / largest } }, number(one.product, 4)))));
  const head = ["Token", "Query", "Hit", "Product"].map((name) => el("th", { scope: "col" }, name));
  return part("Shared words", el("table", { class: "numbers" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

function alignment(found, about) {
  if (!about.representations.includes("colbert")) return null;
  const table = found.alignment;
  if (!table) return part("Which word answers which", el("p", { class: "note" }, "There are no ColBERT vectors to compare."));
  const values = table.table.flat();
  const low = Math.min(...values);
  const high = Math.max(...values, low + 1e-9);
  const heat = (value) => (value - low) / (high - low);
  const map = el("div", { class: "map" });
  const reader = el("div", { class: "reader" });
  const choose = (row) => {
    map.querySelectorAll("button").forEach((button, at) => button.setAttribute("aria-pressed", String(at === row)));
    reader.replaceChildren(...answer(table, row, heat, found));
  };
  const head = el("tr", {}, el("td"), table.columns.map((column) =>
    el("th", { scope: "col" }, el("span", { dir: "auto" }, clipped(table.words[column])))), el("th", { scope: "col", class: "adds" }, "adds"));
  const rows = table.query.map((one, row) => el("tr", {},
    el("th", { scope: "row" }, el("button", {
      type: "button", dir: "auto", "aria-pressed": "false", onclick: () => choose(row),
    }, clipped(one.word))),
    table.columns.map((column) => cell(table.table[row][column], heat, column === one.best)),
    el("td", { class: "adds" }, number(one.part, 5))));
  map.append(el("table", {},
    el("caption", { class: "hidden" }, "Similarity of each word of the query to words of the document; the best of each row is outlined"),
    el("thead", {}, head), el("tbody", {}, rows)));
  const sum = el("p", { class: "note" },
    `The outlined cell of a row is the word that answers it best. “adds” is its part of the ColBERT score, ${number(table.score, 4)}.`);
  const scroller = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Alignment; scrolls sideways" }, map);
  const made = part("Which word answers which", scroller, sum, reader);
  made.classList.add("wide");
  choose(0);
  return made;
}

const clipped = (word) => (word.length > 18 ? `${word.slice(0, 17)}…` : word);

const cell = (value, heat, best) =>
  el("td", { class: best ? "cell best" : "cell", vars: { heat: number(heat(value)) }, title: number(value, 2) },
    el("span", {}, number(value, 2)));

function answer(table, row, heat, found) {
  const one = table.query[row];
  const source = found.segments.map(([piece]) => piece).join("");
  const pieces = [];
  let at = 0;
  // Python counts characters, JavaScript code units.
  const characters = [...source];
  table.spans.forEach(([start, end, columns]) => {
    if (start < at) return;
    const value = Math.max(...columns.map((column) => table.table[row][column]));
    pieces.push(characters.slice(at, start).join(""));
    pieces.push(el("span", {
      class: columns.includes(one.best) ? "word best" : "word", vars: { heat: number(heat(value)) },
    }, characters.slice(start, end).join("")));
    at = end;
  });
  pieces.push(characters.slice(at).join(""));
  return [
    el("p", { class: "note" }, "“", el("b", { dir: "auto" }, one.word), "” is answered by “",
      el("b", { dir: "auto" }, table.words[one.best]), `” (${number(one.similarity, 2)}). The stronger its colour, the more similar a word is.`),
    el("p", { class: "whole", dir: "auto", tabindex: "0", role: "region", "aria-label": "The document, shaded by similarity" }, pieces),
    found.shown < found.characters ? el("p", { class: "note" }, `The first ${found.shown.toLocaleString("en")} of ${found.characters.toLocaleString("en")} characters.`) : null,
  ].filter(Boolean);
}

function text(found) {
  if (found.alignment) return null;
  const made = part("The document",
    el("p", { class: "whole", dir: "auto", tabindex: "0", role: "region", "aria-label": "The document" }, marked(found.segments)),
    found.shown < found.characters ? el("p", { class: "note" }, `The first ${found.shown.toLocaleString("en")} of ${found.characters.toLocaleString("en")} characters.`) : "");
  made.classList.add("wide");
  return made;
}
