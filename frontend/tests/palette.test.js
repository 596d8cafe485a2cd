import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const CSS = readFileSync(new URL("../app/style.css", import.meta.url), "utf8");
const THEMES = { light: {}, dark: {} };
for (const [, name, light, dark] of CSS.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)) {
  THEMES.light[name] = light;
  THEMES.dark[name] = dark;
}
const STEPS = ["step0", "step1", "step2", "step3", "step4", "step5"];

test("browsers without light-dark() get every light colour", () => {
  const [, block] = /@supports not \(color: light-dark\([^)]*\)\) \{(.*?)\n\}/s.exec(CSS);
  const fallback = Object.fromEntries([...block.matchAll(/--([\w-]+): (#\w{6});/g)].map(([, name, colour]) => [name, colour]));

  assert.deepEqual(fallback, THEMES.light);
});

/** Linear red, green and blue, 0 to 1 (sRGB, IEC 61966-2-1). */
function linear(hex) {
  return [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
}

const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;

/** Contrast ratio as defined by WCAG 2. */
function contrast(one, other) {
  const [dark, light] = [luminance(linear(one)), luminance(linear(other))].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** CIE L*a*b* (D65) of linear red, green and blue. */
function lab([r, g, b]) {
  const f = (t) => (t > 216 / 24389 ? Math.cbrt(t) : (24389 / 27 * t + 16) / 116);
  const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505);
  const y = f(luminance([r, g, b]));
  const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const distance = (one, other) => Math.hypot(...lab(one).map((value, at) => value - lab(other)[at]));

for (const [theme, token] of Object.entries(THEMES)) {
  test(`${theme}: text on every cell has a contrast of at least 4.5`, () => {
    const pairs = [
      ...STEPS.slice(0, 3).map((step) => ["on-low", step]),
      ...STEPS.slice(3).map((step) => ["on-high", step]),
      ["green", "card"], ["amber", "amber-ground"], ["red", "red-ground"], ["old", "old-ground"],
      ["text", "card"], ["muted", "card"], ["muted", "ground"], ["amber", "card"], ["red", "card"],
      ["red", "ground"], ["on-chosen", "text"],
    ];
    for (const [ink, paper] of pairs) {
      const ratio = contrast(token[ink], token[paper]);
      assert.ok(ratio >= 4.5, `${ink} on ${paper}: ${ratio.toFixed(2)}`);
    }
  });

  test(`${theme}: higher steps contrast more with the background, in distinguishable steps`, () => {
    const light = STEPS.map((step) => lab(linear(token[step]))[0]);
    const sign = theme === "light" ? -1 : 1;
    for (let step = 1; step < STEPS.length; step += 1) {
      assert.ok((light[step] - light[step - 1]) * sign > 0, `step ${step}`);
      const apart = distance(linear(token[STEPS[step - 1]]), linear(token[STEPS[step]]));
      assert.ok(apart >= 11, `steps ${step - 1} and ${step}: ${apart.toFixed(1)}`);
    }
  });
}

/** Full colour blindness of three kinds on linear colours (Machado, Oliveira and Fernandes 2009). */
const BLIND = {
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

for (const [theme, token] of Object.entries(THEMES)) {
  for (const [kind, matrix] of Object.entries(BLIND)) {
    test(`${theme}: free, held idle, broken and busy are distinguishable to ${kind} eyes`, () => {
      const seen = ["green", "amber", "red", "step4"].map((name) => {
        const colour = linear(token[name]);
        return matrix.map((row) => Math.min(1, Math.max(0, row.reduce((sum, part, at) => sum + part * colour[at], 0))));
      });
      for (const [at, one] of seen.entries()) {
        for (const other of seen.slice(at + 1)) assert.ok(distance(one, other) >= 17, String(distance(one, other)));
      }
    });
  }
}
