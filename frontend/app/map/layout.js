// The position of each host and GPU on the fleet map; pure.

/** @import { MapLayout, MapMode } from "../types.js" */

/** Up to this size a fleet has no map, as its rows serve as one, and hosts in use start open. */
export const SMALL_FLEET = 8;
const HOST_GAP = 4;
const PHONE_PX = 500;
const PHONE_HEIGHT = 270;

/**
 * By preference: mode, GPUs per line, largest and smallest pitch of a cell, and acceptable height, the
 * last three in px.
 * @type {[Exclude<MapMode, "auto" | "off">, number, number, number, number][]}
 */
const MODES = [["strips", 8, 15, 10, 180], ["blocks", 4, 11, 5, 390], ["hosts", 1, 20, 6, 390]];

/**
 * The layout of a fleet's map; null for no map. Every host gets the room that the largest needs, so
 * that columns line up. If nothing fits, it is as high as the smallest cells make it.
 * @param {number} hosts
 * @param {number} gpus of the largest host
 * @param {number} width in px
 * @param {MapMode} wanted
 * @returns {MapLayout | null}
 */
export function layoutOf(hosts, gpus, width, wanted) {
  if (wanted === "off" || hosts === 0 || width <= 0 || (wanted === "auto" && hosts <= SMALL_FLEET)) return null;
  let layout = null;
  for (const [mode, across, largest, smallest, height] of MODES) {
    if (wanted !== "auto" && wanted !== mode) continue;
    for (let pitch = largest; pitch >= smallest; pitch -= 1) {
      layout = fit(mode, across, pitch, hosts, gpus, width);
      if (layout.height <= (width < PHONE_PX ? Math.min(height, PHONE_HEIGHT) : height)) return layout;
    }
  }
  return layout;
}

/**
 * @param {MapLayout["mode"]} mode
 * @param {number} across
 * @param {number} pitch
 * @param {number} hosts
 * @param {number} gpus
 * @param {number} width
 * @returns {MapLayout}
 */
function fit(mode, across, pitch, hosts, gpus, width) {
  const slots = mode === "hosts" ? 1 : Math.max(1, gpus);
  const columns = Math.min(across, slots);
  const gap = mode === "hosts" ? 0 : HOST_GAP - 1;
  const hostWidth = columns * pitch + gap;
  const hostHeight = Math.ceil(slots / columns) * pitch + gap;
  const perLine = Math.max(1, Math.floor((width + gap) / hostWidth));
  const height = Math.ceil(hosts / perLine) * hostHeight;
  return { mode, pitch, slots, columns, hostWidth, hostHeight, perLine, hosts, height };
}

/**
 * The upper left corner of a GPU's cell.
 * @param {MapLayout} layout
 * @param {number} host its place in the order of the map
 * @param {number} slot the GPU's place in the host
 * @returns {[number, number]}
 */
export function cornerOf({ perLine, hostWidth, hostHeight, columns, pitch }, host, slot) {
  return [
    (host % perLine) * hostWidth + (slot % columns) * pitch,
    Math.floor(host / perLine) * hostHeight + Math.floor(slot / columns) * pitch,
  ];
}

/**
 * The host and slot at a point of the map; null where there is none.
 * @param {MapLayout} layout
 * @param {number} x
 * @param {number} y
 * @returns {{ host: number, slot: number } | null}
 */
export function placeAt({ perLine, hostWidth, hostHeight, columns, pitch, slots, hosts }, x, y) {
  const across = Math.floor(x / hostWidth);
  const host = Math.floor(y / hostHeight) * perLine + across;
  if (x < 0 || y < 0 || across >= perLine || host >= hosts) return null;
  const column = Math.min(columns - 1, Math.floor((x % hostWidth) / pitch));
  const slot = Math.floor((y % hostHeight) / pitch) * columns + column;
  return { host, slot: Math.min(slots - 1, slot) };
}
