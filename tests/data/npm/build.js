// Needs the installed dependencies, and those they have themselves.
const fs = require("fs");
const semver = require("semver");
const yargs = require("yargs/yargs");

const { from } = yargs(["--from", "1.2.3"]).parse();
fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/version", semver.inc(from, "minor"));
