// The keyboard: one letter, one action; pure but for the event it reads.

/** What a key does, in the words of the help. @type {Record<string, string>} */
export const KEYS = {
  "/": "search",
  j: "next host",
  k: "previous host",
  Enter: "open or close the host",
  f: "find free GPUs",
  a: "all",
  i: "held idle",
  m: "next number: util, memory, temp, power",
  s: "next order",
  u: "users",
  d: "download what is shown as CSV",
  t: "light, dark or as the system",
  "?": "this list",
  Esc: "clear search, filter and finder",
};

/**
 * The action a key press asks for, or null: none in a field, nor with Ctrl, Alt or Meta.
 * Escape works in the search field too.
 * @param {{ key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean, target: unknown }} event
 * @returns {string | null}
 */
export function actionOf({ key, ctrlKey, altKey, metaKey, target }) {
  if (ctrlKey || altKey || metaKey) return null;
  if (key === "Escape") return "Esc";
  const tag = /** @type {{ tagName?: string } | null} */ (target)?.tagName ?? "";
  if (["INPUT", "SELECT", "TEXTAREA"].includes(tag)) return null;
  if (key === "Enter" || !Object.hasOwn(KEYS, key)) return null; // Enter is the browser's own.
  return key;
}
