// The choice of a ranking, the sliders, and the line of Python that says the same.
import { el, find, number } from "./dom.js";
import * as filters from "./filters.js";
import { NAMES, RANKINGS, pythonLine, used } from "./ranking.js";

const LARGEST = 2;

/** Draw the controls for what the store holds. */
export function setUpControls(state, { onWeight, onRanking }) {
  const held = state.about.representations;
  find("rankings").replaceChildren(...RANKINGS.map(({ id, label, needs }) => {
    const lacks = needs.filter((name) => !held.includes(name));
    const input = el("input", {
      type: "radio", name: "ranking", value: id, disabled: lacks.length > 0, onchange: () => onRanking(id),
    });
    const reason = lacks.length ? `This store holds no ${lacks.map((name) => NAMES[name]).join(" and ")} vectors` : null;
    return el("label", { title: reason }, input, el("span", {}, label));
  }));
  find("weights").replaceChildren(...Object.keys(state.weights).map((name) => slider(state, name, onWeight)));
  find("copy").addEventListener("click", copy);
  showControls(state);
}

/** Show the weights, the line of Python and what is wrong with them. */
export function showControls(state) {
  const { ranking, weights } = state;
  for (const input of find("rankings").querySelectorAll("input")) input.checked = input.value === ranking;
  find("ranking-note").textContent = RANKINGS.find(({ id }) => id === ranking).note;
  find("weights-section").classList.toggle("off", ranking !== "weights");
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  for (const [name, weight] of Object.entries(weights)) {
    const input = find(`weight-${name}`);
    if (!input) continue;
    input.disabled = ranking !== "weights" || Object.keys(weights).length < 2;
    const share = total ? Math.round((100 * weight) / total) : 0;
    input.setAttribute("aria-valuetext", `${number(weight, 2)}, ${share} % of the score`);
    input.style.setProperty("--fill", String(weight / Number(input.max)));
    find(`share-${name}`).textContent = ranking === "weights" ? `${share} %` : "";
    find(`output-${name}`).textContent = number(weight, 2);
  }
  const none = Object.keys(used(weights)).length === 0;
  find("weights-error").hidden = !none;
  find("weights-error").textContent = none ? "All weights are 0: give at least one a weight above 0." : "";
  find("line").textContent = pythonLine(ranking, weights);
  const conditions = filters.count();
  const label = RANKINGS.find(({ id }) => id === ranking).label;
  find("summary").textContent = conditions ? `${label} · ${conditions} in the filter` : label;
}

function slider(state, name, onWeight) {
  const weight = state.weights[name];
  const input = el("input", {
    type: "range", id: `weight-${name}`, min: 0, max: Math.max(LARGEST, Math.ceil(weight)), step: 0.01, class: name,
    oninput: (event) => onWeight(name, Number(event.target.value)),
    onkeydown: (event) => {
      // A hundredth a key would be too slow.
      const by = { ArrowLeft: -0.05, ArrowDown: -0.05, ArrowRight: 0.05, ArrowUp: 0.05 }[event.key];
      if (by === undefined || event.shiftKey) return;
      event.preventDefault();
      input.value = String(Math.round((Number(input.value) + by) * 100) / 100);
      onWeight(name, Number(input.value));
    },
  });
  input.value = String(weight);
  return el("div", { class: `weight ${name}` },
    el("label", { for: `weight-${name}` }, el("span", { class: "dot" }), NAMES[name]),
    el("span", { class: "share", id: `share-${name}` }), el("output", { for: `weight-${name}`, id: `output-${name}` }), input);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(find("line").textContent);
    find("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(find("line"));
    find("copy").textContent = "Selected";
  }
  setTimeout(() => { find("copy").textContent = "Copy"; }, 1500);
}
