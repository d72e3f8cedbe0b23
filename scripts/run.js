#!/usr/bin/env node
"use strict";
/** Runs a TypeScript program of this project: `node scripts/run.js automation/main.ts drill --help`. */
const path = require("node:path");

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
const root = path.dirname(__dirname);
require("ts-node").register({ transpileOnly: true, project: path.join(root, "tsconfig.json") });
const [program] = process.argv.splice(2, 1);
process.argv[1] = path.join(root, program);
require(process.argv[1]);
