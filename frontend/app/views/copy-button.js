// The action of the Copy buttons.

const COPIED_SECONDS = 2;

/**
 * Copies the line before the button; where the browser refuses, selects it for Ctrl+C.
 * @param {Event} event
 */
export async function copy(event) {
  const button = /** @type {HTMLElement} */ (event.currentTarget);
  const line = /** @type {HTMLElement} */ (button.previousElementSibling);
  try {
    await navigator.clipboard.writeText(line.textContent ?? "");
    button.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(line);
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => {
    button.textContent = "Copy";
  }, COPIED_SECONDS * 1000);
}
