#!/usr/bin/env node
"use strict";
/**
 * Makes a clone ready to run, and says what it does. Plain Node, because it runs before anything is installed; the
 * first command of the npm scripts, because npm skips its own hooks when `ignore-scripts` is set.
 *
 * It is idempotent: each step first looks whether its result is there. What it found is written to
 * `node_modules/.cache/protected-pipeline/setup.json`, which the driver and the tests read.
 */
const { spawnSync } = require("node:child_process");
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline/promises");

const root = path.dirname(__dirname);
const stateFile = path.join(root, "node_modules", ".cache", "protected-pipeline", "setup.json");
const cache = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "protected-pipeline");

/** The CLI that is installed or built when there is none; `tools/pulumi/go.mod` says the same. */
const pulumiVersion = "3.259.0";
/** Older CLIs lack commands that the Automation API of the pinned SDK calls. */
const oldestPulumi = [3, 205];
const postgresMajors = { oldest: 13, newest: 18 };
const postgresPrograms = ["initdb", "postgres", "pg_ctl", "psql", "pg_dump", "pg_restore"];
const lockDeadlineMinutes = 20;

/** An error for the user: one line, no stack. */
class SetupError extends Error {}

async function main() {
  requireNode();
  const before = readState();
  const unlock = lock(path.join(os.tmpdir(), `protected-pipeline-setup-${digest(root).slice(0, 16)}.lock`));
  try {
    const dependencies = installDependencies(before);
    const bundles = await buildBundles(before, dependencies);
    const postgres = await findOrInstallPostgres(before);
    const pulumi = await findOrGetPulumi(before);
    writeState({ dependencies, bundles, ...postgres, ...pulumi });
  } finally {
    unlock();
  }
}

function requireNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new SetupError(`Node ${process.versions.node} is too old: install Node 20.19 or newer and run this again.`);
}

// --- dependencies ---------------------------------------------------------------------------------------------

/** Installs what the lock file says, when it changed. Returns the lock file's digest. */
function installDependencies(before) {
  const wanted = digest(fs.readFileSync(path.join(root, "package-lock.json")));
  const installed = fs.existsSync(path.join(root, "node_modules", "@pulumi", "pulumi", "package.json"));
  if (installed && before.dependencies === wanted) return wanted;
  say("installing the locked dependencies (npm ci, about half a minute)");
  run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    failure: "npm ci failed. Its own message is above; the usual causes are a missing network or a full disk.",
  });
  return wanted;
}

// --- bundles --------------------------------------------------------------------------------------------------

/**
 * What is shipped as one file. Built with paths relative to the clone and without source maps, so that two clones
 * make the same bytes: a bundle that differs would make every `pulumi up` from another laptop change the toolkit.
 */
const sdkSubsetFile = path.join(__dirname, "sdk-subset.js");
const bundles = [
  { entry: "jobs/main.ts", output: "dist/jobs.js" },
  { entry: "demo/app/server.ts", output: "dist/demo-app.js" },
  { entry: "demo/seed/main.ts", output: "dist/demo-seed.js" },
];

async function buildBundles(before, dependencies) {
  const known = before.bundles || {};
  const result = {};
  for (const { entry, output } of bundles) {
    if (!fs.existsSync(path.join(root, entry))) continue;
    const old = known[output];
    const fresh =
      old &&
      old.dependencies === dependencies &&
      fs.existsSync(path.join(root, output)) &&
      old.digest === digestOfFiles(old.inputs);
    result[output] = fresh ? old : { ...(await buildBundle(entry, output)), dependencies };
  }
  return result;
}

async function buildBundle(entry, output) {
  say(`building ${output}`);
  const esbuild = require(path.join(root, "node_modules", "esbuild"));
  const { sdkSubset } = require(sdkSubsetFile);
  const options = {
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    target: "node20",
    // The modules' ES sources shake better: half the size, and half the time to start.
    mainFields: ["module", "main"],
    external: ["pg-native"],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    logLevel: "error",
  };
  const { metafile } = await esbuild.build({
    ...options,
    entryPoints: [entry],
    outfile: output,
    metafile: true,
    plugins: [sdkSubset(esbuild, root, [path.dirname(entry)], options)],
  });
  const inputs = Object.keys(metafile.inputs)
    .filter((file) => !file.startsWith("node_modules/") && !file.startsWith("sdk-subset:"))
    .sort();
  return { inputs, digest: digestOfFiles(inputs) };
}

function digestOfFiles(files) {
  const hash = createHash("sha256");
  for (const file of files) {
    const absolute = path.join(root, file);
    if (!fs.existsSync(absolute)) return "missing";
    hash.update(file).update("\0").update(fs.readFileSync(absolute)).update("\0");
  }
  for (const builder of [__filename, sdkSubsetFile]) hash.update(fs.readFileSync(builder));
  return hash.digest("hex");
}

// --- PostgreSQL -----------------------------------------------------------------------------------------------

async function findOrInstallPostgres(before) {
  if (before.postgresBin && !process.env.PROTECTED_PIPELINE_POSTGRES_BIN && hasPostgres(before.postgresBin)) {
    return { postgresBin: before.postgresBin, postgresMajor: before.postgresMajor };
  }
  const found = findPostgres();
  if (found) return found;
  await installPostgres();
  const installed = findPostgres();
  if (installed) return installed;
  throw new SetupError(
    "PostgreSQL's package is installed, but its server and client programs were not found. " +
      "Set PROTECTED_PIPELINE_POSTGRES_BIN to the folder that holds initdb and pg_dump.",
  );
}

/** The newest complete set of server and client programs among the usual places. */
function findPostgres() {
  const named = process.env.PROTECTED_PIPELINE_POSTGRES_BIN;
  if (named && !hasPostgres(named)) {
    throw new SetupError(
      `PROTECTED_PIPELINE_POSTGRES_BIN is "${named}", which does not hold all of ${postgresPrograms.join(", ")}.`,
    );
  }
  const folders = named ? [named] : [...versionedFolders(), ...(process.env.PATH || "").split(path.delimiter)];
  const complete = [...new Set(folders)].filter(hasPostgres).map((folder) => ({
    postgresBin: folder,
    postgresMajor: postgresMajor(folder),
  }));
  return complete
    .filter(({ postgresMajor: major }) => major >= postgresMajors.oldest && major <= postgresMajors.newest)
    .sort((a, b) => b.postgresMajor - a.postgresMajor)[0];
}

function versionedFolders() {
  const places = [
    ["/usr/lib/postgresql", /^\d+$/],
    ["/usr", /^pgsql-\d+$/],
    ["/opt/homebrew/opt", /^postgresql@\d+$/],
    ["/usr/local/opt", /^postgresql@\d+$/],
  ];
  return places.flatMap(([folder, pattern]) =>
    fs.existsSync(folder)
      ? fs
          .readdirSync(folder)
          .filter((name) => pattern.test(name))
          .map((name) => path.join(folder, name, "bin"))
      : [],
  );
}

function hasPostgres(folder) {
  return folder !== "" && postgresPrograms.every((program) => fs.existsSync(path.join(folder, program)));
}

function postgresMajor(folder) {
  const text = spawnSync(path.join(folder, "postgres"), ["--version"], { encoding: "utf8" }).stdout || "";
  const match = /(\d+)(?:\.\d+|beta|rc|devel)/.exec(text);
  return match ? Number(match[1]) : 0;
}

const packageManagers = [
  { program: "apt-get", command: "apt-get update && apt-get install -y --no-install-recommends postgresql" },
  { program: "dnf", command: "dnf install -y postgresql-server postgresql" },
  { program: "apk", command: "apk add postgresql postgresql-client" },
  { program: "brew", command: "brew install postgresql@17" },
];

/** As root without a terminal (a container, CI) it installs; on a terminal it asks; otherwise it prints the command. */
async function installPostgres() {
  const manager = packageManagers.find(({ program }) => onPath(program));
  const missing = `PostgreSQL's server and client programs (any of ${postgresMajors.oldest} to ${postgresMajors.newest}) were not found.`;
  if (!manager) throw new SetupError(`${missing} Install them with your system's package manager and run this again.`);
  const asRoot = process.getuid?.() === 0;
  const needsRoot = manager.program !== "brew";
  const command = needsRoot && !asRoot ? `sudo sh -c '${manager.command}'` : manager.command;
  const interactive = process.stdin.isTTY && process.stdout.isTTY;
  if (interactive) {
    const prompt = readline.createInterface({ input: process.stdin, output: process.stdout });
    const answer = await prompt.question(`${missing}\nInstall them with \`${command}\`? [y/N] `);
    prompt.close();
    if (!/^y(es)?$/i.test(answer.trim())) throw new SetupError(`${missing} Run: ${command}`);
  } else if (needsRoot && !asRoot) {
    throw new SetupError(`${missing} Run: ${command}`);
  }
  say(`installing PostgreSQL: ${command}`);
  run("sh", ["-c", command], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    failure: `\`${command}\` failed. Its own message is above.`,
  });
}

// --- the Pulumi CLI -------------------------------------------------------------------------------------------

async function findOrGetPulumi(before) {
  const tried = [];
  const ways = [pulumiOnPath, pulumiInCache, installPulumi, buildPulumi];
  for (const way of ways) {
    const found = await way(tried, before);
    if (found) return found;
  }
  throw new SetupError(
    `There is no way to a Pulumi CLI here. Tried: ${tried.join("; ")}. ` +
      "Install the Pulumi CLI (https://www.pulumi.com/docs/install/) or Go 1.25, and run this again.",
  );
}

function pulumiOnPath(tried, before) {
  const program = onPath("pulumi");
  if (!program) {
    tried.push("PATH (no pulumi)");
    return undefined;
  }
  const folder = path.dirname(path.dirname(program));
  // The Automation API wants <root>/bin/pulumi.
  if (path.basename(path.dirname(program)) !== "bin") {
    tried.push(`PATH (${program} is not in a folder named bin)`);
    return undefined;
  }
  const changed = fs.statSync(program).mtimeMs;
  if (before.pulumiRoot === folder && before.pulumiChanged === changed) return pick(before);
  const version = cliVersion(program);
  if (version && newEnough(version)) return { pulumiRoot: folder, pulumiVersion: version, pulumiChanged: changed };
  tried.push(
    `PATH (${program} is ${version || "of an unknown version"}, ${oldestPulumi.join(".")} or newer is needed)`,
  );
  return undefined;
}

const cachedRoot = path.join(cache, `pulumi-${pulumiVersion}`);

function pulumiInCache(tried, before) {
  const program = path.join(cachedRoot, "bin", "pulumi");
  if (!fs.existsSync(program)) {
    tried.push(`the cache (${cachedRoot} does not exist)`);
    return undefined;
  }
  const changed = fs.statSync(program).mtimeMs;
  if (before.pulumiRoot === cachedRoot && before.pulumiChanged === changed) return pick(before);
  const version = cliVersion(program);
  if (version) return { pulumiRoot: cachedRoot, pulumiVersion: version, pulumiChanged: changed };
  tried.push(`the cache (${program} does not run; remove it)`);
  return undefined;
}

async function installPulumi(tried, before) {
  const unlock = lock(`${cachedRoot}.lock`);
  const folder = `${cachedRoot}.install-${process.pid}`;
  try {
    if (fs.existsSync(path.join(cachedRoot, "bin", "pulumi"))) return pulumiInCache(tried, before);
    say(`installing the Pulumi CLI ${pulumiVersion} from its vendor (about half a minute)`);
    const { PulumiCommand } = require(path.join(root, "node_modules", "@pulumi", "pulumi", "automation"));
    const { SemVer } = require(path.join(root, "node_modules", "semver"));
    await PulumiCommand.install({ root: folder, version: new SemVer(pulumiVersion) });
    fs.renameSync(folder, cachedRoot);
    return pulumiInCache(tried, {});
  } catch (error) {
    const reason =
      String(error && error.message)
        .split("\n")
        .find((line) => line.trim() !== "") || "unknown";
    tried.push(`the vendor's installer (${reason.slice(0, 120)})`);
    return undefined;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
    unlock();
  }
}

function buildPulumi(tried) {
  if (!onPath("go")) {
    tried.push("a build from its Go module (no go on PATH)");
    return undefined;
  }
  const unlock = lock(`${cachedRoot}.lock`);
  const folder = `${cachedRoot}.build-${process.pid}`;
  try {
    if (fs.existsSync(path.join(cachedRoot, "bin", "pulumi"))) return pulumiInCache(tried, {});
    say(`building the Pulumi CLI ${pulumiVersion} from its Go module (once; 4 to 7 minutes on 2 cores)`);
    const started = Date.now();
    const version = `github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${pulumiVersion}`;
    const build = spawnSync(
      "go",
      [
        ...["build", "-trimpath", "-ldflags", `-s -w -X ${version}`],
        ...["-o", path.join(folder, "bin", "pulumi"), "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"],
      ],
      { cwd: path.join(root, "tools", "pulumi"), stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" },
    );
    if (build.status !== 0) {
      const reason = (build.stderr || "").trim().split("\n").pop() || `exit status ${build.status}`;
      tried.push(`a build from its Go module (${reason.slice(0, 200)})`);
      return undefined;
    }
    fs.renameSync(folder, cachedRoot);
    say(`built in ${Math.round((Date.now() - started) / 1000)} s; kept in ${cachedRoot}`);
    return pulumiInCache(tried, {});
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
    unlock();
  }
}

function pick({ pulumiRoot, pulumiVersion: version, pulumiChanged }) {
  return { pulumiRoot, pulumiVersion: version, pulumiChanged };
}

function cliVersion(program) {
  const result = spawnSync(program, ["version"], {
    encoding: "utf8",
    env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" },
  });
  const match = /^v?(\d+\.\d+\.\d+)/.exec((result.stdout || "").trim());
  return match ? match[1] : undefined;
}

function newEnough(version) {
  const [major, minor] = version.split(".").map(Number);
  return major > oldestPulumi[0] || (major === oldestPulumi[0] && minor >= oldestPulumi[1]);
}

// --- helpers --------------------------------------------------------------------------------------------------

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function run(program, args, { failure, ...options }) {
  // Everything that a step prints goes to standard error: standard output belongs to the command itself.
  const result = spawnSync(program, args, { stdio: ["ignore", 2, 2], ...options });
  if (result.status !== 0) throw new SetupError(failure);
}

function onPath(program) {
  for (const folder of (process.env.PATH || "").split(path.delimiter)) {
    const file = path.join(folder, program);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      if (fs.statSync(file).isFile()) return file;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

function digest(data) {
  return createHash("sha256").update(data).digest("hex");
}

function readState() {
  try {
    return JSON.parse(fs.readFileSync(stateFile, "utf8"));
  } catch {
    return {};
  }
}

/** Written only when something changed, and by renaming, so that a reader never sees half of it. */
function writeState(state) {
  const text = `${JSON.stringify(state, undefined, 2)}\n`;
  fs.mkdirSync(path.dirname(stateFile), { recursive: true });
  if (fs.existsSync(stateFile) && fs.readFileSync(stateFile, "utf8") === text) return;
  const temporary = `${stateFile}.${process.pid}`;
  fs.writeFileSync(temporary, text);
  fs.renameSync(temporary, stateFile);
}

/** One set-up at a time. A lock whose process is gone is taken over. Returns the function that frees it. */
function lock(file) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const deadline = Date.now() + lockDeadlineMinutes * 60_000;
  let told = false;
  for (;;) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: "wx" });
      return () => fs.rmSync(file, { force: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw new SetupError(`${file} cannot be written: ${error.message}`);
    }
    const holder = lockHolder(file);
    if (holder !== undefined && !isAlive(holder)) {
      fs.rmSync(file, { force: true });
      continue;
    }
    if (Date.now() > deadline) {
      throw new SetupError(`another set-up (process ${holder}) has held ${file} for ${lockDeadlineMinutes} minutes.`);
    }
    if (!told) say(`waiting for another set-up (process ${holder ?? "unknown"}) to end`);
    told = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
}

function lockHolder(file) {
  try {
    return Number(fs.readFileSync(file, "utf8")) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

main().catch((error) => {
  const text = error instanceof SetupError ? error.message : error.stack;
  process.stderr.write(`setup: ${text}\n`);
  process.exitCode = 2;
});
