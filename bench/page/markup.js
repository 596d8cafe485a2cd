// Replaces lit-html on the naive page: templates are text, and rendering sets innerHTML.

class Markup {
  constructor(text) {
    this.text = text;
  }
}

export const nothing = new Markup("");

/** @param {Markup} value @param {HTMLElement} container */
export function render(value, container) {
  container.innerHTML = textOf(value);
}

export function html(strings, ...values) {
  const parts = partsOf(strings);
  let text = parts[0].text;
  for (let place = 0; place < values.length; place += 1) {
    text += bound(parts[place], values[place]) + parts[place + 1].text;
  }
  return new Markup(text);
}

const known = new WeakMap();

/** The text between values, and the binding of each value: an attribute, a property, or neither. */
function partsOf(strings) {
  let parts = known.get(strings);
  if (parts === undefined) {
    parts = strings.map((string) => {
      const [binding = "", kind = "", name = ""] = /(?<=\s)([@.]?)([\w-]+)=$/.exec(string) ?? [];
      return { text: string.slice(0, string.length - binding.length), binding, kind, name };
    });
    known.set(strings, parts);
  }
  return parts;
}

function bound({ binding, kind, name }, value) {
  if (binding === "") return textOf(value);
  if (kind === "@" || value === false && kind === ".") return ""; // Event listeners are left out.
  if (value === true && kind === ".") return name;
  return `${name}="${textOf(value)}"`;
}

function textOf(value) {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(textOf).join("");
  return value === null || value === undefined ? "" : escaped(String(value));
}

function escaped(text) {
  return /[&<"]/.test(text) ? text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;") : text;
}
