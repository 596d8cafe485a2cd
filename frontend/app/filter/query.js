// The query box: `user:alice util<5 host~dgx -state:stale "two words"` to terms, and back; pure.

import { canonicalWord } from "../state/states.js";

/** What a term found at hosts, by their names. @typedef {Map<string, { sources: unknown[], found: boolean[] }>} Memory */

/**
 * One condition; all of a query must hold. `text` and `wanted` are folded for comparison; `memory`
 * belongs to match.js.
 * @typedef {{ negate: boolean, field: string, op: string, text: string, wanted: number, memory?: { host: Memory, gpus: Memory } }} Term
 */

/** What a query means, and the parts of it that mean nothing. @typedef {{ terms: Term[], unknown: string[] }} Query */

const TOKEN = /(?:[^\s"]|"[^"]*"?)+/g;
const CONDITION = /^([a-z_]+)([:~=]|[<>]=?)(.*)$/is;
const NUMBER = /^(\d+\.?\d*|\.\d+)(%|w|c|°c?|g(i?b)?)?$/;
/** What a GPU is asked for by its texts, and by its numbers. */
const TEXT_FIELDS = ["user", "model", "job", "container", "command", "pid"];
const NUMBER_FIELDS = ["util", "mem", "free", "temp", "power", "gpus"];

/**
 * Any text is a query: what is not understood is named and otherwise left out.
 * @param {string} text
 * @returns {Query}
 */
export function parse(text) {
  /** @type {Query} */
  const query = { terms: [], unknown: [] };
  for (const token of text.match(TOKEN) ?? []) {
    const term = termOf(token);
    if (term === null) query.unknown.push(token);
    else if (term.field !== "" || term.text !== "") query.terms.push(term);
  }
  return query;
}

/** @param {string} token */
function termOf(token) {
  const negate = token.length > 1 && token.startsWith("-");
  const rest = negate ? token.slice(1) : token;
  const [, name, op = "", value = ""] = CONDITION.exec(rest) ?? [];
  const field = name?.toLowerCase() ?? "";
  const text = (field === "" ? rest : value).replaceAll('"', "").toLowerCase();
  const wanted = Number.parseFloat(text);
  /** @type {Term} */
  const term = { negate, field, op, text, wanted };
  if (field === "") return term;
  if (NUMBER_FIELDS.includes(field)) return op !== "~" && NUMBER.test(text) ? term : null;
  if (text === "" || op.includes("<") || op.includes(">")) return null;
  if (field === "state") {
    const word = canonicalWord(text);
    return op === "~" || word === undefined ? null : { ...term, text: word };
  }
  return TEXT_FIELDS.includes(field) || field === "host" ? term : null;
}

/**
 * What a query asks of one field with `:`, or "" when nothing.
 * @param {string} text
 * @param {string} field
 */
export function valueFor(text, field) {
  return parse(text).terms.find((term) => isChoice(term, field))?.text ?? "";
}

/**
 * The query with another value for one field, or none; the other words stay as they were written.
 * @param {string} text
 * @param {string} field
 * @param {string} value "" takes the condition out
 */
export function withValue(text, field, value) {
  const others = (text.match(TOKEN) ?? []).filter((token) => {
    const term = termOf(token);
    return term === null || !isChoice(term, field);
  });
  if (value === "") return others.join(" ");
  // A quote cannot be asked for: what follows it is looked for instead of nothing.
  const plain = value.replaceAll('"', "");
  return [...others, `${field}:${/\s/.test(plain) ? `"${plain}"` : plain}`].join(" ");
}

/**
 * @param {Term} term
 * @param {string} field
 */
function isChoice(term, field) {
  return term.field === field && term.op === ":" && !term.negate;
}
