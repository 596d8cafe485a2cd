// The button that switches between the system's theme, light and dark; theme.js applies the choice
// before the first paint.

const THEMES = ["auto", "light", "dark"];

export function nextTheme() {
  const root = document.documentElement;
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length] ?? "auto";
  root.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage may be forbidden; the choice then lasts until the page is left.
  }
}
