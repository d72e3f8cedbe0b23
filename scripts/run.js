#!/usr/bin/env node
"use strict";
/** Runs a TypeScript program of this project: `node scripts/run.js automation/main.ts drill --help`. */
const path = require("node:path");
const { cacheCompiledModules } = require("./compile-cache");
const { prepare } = require("./typescript");

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
const [program] = process.argv.splice(2, 1);
process.argv[1] = path.join(path.dirname(__dirname), program);
cacheCompiledModules(path.join(__dirname, "..", "node_modules", ".cache", "protected-pipeline", "modules"));
prepare().then(() => require(process.argv[1]));
