// Applies the viewer's theme before the first paint, which only a classic script can do.

try {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "auto";
} catch {
  // Storage may be forbidden; the browser's preference then applies.
}
