"use strict";
/**
 * Keeps V8's compiled form of large modules. EC2's client alone is 2 MB of source, whose compilation costs every start
 * a sixth of a second. Node 22 can do this by itself.
 */
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const vm = require("node:vm");

/** Below, reading the cache costs as much as compiling. In bytes. */
const worthwhile = 100_000;

/** Must run before the modules are loaded. A cache that cannot be written only costs time. */
function cacheCompiledModules(folder) {
  if (Module.enableCompileCache !== undefined) return void Module.enableCompileCache(folder);
  const compile = Module.prototype._compile;
  const fresh = new Map();
  Module.prototype._compile = function (source, file, ...rest) {
    if (source.length < worthwhile || !file.includes("node_modules")) return compile.call(this, source, file, ...rest);
    const cached = path.join(folder, keyOf(file));
    const script = new vm.Script(Module.wrap(source), { filename: file, cachedData: read(cached) });
    if (script.cachedDataRejected !== false) fresh.set(cached, script);
    const load = script.runInThisContext();
    return load.call(this.exports, this.exports, requireOf(this, file), this, file, path.dirname(file));
  };
  // By then, what the program used is compiled too.
  process.once("exit", () => fresh.forEach((script, cached) => write(cached, script.createCachedData())));
}

/** V8 itself refuses what another version has made, and another length of the source. */
function keyOf(file) {
  const { size, mtimeMs } = fs.statSync(file);
  return createHash("sha256").update([file, size, mtimeMs, process.version].join("\0")).digest("hex");
}

function requireOf(module, file) {
  return Object.assign((id) => module.require(id), Module.createRequire(file));
}

function read(file) {
  try {
    return fs.readFileSync(file);
  } catch {
    return undefined;
  }
}

function write(file, data) {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(`${file}.${process.pid}`, data);
    fs.renameSync(`${file}.${process.pid}`, file);
  } catch {
    // The next start compiles again.
  }
}

module.exports = { cacheCompiledModules };
