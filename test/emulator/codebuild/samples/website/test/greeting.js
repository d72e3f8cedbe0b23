"use strict";
const assert = require("node:assert/strict");
const { greeting } = require("../src/greeting");

assert.equal(greeting("you"), "Hello, you!");
console.log("1 test passed");
