/**
 * The search for secrets: every byte of a place is searched for every form in which a secret could stand there. Zips
 * and gzip streams are searched inside, too.
 */
import { gunzipSync } from "node:zlib";
import { fromBuffer, type Entry, type ZipFile } from "yauzl";
import { messageOf } from "../refusal";

export interface Secret {
  /** What it is, for the report; never its value. */
  readonly name: string;
  readonly value: string;
}

export interface Place {
  /** For example `log /aws/codebuild/x/y` or `s3://bucket/key`. */
  readonly name: string;
  readonly bytes: Buffer;
}

export interface Finding {
  readonly secret: string;
  readonly form: string;
  readonly place: string;
}

export interface Search {
  readonly secrets: number;
  readonly places: number;
  readonly bytes: number;
  readonly findings: readonly Finding[];
}

interface Needle {
  readonly secret: string;
  readonly form: string;
  readonly bytes: Buffer;
}

/** Below this a form would be found by chance. */
const shortestNeedle = 6;

/** Every form in which a secret is looked for, without duplicates. */
export function formsOf(value: string): readonly { form: string; text: string }[] {
  const bytes = Buffer.from(value);
  const json = JSON.stringify(value).slice(1, -1);
  const forms = [
    { form: "plain", text: value },
    ...base64Forms(bytes),
    { form: "URL-escaped", text: encodeURIComponent(value) },
    { form: "URL-escaped", text: new URLSearchParams([["", value]]).toString().slice(1) },
    { form: "JSON-escaped", text: json },
    // A JSON document inside a JSON document, as API answers carry secrets.
    { form: "JSON-escaped twice", text: JSON.stringify(json).slice(1, -1) },
    { form: "hexadecimal", text: bytes.toString("hex") },
  ];
  const seen = new Set<string>();
  return forms.filter(({ text }) => text.length >= shortestNeedle && !seen.has(text) && seen.add(text));
}

/** base64 depends on what stands before the secret: there are three alignments, without the characters at the edges. */
function base64Forms(bytes: Buffer): { form: string; text: string }[] {
  const forms = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString("base64")
      .replaceAll("=", "");
    const firstWhole = offset === 0 ? 0 : offset + 1;
    const lastIsShared = (offset + bytes.length) % 3 !== 0;
    return text.slice(firstWhole, lastIsShared ? -1 : undefined);
  });
  return forms.flatMap((text) => [
    { form: "base64", text },
    { form: "base64", text: text.replaceAll("+", "-").replaceAll("/", "_") },
  ]);
}

/** Searches all places. A place that cannot be opened is an error: what was not searched is not known to be clean. */
export async function searchSecrets(secrets: readonly Secret[], places: AsyncIterable<Place>): Promise<Search> {
  const needles = secrets.flatMap(({ name, value }) =>
    formsOf(value).map(({ form, text }): Needle => ({ secret: name, form, bytes: Buffer.from(text) })),
  );
  const findings: Finding[] = [];
  let count = 0;
  let bytes = 0;
  for await (const place of places) {
    for await (const part of partsOf(place)) {
      count += 1;
      bytes += part.bytes.length;
      findings.push(...findIn(part, needles));
    }
  }
  return { secrets: secrets.length, places: count, bytes, findings };
}

function findIn(place: Place, needles: readonly Needle[]): Finding[] {
  const found = needles.filter((needle) => place.bytes.includes(needle.bytes));
  return found.map(({ secret, form }) => ({ secret, form, place: place.name }));
}

/** The place itself and, when it is an archive, what is inside it, at any depth. */
async function* partsOf(place: Place): AsyncGenerator<Place> {
  yield place;
  if (isZip(place.bytes)) {
    for await (const part of zipEntries(place)) yield* partsOf(part);
  } else if (isGzip(place.bytes)) {
    yield* partsOf({ name: `${place.name} (unpacked)`, bytes: gunzipSync(place.bytes) });
  }
}

function isZip(bytes: Buffer): boolean {
  return bytes.length > 4 && bytes.readUInt32BE(0) === 0x504b0304;
}

function isGzip(bytes: Buffer): boolean {
  return bytes.length > 2 && bytes.readUInt16BE(0) === 0x1f8b;
}

async function* zipEntries(place: Place): AsyncGenerator<Place> {
  const zip = await openZip(place);
  const entries: Entry[] = [];
  await new Promise<void>((resolve, reject) => {
    zip.on("entry", (entry: Entry) => {
      entries.push(entry);
      zip.readEntry();
    });
    zip.on("end", resolve);
    zip.on("error", reject);
    zip.readEntry();
  });
  for (const entry of entries) {
    if (entry.fileName.endsWith("/")) continue;
    yield { name: `${place.name}!${entry.fileName}`, bytes: await readEntry(zip, entry) };
  }
  zip.close();
}

function openZip(place: Place): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    fromBuffer(place.bytes, { lazyEntries: true, autoClose: false }, (error, zip) => {
      if (error) reject(new Error(`${place.name} cannot be opened: ${messageOf(error)}`));
      else resolve(zip);
    });
  });
}

function readEntry(zip: ZipFile, entry: Entry): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => {
      if (error) {
        reject(error);
        return;
      }
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => resolve(Buffer.concat(chunks)));
      stream.on("error", reject);
    });
  });
}
