"use strict";
/**
 * Runs TypeScript without type-checking it, from a cache. esbuild compiles a source once per content (a few
 * milliseconds); afterwards a start costs reading the results. ts-node, which the tests and Pulumi's own runner use,
 * compiles every file again at every start, and its source maps make each stack trace that Pulumi takes per resource
 * expensive: together more than half of the processor time of a drill.
 */
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");

const root = path.dirname(__dirname);
const cache = path.join(root, "node_modules", ".cache", "protected-pipeline", "compiled");
const folders = ["automation", "components", "demo", "emulator", "run"];
const esbuildVersion = require("esbuild/package.json").version;
const options = { loader: "ts", format: "cjs", platform: "node", target: "node20", sourcemap: false };

/** Where the result of each source lies that {@link prepare} has looked at. */
const compiled = new Map();

/** Compiles what is new or changed, in parallel, and makes `require` understand `.ts` files of this project. */
async function prepare() {
  fs.mkdirSync(cache, { recursive: true });
  for (const file of sources()) compiled.set(file, compiledFile(file, fs.readFileSync(file, "utf8")));
  const stale = [...compiled.keys()].filter((file) => !fs.existsSync(compiled.get(file)));
  if (stale.length > 0) await compileAll(stale);
  require.extensions[".ts"] = (module, file) => module._compile(compiledText(file), file);
  const load = Module._load;
  Module._load = (name, parent, ...rest) =>
    isLoadedLate(name, parent) ? late(() => load(name, parent, ...rest)) : load(name, parent, ...rest);
}

/**
 * What costs more of a start than all the rest, and is not needed for it: AWS's clients, of which the emulator has all
 * and a call needs one; what Pulumi's SDK has for programs that serialise functions, which no program here does; the
 * hundreds of services of its provider's SDK.
 */
const loadedLate =
  /^(@aws-sdk\/client-[^/]+|typescript|@npmcli\/arborist|normalize-package-data|semver|(js-)?yaml|execa|log-update)$/;
const provider = path.join("@pulumi", "aws", "index.js");

function isLoadedLate(name, parent) {
  return name.startsWith("./") ? parent?.filename.endsWith(provider) === true : loadedLate.test(name);
}

/** A module that is loaded when something of it is first used. */
function late(load) {
  let module;
  const loaded = () => (module ??= load());
  // As an ES module, which an importer takes as it is; one that is none is its own default.
  const member = (name) => {
    if (name === "__esModule") return true;
    return name === "default" && !loaded().__esModule ? loaded() : loaded()[name];
  };
  return new Proxy(() => undefined, {
    get: (_target, name) => member(name),
    apply: (_target, self, values) => Reflect.apply(loaded(), self, values),
    has: (_target, name) => name in loaded(),
    ownKeys: () => Reflect.ownKeys(loaded()).filter((name) => name !== "__esModule"),
    getOwnPropertyDescriptor: (_target, name) =>
      name in loaded() ? { value: loaded()[name], enumerable: true, configurable: true } : undefined,
  });
}

function sources() {
  const found = [path.join(root, "index.ts")].filter((file) => fs.existsSync(file));
  for (const folder of folders) {
    for (const entry of fs.readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && entry.name.endsWith(".ts")) found.push(path.join(entry.parentPath, entry.name));
    }
  }
  return found;
}

async function compileAll(files) {
  const esbuild = require("esbuild");
  await Promise.all(
    files.map(async (file) => {
      const source = fs.readFileSync(file, "utf8");
      const { code } = await esbuild.transform(source, { ...options, sourcefile: file });
      write(compiled.get(file), code);
    }),
  );
  await esbuild.stop();
}

function compiledText(file) {
  // Read and hashed once, by `prepare`; only a file outside of its folders is new here.
  const known = compiled.get(file);
  if (known !== undefined) return fs.readFileSync(known, "utf8");
  const source = fs.readFileSync(file, "utf8");
  const result = compiledFile(file, source);
  if (!fs.existsSync(result)) {
    write(result, require("esbuild").transformSync(source, { ...options, sourcefile: file }).code);
  }
  return fs.readFileSync(result, "utf8");
}

function compiledFile(file, source) {
  const key = [esbuildVersion, JSON.stringify(options), path.relative(root, file), source].join("\0");
  return path.join(cache, `${createHash("sha256").update(key).digest("hex")}.js`);
}

function write(file, text) {
  const temporary = `${file}.${process.pid}`;
  fs.writeFileSync(temporary, text);
  fs.renameSync(temporary, file);
}

module.exports = { prepare };
