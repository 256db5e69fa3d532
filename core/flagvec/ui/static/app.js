// The page: what is asked for, what is shown, and when.
import { ask } from "./api.js";
import { showAway, showBack } from "./banner.js";
import { setUpControls, showControls } from "./controls.js";
import { fill, refresh } from "./detail.js";
import { counted, el, find, number } from "./dom.js";
import * as filters from "./filters.js";
import { clearHits, showHits, showLoading, step } from "./hits.js";
import { fused, options, ranked, used } from "./ranking.js";

const REST = 350;
const SLOW = 1500;
const PAGE = 10;

const state = {
  about: null, ranking: "weights", weights: {}, query: "", hits: [], pool: new Map(), before: null, limit: PAGE,
  // The question that the store's hits answer, and the open panel with the explanation that it shows.
  asked: null, open: null, running: null, rest: null,
  // Whether a query came before the store was described.
  isEager: false,
};

const weighing = () => state.ranking === "weights";
const depth = () => state.about?.candidates ?? 100;

function show() {
  const hits = state.hits.slice(0, state.limit);
  showHits(hits, {
    weights: weighing() ? used(state.weights) : null,
    alone: state.ranking === "rerank" ? "colbert" : state.ranking,
    before: state.before, onExplain: explain, onFilter: (name, value) => filters.add(name, value),
  });
  const more = state.hits.length - hits.length;
  find("more").hidden = more <= 0;
  find("more").textContent = `Show ${Math.min(more, PAGE)} more`;
  if (state.open) {
    const hit = state.hits.find((one) => one.id === state.open.id);
    if (hit && state.open.found) refresh(state.open.card.panel, hit, state.open.found, weighing() ? used(state.weights) : null);
  }
}

/** Ask for hits, and let nothing but the last question have an answer. */
async function request(body) {
  state.running?.abort();
  clearTimeout(state.rest);
  const running = new AbortController();
  state.running = running;
  const slow = setTimeout(() => {
    find("status").textContent = "The store is slow: still searching …";
    find("cancel").hidden = false;
  }, SLOW);
  find("results").setAttribute("aria-busy", "true");
  try {
    return await ask("search", body, running.signal);
  } finally {
    clearTimeout(slow);
    if (state.running === running) {
      state.running = null;
      find("cancel").hidden = true;
      find("results").setAttribute("aria-busy", "false");
    }
  }
}

/** Return the question; null if the filter cannot be read, which is shown. */
function question(weights) {
  try {
    const filter = filters.current();
    return { query: state.query, filter, limit: depth(), candidates: depth(), ...options(state.ranking, weights) };
  } catch (error) {
    filters.showError(`Not JSON: ${error.message}`);
    return null;
  }
}

const hasWeight = () => !weighing() || Object.keys(used(state.weights)).length > 0;

async function search() {
  if (!state.about) {
    state.isEager = true;
    return;
  }
  state.query = find("query").value.trim();
  if (!state.query || !hasWeight()) return;
  // Scores of every representation let each slider move without another question.
  const every = Object.fromEntries(Object.entries(state.weights).map(([name, weight]) => [name, weight || 1]));
  const body = question(every);
  if (body === null) return;
  if (!state.hits.length) showLoading();
  find("empty").replaceChildren();
  find("check").textContent = "";
  await asked(body, (answer) => {
    filters.showError(null);
    clearHits();
    Object.assign(state, { asked: body, open: null, before: null, limit: PAGE });
    state.pool = new Map(answer.hits.map((hit) => [hit.id, hit]));
    state.hits = weighing() ? ranked(state.pool.values(), state.weights) : answer.hits;
    filters.offer(answer.hits.flatMap((hit) => Object.keys(hit.metadata)));
    show();
    said(answer);
    if (!answer.hits.length) showEmpty();
    if (weighing() && Object.values(state.weights).includes(0)) confirm();
  });
}

/** Let the store rank with the weights that the page has used already. */
async function confirm() {
  const body = question(state.weights);
  if (body === null || !state.query || !hasWeight()) return;
  const expected = new Map(state.hits.map((hit) => [hit.id, hit.score]));
  find("check").textContent = "Asking the store …";
  await asked(body, (answer) => {
    const off = answer.hits.filter((hit) => expected.has(hit.id)).map((hit) => Math.abs(hit.score - expected.get(hit.id)));
    const fresh = answer.hits.slice(0, state.limit).filter((hit) => !expected.has(hit.id)).length;
    state.hits = answer.hits.map((hit) => {
      const scores = { ...state.pool.get(hit.id)?.scores, ...hit.scores };
      const whole = { ...hit, scores };
      state.pool.set(hit.id, whole);
      return whole;
    });
    state.before = new Map(state.hits.map((hit, index) => [hit.id, index + 1]));
    show();
    said(answer);
    find("check").dataset.off = String(Math.max(0, ...off));
    find("check").textContent = fresh ? `The store added ${counted(fresh, "hit")}` : "The store agrees";
  });
}

async function asked(body, use) {
  try {
    const answer = await request(body);
    showBack();
    use(answer);
  } catch (problem) {
    failed(problem);
  }
}

function failed(problem) {
  if (problem.name === "AbortError") return;
  find("check").textContent = "";
  if (!state.hits.length) clearHits();
  if (problem.kind === "away" || problem.kind === "stopped") {
    find("status").textContent = state.hits.length ? "These hits are from before." : "";
    showAway(problem, cameBack);
  } else if (problem.argument === "filter") {
    find("status").textContent = "The filter is not valid.";
    find("controls").open = true;
    filters.showError(problem.message);
  } else {
    if (problem.kind !== "refused") throw problem;
    clearHits();
    state.hits = [];
    find("status").textContent = "";
    find("empty").replaceChildren(el("div", { role: "alert" }, el("h2", {}, "This search is refused"), el("p", { dir: "auto" }, problem.message)));
  }
}

function cameBack(about) {
  described(about);
  if (find("query").value.trim()) search();
}

function said({ hits, milliseconds: { encode, search: found } }) {
  const many = hits.length === depth() ? `The best ${hits.length}` : counted(hits.length, "hit");
  find("status").textContent = hits.length ? `${many} · ${number(encode, 0)} ms to encode · ${number(found, 0)} ms to search` : "No hits";
}

function showEmpty() {
  const filtered = filters.count() > 0;
  const reason = filtered
    ? "No document meets the filter and fits the query. Remove a condition, or use other words."
    : state.about.documents === 0 ? "The store is empty: flagvec ingest fills it."
      : "No document has a token in common with the query. Another ranking may find some.";
  find("empty").replaceChildren(el("h2", {}, "Nothing found"), el("p", {}, reason));
}

function showWelcome() {
  const { documents, representations } = state.about;
  const key = (name, does) => el("span", {}, el("kbd", {}, name), ` ${does}`);
  const weighed = representations.includes("sparse")
    ? "Type a query, then move the weights and watch the ranking follow."
    : "This store holds dense vectors only, so that there is nothing to weigh.";
  find("empty").replaceChildren(
    el("h2", {}, documents ? `Search ${counted(documents, "document")}` : "The store is empty"),
    el("p", {}, documents ? weighed : "flagvec ingest fills it."),
    el("p", { class: "keys" }, key("/", "query"), key("w", "weights"), key("f", "filter"), key("?", "all shortcuts")));
}

async function explain(id, card) {
  const isOpen = state.open?.id === id;
  close();
  const before = state.hits.find((one) => one.id === id);
  if (isOpen || !before || !hasWeight()) return;
  state.open = { id, card };
  card.why.setAttribute("aria-expanded", "true");
  card.why.textContent = "Close";
  card.item.classList.add("open");
  card.panel.hidden = false;
  card.panel.replaceChildren(el("p", { class: "note", role: "status" }, "Reading the document …"));
  try {
    // The sliders order the hits without another search.
    const now = typeof state.asked.fusion === "object" ? options("weights", state.weights) : {};
    const found = await ask("explain", { ...state.asked, ...now, id, score: before.score });
    const hit = state.hits.find((one) => one.id === id);
    if (state.open?.card !== card || !hit) return;
    state.open.found = found;
    fill(card.panel, hit, found, weighing() ? used(state.weights) : null, state.about);
  } catch (problem) {
    card.panel.replaceChildren(el("p", { class: "problem", role: "alert", dir: "auto" }, problem.message));
    if (problem.kind !== "refused") showAway(problem, cameBack);
  }
}

function close() {
  if (!state.open) return;
  const { card } = state.open;
  card.why.setAttribute("aria-expanded", "false");
  card.why.textContent = "Explain";
  card.item.classList.remove("open");
  card.panel.hidden = true;
  card.panel.replaceChildren();
  state.open = null;
}

function weighed(name, weight) {
  state.weights[name] = weight;
  showControls(state);
  state.running?.abort();
  clearTimeout(state.rest);
  if (!hasWeight() || !state.query) return;
  if (!state.before) state.before = new Map(state.hits.map((hit, index) => [hit.id, index + 1]));
  state.hits = ranked(state.pool.values(), state.weights);
  show();
  find("check").textContent = "Ranked in the page";
  state.rest = setTimeout(confirm, REST);
}

function described(about) {
  const isFirst = state.about === null;
  state.about = about;
  if (isFirst) {
    state.ranking = about.ranking;
    state.weights = { ...about.weights };
    setUpControls(state, { onWeight: weighed, onRanking: (ranking) => { state.ranking = ranking; showControls(state); search(); } });
    showWelcome();
    if (state.isEager) search();
  }
  find("store").replaceChildren(
    el("span", { class: "light", "aria-hidden": "true" }),
    el("b", { dir: "auto", title: about.name }, about.name),
    el("span", { class: "facts" }, `${counted(about.documents, "document")} · ${about.model.split("/").pop()}`));
  document.title = `${about.name} · flagvec`;
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || find("shortcuts").open) return;
  const typing = event.target.matches("input:not([type=range]):not([type=radio]), textarea, select");
  if (event.key === "Escape") {
    const { card } = state.open ?? {};
    close();
    card?.why.focus();
    return;
  }
  if (typing) return;
  const actions = {
    "/": () => { find("query").focus(); find("query").select(); },
    j: () => step(1), k: () => step(-1),
    w: () => { find("controls").open = true; find("weights").querySelector("input")?.focus(); },
    f: () => { find("controls").open = true; filters.add(); },
    "?": () => find("shortcuts").showModal(),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
}

function setUp() {
  find("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  find("cancel").addEventListener("click", () => {
    state.running?.abort();
    if (!state.hits.length) clearHits();
    find("status").textContent = "Cancelled";
  });
  find("more").addEventListener("click", () => {
    const next = state.limit;
    state.limit += PAGE;
    show();
    find("hits").children[next]?.querySelector(".why")?.focus();
  });
  find("help").addEventListener("click", () => find("shortcuts").showModal());
  find("close-shortcuts").addEventListener("click", () => find("shortcuts").close());
  document.addEventListener("keydown", pressed);
  filters.setUp(() => { showControls(state); if (state.query) search(); });
  const narrow = window.matchMedia("(max-width: 820px)");
  find("controls").open = !narrow.matches;
  narrow.addEventListener("change", () => { find("controls").open = !narrow.matches; });
  ask("store").then((about) => { showBack(); described(about); }, (problem) => showAway(problem, cameBack));
}

setUp();
