import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Licences that an Apache-2.0 project may require. */
const compatible = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
  "Python-2.0",
  "Unlicense",
  "(BSD-3-Clause AND Apache-2.0)",
  "(MIT OR CC0-1.0)",
  "(MIT AND CC-BY-3.0)",
  "(BSD-2-Clause OR MIT OR Apache-2.0)",
]);

/** Packages whose licence was read by a person, because its field does not say it. */
const read: Readonly<Record<string, string>> = {
  // The file says MIT. Required by @pulumi/pulumi.
  "node_modules/@logdna/tail-file": "MIT",
  // A list of names, data and no code. Required by @pulumi/pulumi, through npm's own libraries.
  "node_modules/spdx-exceptions": "CC-BY-3.0 as data",
};

interface LockedPackage {
  readonly license?: string;
  readonly dev?: boolean;
  readonly version?: string;
}

describe("licences", () => {
  const lock = JSON.parse(readFileSync(join(__dirname, "..", "package-lock.json"), "utf8")) as {
    packages: Record<string, LockedPackage>;
  };
  const required = Object.entries(lock.packages).filter(([path, each]) => path !== "" && each.dev !== true);

  it("of everything that is required are compatible with Apache-2.0", () => {
    const refused = required.filter(([path, each]) => !(path in read) && !compatible.has(each.license ?? "none"));
    assert.deepEqual(
      refused.map(([path, each]) => `${path}: ${each.license ?? "none"}`),
      [],
    );
  });

  it("are looked up for every dependency that the project declares", () => {
    const declared = JSON.parse(readFileSync(join(__dirname, "..", "package.json"), "utf8")) as {
      dependencies: Record<string, string>;
    };
    const locked = new Set(required.map(([path]) => path));
    const missing = Object.keys(declared.dependencies).filter((name) => !locked.has(`node_modules/${name}`));
    assert.deepEqual(missing, []);
  });

  it("and versions are pinned exactly", () => {
    const declared = JSON.parse(readFileSync(join(__dirname, "..", "package.json"), "utf8")) as {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    const loose = Object.entries({ ...declared.dependencies, ...declared.devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
    );
    assert.deepEqual(loose, []);
  });
});
