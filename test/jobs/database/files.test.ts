/** What the jobs write on their own machine: streams go by, and no file grows with them. */
import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import { soon, startServer, type TestServer } from "./cluster";
import { MemoryVault } from "./fixture";

/** What a table of contents and lists take, many times over; the dump has some thirty times more. */
const bound = 1_000_000;

/**
 * Looks again and again at the files in a folder, and at those that this process and the programs that it has started
 * have open anywhere, deleted or not. The server's own processes are not the job's.
 */
class Watch {
  /** The largest file that was seen. */
  largest = { file: "", bytes: 0 };
  looks = 0;
  private readonly timer = setInterval(() => this.look(), 10);

  constructor(private readonly folder: string) {}

  stop(): void {
    clearInterval(this.timer);
    this.look();
  }

  private look(): void {
    this.looks++;
    for (const each of fs.readdirSync(this.folder, { recursive: true, encoding: "utf8" })) {
      this.see(path.join(this.folder, each));
    }
    for (const pid of ["self", ...programs()]) {
      for (const descriptor of entries(`/proc/${pid}/fd`)) this.see(`/proc/${pid}/fd/${descriptor}`);
    }
  }

  private see(file: string): void {
    try {
      const found = fs.statSync(file);
      if (found.isFile() && found.size > this.largest.bytes && !isOwn(file)) this.largest = { file, bytes: found.size };
    } catch {
      // It was closed, or removed, meanwhile.
    }
  }
}

/** Processes of PostgreSQL's client programs that this process has started. */
function programs(): string[] {
  return entries("/proc").filter((pid) => {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
      const parent = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
      return parent === String(process.pid) && /^\d+ \((pg_dump|pg_restore)/.test(stat);
    } catch {
      return false;
    }
  });
}

function entries(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

/** Programs and libraries, which are open to be run. */
function isOwn(file: string): boolean {
  return file.startsWith("/proc/") && /\.(node|js|ts|so)\b|\/log$/.test(fs.readlinkSync(file));
}

describe("the files of a job", () => {
  let server: TestServer;
  let folder: string;
  const temporary = process.env.TMPDIR;

  before(async () => {
    server = await startServer();
    await server.sql(
      `CREATE TABLE long AS SELECT g AS id, repeat(md5(g::text), 4) AS text FROM generate_series(1, 200000) g;
       ALTER TABLE long ADD PRIMARY KEY (id);
       SELECT lo_from_bytea(0, repeat('x', 3000000)::bytea)`,
    );
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "files-test-"));
    process.env.TMPDIR = folder;
  });

  after(async () => {
    if (temporary === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = temporary;
    fs.rmSync(folder, { recursive: true, force: true });
    await server.close();
  });

  /** Everything that is done with a database before a deploy. @returns the bytes of the dump, and the largest file */
  async function protectAndProve(
    spool: (dump: Readable) => Promise<Readable> = (dump) => Promise.resolve(dump),
  ): Promise<{ bytes: number; largest: Watch["largest"] }> {
    const access = server.access();
    const vault = new MemoryVault();
    const watch = new Watch(folder);
    try {
      const made = await protectDatabase(access, { deadline: soon(), vault: vault.put });
      const dump = async () => spool(await vault.get());
      const limits = { workers: 2 };
      const staged = await stageDatabase(access, { deadline: soon(), protected: made, dump, limits });
      await proveDatabase(access, { deadline: soon(), protected: made, staged, limits });
      await server.sql(`DROP DATABASE ${staged.database}`, "postgres");
      watch.stop();
      assert.ok(watch.looks > 10);
      return { bytes: made.bytes, largest: watch.largest };
    } finally {
      watch.stop();
    }
  }

  it("stay small, whatever the size of the dump", async () => {
    const { bytes, largest } = await protectAndProve();
    assert.ok(bytes > 25 * bound, String(bytes));
    assert.ok(largest.bytes < bound, `${largest.file} has ${largest.bytes} bytes`);
    assert.deepEqual(fs.readdirSync(folder), []);
  });

  it("are seen by this test: a dump that is kept in a file on its way is found", async () => {
    let readings = 0;
    const { bytes, largest } = await protectAndProve(async (dump) => {
      const file = path.join(folder, `spooled-${++readings}`);
      await pipeline(dump, fs.createWriteStream(file));
      return fs.createReadStream(file);
    });
    assert.equal(largest.bytes, bytes);
    assert.match(largest.file, /spooled-[12]$/);
  });
});
