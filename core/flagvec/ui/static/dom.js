// Elements without HTML: strings become text nodes, so that no document can bring markup.

export const find = (id) => document.getElementById(id);

/** Return an element. Attributes that begin with "on" are listeners, "vars" are CSS variables. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "vars") setVars(made, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set CSS variables through the object model, which the content security policy allows. */
export function setVars(element, values) {
  for (const [name, value] of Object.entries(values)) element.style.setProperty(`--${name}`, String(value));
}

export const number = (value, digits = 3) =>
  Number.isFinite(value) ? value.toFixed(digits).replace(/^-(0\.0+)$/, "$1") : "–";

export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** Return a text's marked pieces as nodes. */
export const marked = (segments) =>
  segments.map(([text, weight]) => (weight > 0 ? el("mark", { vars: { weight } }, text) : text));
