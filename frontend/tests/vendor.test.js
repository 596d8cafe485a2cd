import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const VENDOR = new URL("../app/vendor/", import.meta.url);
/** Hashes of the files published with lit-html 3.3.3. */
const SHA256 = {
  "lit-html.js": "b878e7f95dec8a9b6e9b217faca6b6a11bad82ebc44c0caa77419ed83edd81f2",
  "lit-html.LICENSE.txt": "2b66f9390afde29edfe4314daff93f01fb182e1178053e228120178987e5db75",
};

for (const [name, sum] of Object.entries(SHA256)) {
  test(`${name} is the published file`, () => {
    const data = readFileSync(new URL(name, VENDOR));

    assert.equal(createHash("sha256").update(data).digest("hex"), sum);
  });
}

test("nothing else is vendored, and every library has its licence", () => {
  const libraries = readdirSync(VENDOR).filter((name) => name.endsWith(".js"));

  assert.deepEqual(libraries, ["lit-html.js"]);
  assert.ok(existsSync(new URL("lit-html.LICENSE.txt", VENDOR)));
});
