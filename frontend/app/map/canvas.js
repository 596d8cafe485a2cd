// Draws the cells of the fleet map in the colours of style.css.

import { CELLS, DIM, EMPTY, KIND, KINDS, MARKS } from "./codes.js";

const STEPS = KINDS.filter((kind) => kind.startsWith("step"));
const TOKENS = new Set([
  "card", "muted", "red", "on-low", "on-high", ...STEPS,
  ...CELLS.flatMap(({ ground, frame, ink }) => [ground, frame, ink]).filter((token) => token !== undefined),
]);
/** @type {Map<string, import("../state/states.js").Cell>} */
const SHAPES = new Map([{ kind: "unmeasured", frame: "muted" }, ...STEPS.map((kind) => ({ kind, ground: kind })), ...CELLS]
  .map((cell) => [cell.kind, cell]));

/** CSS colours by the token of style.css. @typedef {Record<string, string>} Colours */

/**
 * The current colours of the page; read when the theme changes, not in every frame.
 * @param {HTMLElement} element inside which the tokens are resolved
 * @returns {Colours}
 */
export function readColours(element) {
  const probe = document.createElement("i");
  element.append(probe);
  const style = getComputedStyle(probe);
  /** @type {Colours} */
  const colours = {};
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
  const shape = code === EMPTY ? undefined : SHAPES.get(KINDS[code & KIND] ?? "");
  // The background of what is transparent or does not fill its cell.
  if ((code & ~KIND) !== 0 || shape === undefined || !shape.ground) fill(canvas, colours.card, x, y, size);
  if (shape === undefined) return;
  if (code & DIM) canvas.globalAlpha = 0.2;
  if (shape.ground !== undefined) fill(canvas, colours[shape.ground], x, y, size);
  canvas.lineWidth = size > 7 ? 1.5 : 1;
  if (shape.frame !== undefined) frame(canvas, colours[shape.frame], x, y, size);
  if (shape.ink !== undefined) drawLines(canvas, colours[shape.ink], shape.lines ?? [], x, y, size);
  for (const { bit, state } of MARKS) {
    if ((code & bit) === 0) continue;
    if (state.badge?.shape === "triangle") drawTriangle(canvas, colours[inkOn(code)], x, y, size);
    else drawSquare(canvas, colours[state.hue], colours.card, x, y, size);
  }
  canvas.globalAlpha = 1;
}

/** The token that shows on a cell. @param {number} code */
function inkOn(code) {
  const kind = KINDS[code & KIND];
  if (kind === "free") return "red";
  return kind === "step3" || kind === "step4" || kind === "step5" ? "on-high" : "on-low";
}

/**
 * @param {CanvasRenderingContext2D} canvas
 * @param {string | undefined} colour
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function fill(canvas, colour = "", x, y, size) {
  canvas.fillStyle = colour;
  canvas.fillRect(x, y, size, size);
}

/**
 * @param {CanvasRenderingContext2D} canvas
 * @param {string | undefined} colour
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function frame(canvas, colour = "", x, y, size) {
  const { lineWidth } = canvas;
  canvas.strokeStyle = colour;
  canvas.strokeRect(x + lineWidth / 2, y + lineWidth / 2, size - lineWidth, size - lineWidth);
}

/**
 * @param {CanvasRenderingContext2D} canvas
 * @param {string | undefined} colour
 * @param {number[]} points
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function drawLines(canvas, colour = "", points, x, y, size) {
  canvas.strokeStyle = colour;
  canvas.beginPath();
  for (let at = 0; at < points.length; at += 2) {
    const [across, down] = [x + (points[at] ?? 0) * size, y + (points[at + 1] ?? 0) * size];
    if (at % 4 === 0) canvas.moveTo(across, down);
    else canvas.lineTo(across, down);
  }
  canvas.stroke();
}

/**
 * @param {CanvasRenderingContext2D} canvas
 * @param {string | undefined} colour
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function drawTriangle(canvas, colour = "", x, y, size) {
  canvas.fillStyle = colour;
  canvas.beginPath();
  canvas.moveTo(x + size * 0.6, y + 1);
  canvas.lineTo(x + size - 1, y + size * 0.6);
  canvas.lineTo(x + size * 0.2, y + size * 0.6);
  canvas.fill();
}

/**
 * @param {CanvasRenderingContext2D} canvas
 * @param {string | undefined} colour
 * @param {string | undefined} edge
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function drawSquare(canvas, colour = "", edge = "", x, y, size) {
  const side = Math.max(2, Math.round(size * 0.4));
  canvas.fillStyle = edge;
  canvas.fillRect(x + size - side - 1, y + size - side - 1, side + 1, side + 1);
  canvas.fillStyle = colour;
  canvas.fillRect(x + size - side, y + size - side, side, side);
}
