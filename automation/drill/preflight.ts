/** What has to be there before a drill makes anything: each thing that is missing is one line that says what to do. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { execa } from "execa";
import { messageOf, Refusal } from "../refusal";
import type { Setup } from "../setup";

/** What the emulated servers, volumes and vaults of a drill of the demo's data take, with room to spare. */
const neededMegabytes = 1024;
/** A dump is kept as it is, restored twice, dumped by the product and by the judge, and kept as evidence. */
const copiesOfData = 12;

/** What is known of a dump that a user gives. */
export interface DataFile {
  readonly file: string;
  readonly format: "custom" | "plain";
}

/** Refuses when the programs for PostgreSQL do not fit each other: a client must not be older than its server. */
export async function checkClients(setup: Setup): Promise<void> {
  const check = async (program: string) => {
    const major = await majorOf(path.join(setup.postgresBin, program));
    if (major >= setup.postgresMajor) return;
    throw new Refusal(
      `${program} in ${setup.postgresBin} is version ${major}, older than the server's ${setup.postgresMajor}: ` +
        `install PostgreSQL ${setup.postgresMajor}'s client programs and run \`npm run setup\`.`,
    );
  };
  await Promise.all(["pg_dump", "pg_restore", "psql"].map(check));
}

async function majorOf(program: string): Promise<number> {
  try {
    const { stdout } = await execa(program, ["--version"]);
    return Number(/(\d+)(?:\.\d+|beta|rc|devel)/.exec(stdout)?.[1] ?? 0);
  } catch (error) {
    throw new Refusal(`${program} cannot be run: ${messageOf(error)}. Run \`npm run setup\`.`);
  }
}

/** Reads the beginning of a dump, and refuses what could not be restored here. */
export async function checkData(file: string, setup: Setup): Promise<DataFile> {
  const bytes = readStart(file);
  const magic = bytes.subarray(0, 5).toString("latin1");
  if (magic === "PGDMP") {
    await checkCustom(file, setup);
    return { file: path.resolve(file), format: "custom" };
  }
  const text = bytes.toString("utf8");
  if (!text.includes("PostgreSQL database dump")) {
    throw new Refusal(`--data "${file}" is not a dump of pg_dump: give one in plain or custom format.`);
  }
  const newest = Math.max(
    ...[...text.matchAll(/^-- Dumped (?:from database|by pg_dump) version (\d+)/gm)].map((each) => Number(each[1])),
    0,
  );
  if (newest > setup.postgresMajor) throw newer(file, `PostgreSQL ${newest}`, setup);
  return { file: path.resolve(file), format: "plain" };
}

function readStart(file: string): Buffer {
  try {
    const handle = fs.openSync(file, "r");
    try {
      const bytes = Buffer.alloc(4096);
      return bytes.subarray(0, fs.readSync(handle, bytes, 0, bytes.length, 0));
    } finally {
      fs.closeSync(handle);
    }
  } catch (error) {
    throw new Refusal(`--data "${file}" cannot be read: ${messageOf(error)}. Give a dump of pg_dump.`);
  }
}

/** Reads a custom dump through: its list is readable also when its data is cut off. */
async function checkCustom(file: string, setup: Setup): Promise<void> {
  const result = await execa(path.join(setup.postgresBin, "pg_restore"), ["--file", "/dev/null", file], {
    reject: false,
  });
  if (result.exitCode === 0) return;
  const reason = result.stderr.split("\n")[0] ?? "";
  if (reason.includes("unsupported version")) throw newer(file, "a newer PostgreSQL", setup);
  throw new Refusal(`--data "${file}" cannot be read to its end: ${reason}. Make the dump again.`);
}

function newer(file: string, made: string, setup: Setup): Refusal {
  return new Refusal(
    `--data "${file}" comes from ${made}, and PostgreSQL here is ${setup.postgresMajor}: install that version and run ` +
      "`npm run setup`.",
  );
}

/** Refuses when the folder for temporary files has too little room. */
export function checkSpace(data: DataFile | undefined, folder = os.tmpdir()): void {
  const { bavail, bsize } = fs.statfsSync(folder);
  const free = (bavail * bsize) / 1024 / 1024;
  const dump = data === undefined ? 0 : fs.statSync(data.file).size / 1024 / 1024;
  const needed = Math.ceil(neededMegabytes + dump * copiesOfData);
  if (free >= needed) return;
  throw new Refusal(
    `${folder} has ${Math.floor(free)} MB free, and the drill needs ${needed} MB: make room, or set TMPDIR to a folder ` +
      "with more.",
  );
}
