// Parses the search box, as in `user:alice util<5 host~dgx -state:stale "two words"`; pure.

import { STATE_WORDS, canonicalWord } from "../state/states.js";

/** What a term found on each host. @typedef {Map<string, { sources: unknown[], found: boolean[] }>} Memory */

/**
 * One condition; all of a query's must hold. `text` is in lower case; `memory` is a cache that
 * match.js keeps.
 * @typedef {{ negate: boolean, field: string, op: string, text: string, wanted: number, memory?: { host: Memory, gpus: Memory } }} Term
 */

/** What a query means, and the parts of it that were not understood. @typedef {{ terms: Term[], unknown: string[] }} Query */

const TOKEN = /(?:[^\s"]|"[^"]*"?)+/g;
const CONDITION = /^([a-z_]+)([:~=]|[<>]=?)(.*)$/is;
const NUMBER = /^(\d+\.?\d*|\.\d+)(%|w|c|°c?|g(i?b)?)?$/;
/** Fields compared as text, and as numbers. */
const TEXT_FIELDS = ["user", "group", "model", "job", "container", "command", "pid", "finding"];
const NUMBER_FIELDS = ["util", "mem", "free", "temp", "power", "gpus"];

/**
 * Any text is a query: parts that are not understood are listed and otherwise ignored.
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
 * Explains, in a sentence, why a part of a query is not understood.
 * @param {string} token
 */
export function complaint(token) {
  const state = /^-?state[:=](.*)$/i.exec(token)?.[1];
  if (state) return `Unknown state "${state.replaceAll('"', "")}". Try ${STATE_WORDS.join(", ")}.`;
  return `Not understood: ${token}`;
}

/**
 * The value that a query requires of a field with `:`; "" when it requires none.
 * @param {string} text
 * @param {string} field
 */
export function valueFor(text, field) {
  return parse(text).terms.find((term) => isChoice(term, field))?.text ?? "";
}

/**
 * The query with another value for one field; the other words stay as they were written.
 * @param {string} text
 * @param {string} field
 * @param {string} value "" removes the condition
 */
export function withValue(text, field, value) {
  const others = (text.match(TOKEN) ?? []).filter((token) => {
    const term = termOf(token);
    return term === null || !isChoice(term, field);
  });
  if (value === "") return others.join(" ");
  // A quote cannot be searched for; the rest of the value still can.
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
