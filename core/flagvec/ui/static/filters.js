// The filter: rows of conditions, or JSON. Both give the portable filter of flagvec.
import { el, find } from "./dom.js";

const OPERATORS = [
  ["eq", "is"], ["ne", "is not"], ["in", "is one of"], ["not in", "is none of"], ["gt", ">"], ["gte", "≥"],
  ["lt", "<"], ["lte", "≤"], ["exists", "exists"], ["missing", "is missing"],
];
const PLAIN = OPERATORS.map(([name]) => name);

let rows = [];
let isJson = false;
let json = "";
let changed = () => {};
const fields = new Set();

/** Draw the filter, and call `onChange` when it changes. */
export function setUp(onChange) {
  changed = onChange;
  find("filter-form").addEventListener("click", toggle);
  draw();
}

/** Return the filter: null for none. Throws a SyntaxError for JSON that is not valid. */
export function current() {
  if (isJson) return json.trim() ? parsed(json) : null;
  const parts = rows.filter(isWhole).map((row) => ({ [row.field.trim()]: condition(row) }));
  if (parts.length < 2) return parts[0] ?? null;
  return { and: parts };
}

/** Add a condition; without a value, the cursor goes to its field. */
export function add(field = "", value = "") {
  if (isJson && !toRows()) return;
  isJson = false;
  rows = rows.filter((row) => row.field || row.value);
  rows.push({ field, operator: "eq", value: value === "" ? "" : written(value) });
  draw();
  if (field) changed();
  else find("filter").querySelector(".row:last-of-type input")?.focus();
}

/** Offer the names of metadata that hits have. */
export function offer(names) {
  names.forEach((name) => fields.add(name));
  find("fields")?.replaceChildren(...[...fields].sort().map((name) => el("option", { value: name })));
}

/** Show what is wrong with the filter; null for nothing. */
export function showError(message) {
  find("filter-error").hidden = !message;
  find("filter-error").textContent = message ?? "";
  for (const input of find("filter").querySelectorAll("textarea, input")) {
    if (message) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

export const count = () => {
  try {
    const filter = current();
    return filter === null ? 0 : (filter.and?.length ?? 1);
  } catch {
    return 0;
  }
};

/** Return whether a row says something yet. Two quotes are the empty text. */
const isWhole = ({ field, operator, value }) =>
  field.trim() !== "" && (value.trim() !== "" || operator === "exists" || operator === "missing");

function condition({ operator, value }) {
  if (operator === "exists" || operator === "missing") return { exists: operator === "exists" };
  if (operator === "in" || operator === "not in") return { [operator]: value.split(",").map((one) => read(one.trim())) };
  return { [operator]: read(value.trim()) };
}

/** Return what a typed value means: a number, true or false, else a text. Quotes make anything a text. */
function read(text) {
  if (/^".*"$/s.test(text)) return text.slice(1, -1);
  if (text === "true" || text === "false") return text === "true";
  return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text) ? Number(text) : text;
}

/** Return a value as it is typed, so that `read` gives the value again. */
const written = (value) => (typeof value === "string" && read(value) !== value ? `"${value}"` : String(value));

function meaning({ operator, value }) {
  if (operator === "exists" || operator === "missing" || value === "") return "";
  const one = read(value.split(",")[0].trim());
  if (typeof one === "string") {
    return ["gt", "gte", "lt", "lte"].includes(operator) ? "a date, like 2024-05-17" : "a text";
  }
  return typeof one === "number" ? 'a number; "…" makes it a text' : 'true or false; "…" makes it a text';
}

function parsed(text) {
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new SyntaxError('the filter is not an object: write one like {"lang": "en"}');
  }
  return value;
}

function toggle() {
  if (isJson) {
    if (!toRows()) return;
    isJson = false;
  } else {
    const filter = current();
    json = filter === null ? "" : JSON.stringify(filter, null, 1);
    isJson = true;
  }
  showError(null);
  draw();
  find("filter").querySelector("textarea, input")?.focus();
}

/** Make rows of the JSON; return whether rows can say it. */
function toRows() {
  try {
    const filter = json.trim() ? parsed(json) : {};
    const parts = Array.isArray(filter.and) && Object.keys(filter).length === 1 ? filter.and : [filter];
    rows = parts.flatMap((part) => Object.entries(part)).flatMap(([field, item]) => rowsOf(field, item));
    return true;
  } catch (error) {
    showError(error instanceof RangeError ? "Rows cannot say this filter: it stays JSON." : `Not JSON: ${error.message}`);
    return false;
  }
}

function rowsOf(field, item) {
  if (["and", "or", "not"].includes(field.replace("$", ""))) throw new RangeError(field);
  const operators = item !== null && typeof item === "object" && !Array.isArray(item) ? item : { eq: item };
  return Object.entries(operators).map(([name, value]) => {
    const operator = name === "exists" && value === false ? "missing" : name.replace("$", "");
    if (!PLAIN.includes(operator) || (value !== null && typeof value === "object" && !Array.isArray(value))) {
      throw new RangeError(name);
    }
    return { field, operator, value: Array.isArray(value) ? value.map(written).join(", ") : written(value) };
  });
}

function draw() {
  find("filter-form").textContent = isJson ? "Edit as rows" : "Edit as JSON";
  find("filter-form").setAttribute("aria-pressed", String(isJson));
  find("filter").replaceChildren(...(isJson ? [area()] : [...rows.map(row), datalist(), adder()]));
}

const area = () => {
  const made = el("textarea", {
    rows: 6, spellcheck: "false", "aria-label": "Filter as JSON", "aria-describedby": "filter-error",
    placeholder: '{"lang": "en", "year": {"gte": 2020}}',
    oninput: (event) => { json = event.target.value; }, onchange: changed,
  });
  made.value = json;
  return made;
};

const datalist = () => el("datalist", { id: "fields" }, [...fields].sort().map((name) => el("option", { value: name })));

const adder = () => el("button", { type: "button", class: "quiet small add", onclick: () => add() }, "＋ Add a condition");

function row(one, index) {
  const name = `Condition ${index + 1}`;
  const hint = el("span", { class: "meaning", id: `meaning-${index}` }, meaning(one));
  const update = (key) => (event) => {
    one[key] = event.target.value;
    hint.textContent = meaning(one);
  };
  const field = el("input", {
    list: "fields", placeholder: "field", "aria-label": `${name}: field`, oninput: update("field"), onchange: changed,
  });
  field.value = one.field;
  const operator = el("select", {
    "aria-label": `${name}: operator`,
    onchange: (event) => { update("operator")(event); draw(); changed(); },
  }, OPERATORS.map(([value, label]) => el("option", { value, selected: value === one.operator }, label)));
  const value = el("input", {
    placeholder: "value", "aria-label": `${name}: value`, "aria-describedby": `meaning-${index} filter-error`,
    oninput: update("value"), onchange: changed, hidden: one.operator === "exists" || one.operator === "missing",
  });
  value.value = one.value;
  const remove = el("button", {
    type: "button", class: "quiet round small", "aria-label": `Remove condition ${index + 1}`,
    onclick: () => { rows.splice(index, 1); draw(); changed(); find("filter").querySelector(".add")?.focus(); },
  }, "×");
  return el("div", { class: "row", role: "group", "aria-label": name }, field, operator, remove, value, hint);
}
