// What is drawn on the canvas of the fleet map: a cell for each kind, in the colours of style.css.

import { AILING, DIM, EMPTY, HOT, KINDS } from "./codes.js";

const TOKENS = /** @type {const} */ ([
  "card", "step0", "step1", "step2", "step3", "step4", "step5", "on-low", "on-high",
  "green", "amber", "amber-ground", "red", "red-ground", "old", "old-ground", "muted",
]);

/** @typedef {Record<typeof TOKENS[number], string>} Colours */

/**
 * The page's colours as they are now: read when the theme changes, not in every frame.
 * @param {HTMLElement} element whose styles count
 * @returns {Colours}
 */
export function readColours(element) {
  const probe = document.createElement("i");
  element.append(probe);
  const style = getComputedStyle(probe);
  const colours = /** @type {Colours} */ ({});
  for (const token of TOKENS) {
    probe.style.setProperty("color", `var(--${token})`);
    colours[token] = style.color;
  }
  probe.remove();
  return colours;
}

/**
 * @param {CanvasRenderingContext2D} canvas
 * @param {Colours} colours
 * @param {number} code see codes.js
 * @param {number} x
 * @param {number} y
 * @param {number} size in px
 */
export function drawCell(canvas, colours, code, x, y, size) {
  const kind = KINDS[code & 15];
  const rect = (/** @type {string} */ colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(x, y, size, size);
  };
  if (code === EMPTY || kind === undefined || (code & ~15) !== 0 || !kind.startsWith("step")) rect(colours.card);
  if (code === EMPTY || kind === undefined) return;
  if (code & DIM) canvas.globalAlpha = 0.2;
  const thick = size > 7 ? 1.5 : 1;
  const half = thick / 2;
  const frame = (/** @type {string} */ colour) => {
    canvas.strokeStyle = colour;
    canvas.lineWidth = thick;
    canvas.strokeRect(x + half, y + half, size - thick, size - thick);
  };
  /** @param {string} colour @param {number[]} points shares of the size, in pairs of lines' ends */
  const lines = (colour, ...points) => {
    canvas.strokeStyle = colour;
    canvas.lineWidth = thick;
    canvas.beginPath();
    points.forEach((at, n) => {
      if (n % 4 === 0) canvas.moveTo(x + at * size, y + (points[n + 1] ?? 0) * size);
      if (n % 4 === 2) canvas.lineTo(x + at * size, y + (points[n + 1] ?? 0) * size);
    });
    canvas.stroke();
  };
  switch (kind) {
    case "free":
      frame(colours.green);
      break;
    case "idle":
      rect(colours["amber-ground"]);
      lines(colours.amber, 0, 1, 1, 0);
      break;
    case "lost":
      rect(colours["red-ground"]);
      lines(colours.red, 0.1, 0.1, 0.9, 0.9, 0.1, 0.9, 0.9, 0.1);
      break;
    case "error":
      rect(colours["red-ground"]);
      lines(colours.red, 0.5, 0, 0.5, 0.6, 0.5, 0.75, 0.5, 1);
      break;
    case "asleep":
      frame(colours.muted);
      lines(colours.muted, 0.35, 0.65, 0.65, 0.65);
      break;
    case "old":
      rect(colours["old-ground"]);
      lines(colours.old, 0.2, 0.5, 0.8, 0.5);
      break;
    case "missing":
      lines(colours.muted, 0.35, 0.5, 0.65, 0.5);
      break;
    case "unmeasured":
      frame(colours.muted);
      break;
    default:
      rect(colours[kind]);
  }
  if (code & HOT) {
    canvas.fillStyle = kind === "free" ? colours.red : colours[(code & 15) > 2 && (code & 15) < 6 ? "on-high" : "on-low"];
    canvas.beginPath();
    canvas.moveTo(x + size * 0.6, y + 1);
    canvas.lineTo(x + size - 1, y + size * 0.6);
    canvas.lineTo(x + size * 0.2, y + size * 0.6);
    canvas.fill();
  }
  if (code & AILING) {
    const side = Math.max(2, Math.round(size * 0.4));
    canvas.fillStyle = colours.card;
    canvas.fillRect(x + size - side - 1, y + size - side - 1, side + 1, side + 1);
    canvas.fillStyle = colours.red;
    canvas.fillRect(x + size - side, y + size - side, side, side);
  }
  canvas.globalAlpha = 1;
}
