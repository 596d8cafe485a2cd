// Which action a key stands for.

/** The action of each key, in the words of the help. @type {Record<string, string>} */
export const KEYS = {
  "/": "search",
  j: "next host",
  k: "previous host",
  Enter: "open or close the host",
  f: "find free GPUs",
  a: "show all",
  i: "show held idle",
  m: "switch metric: util, memory, temp, power",
  s: "switch sorting",
  u: "go to users",
  d: "download what is shown as CSV",
  t: "switch theme: system, light, dark",
  "?": "show this list",
  Esc: "clear search, filter and finder",
};

/**
 * The action of a key press; null in a field, and with Ctrl, Alt or Meta.
 * Escape works in the search field too.
 * @param {{ key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean, target: unknown }} event
 * @returns {string | null}
 */
export function actionOf({ key, ctrlKey, altKey, metaKey, target }) {
  if (ctrlKey || altKey || metaKey) return null;
  if (key === "Escape") return "Esc";
  const tag = /** @type {{ tagName?: string } | null} */ (target)?.tagName ?? "";
  if (["INPUT", "SELECT", "TEXTAREA"].includes(tag)) return null;
  if (key === "Enter" || !Object.hasOwn(KEYS, key)) return null; // The browser handles Enter.
  return key;
}
