import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { packRelease } from "../../automation/drill/release";
import { formsOf, searchSecrets, type Place } from "../../automation/judge/secrets";

const secret = { name: "master's password", value: 'p+a/s"s\\w ö?rd' };

async function* places(...bytes: Buffer[]): AsyncGenerator<Place> {
  for (const each of bytes) yield { name: "place", bytes: each };
}

async function formsFound(bytes: Buffer): Promise<string[]> {
  const { findings } = await searchSecrets([secret], places(bytes));
  return findings.map((finding) => `${finding.form} in ${finding.place}`);
}

describe("the search for secrets", () => {
  const hidden: [string, string][] = [
    ["plain", `password=${secret.value};`],
    ["URL-escaped", `postgres://u:${encodeURIComponent(secret.value)}@h`],
    ["JSON-escaped", JSON.stringify({ password: secret.value })],
    ["JSON-escaped twice", JSON.stringify({ SecretString: JSON.stringify({ password: secret.value }) })],
    ["hexadecimal", Buffer.from(secret.value).toString("hex")],
  ];
  for (const [form, text] of hidden) {
    it(`finds a secret that is ${form}`, async () => {
      assert.ok((await formsFound(Buffer.from(text))).includes(`${form} in place`));
    });
  }

  it("finds a secret in base64, whatever stands before and after it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string(),
        fc.string(),
        fc.constantFrom("base64", "base64url"),
        async (before, after, encoding) => {
          const text = Buffer.from(before + secret.value + after).toString(encoding);
          assert.ok((await formsFound(Buffer.from(text))).includes("base64 in place"));
        },
      ),
    );
  });

  it("finds a secret inside of a zip inside of a gzip stream", async () => {
    const zip = await packRelease([{ path: "a/log", bytes: Buffer.from(secret.value.repeat(50)), executable: false }]);
    assert.deepEqual(await formsFound(gzipSync(zip)), ["plain in place (unpacked)!a/log"]);
  });

  it("finds nothing where nothing is, and says how much it searched", async () => {
    const search = await searchSecrets([secret], places(Buffer.from("nothing"), Buffer.from("at all")));
    assert.deepEqual(search, { secrets: 1, places: 2, bytes: 13, findings: [] });
  });

  it("rejects when an archive cannot be opened, because what is inside is not known", async () => {
    await assert.rejects(searchSecrets([secret], places(Buffer.from("PK\u0003\u0004 broken"))), /cannot be opened/);
  });

  it("looks for no form that would be found by chance", () => {
    for (const { text } of formsOf("abc")) assert.ok(text.length >= 6);
  });
});
