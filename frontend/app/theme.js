// The viewer's choice of light or dark, before the first paint; a classic script for that reason.

try {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "auto";
} catch {
  // Storage may be forbidden; the browser's own preference then holds.
}
