"use strict";
const fs = require("node:fs");
const { greeting } = require("./src/greeting");

fs.mkdirSync("dist/assets", { recursive: true });
fs.writeFileSync("dist/index.html", `<p>${greeting("world")}</p>\n`);
fs.writeFileSync("dist/assets/site.css", "p { margin: 0 }\n");
fs.writeFileSync("dist/assets/site.css.map", "{}\n");
