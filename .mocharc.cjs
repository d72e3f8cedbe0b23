"use strict";
module.exports = {
  require: ["ts-node/register/transpile-only"],
  extension: ["ts"],
  timeout: 120_000,
  // A shared CI machine stalls for seconds at times, and a deadline passes. What fails twice in a row fails.
  retries: process.env.CI === undefined ? 0 : 1,
};
