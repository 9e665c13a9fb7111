#!/usr/bin/env node
// The npm compiler (solc compiled to JavaScript) behind the command line of a native one, as far as
// py-solc-x, forge and slither use it: --version, --standard-json, --combined-json. `solcjs` itself
// cannot serve: it prints a banner before the JSON.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const solc = require("solc");

const TAKES_VALUE = new Set([
  "allow-paths", "base-path", "combined-json", "evm-version", "include-path", "optimize-runs",
]);
const FLAGS = new Set(["optimize", "standard-json", "version", "via-ir"]);

// What --combined-json calls a field, where standard JSON keeps it.
const FIELDS = {
  abi: ["abi", (c) => c.abi],
  bin: ["evm.bytecode.object", (c) => c.evm.bytecode.object],
  "bin-runtime": ["evm.deployedBytecode.object", (c) => c.evm.deployedBytecode.object],
  devdoc: ["devdoc", (c) => c.devdoc],
  hashes: ["evm.methodIdentifiers", (c) => c.evm.methodIdentifiers],
  metadata: ["metadata", (c) => c.metadata],
  srcmap: ["evm.bytecode.sourceMap", (c) => c.evm.bytecode.sourceMap],
  "srcmap-runtime": ["evm.deployedBytecode.sourceMap", (c) => c.evm.deployedBytecode.sourceMap],
  "storage-layout": ["storageLayout", (c) => c.storageLayout],
  userdoc: ["userdoc", (c) => c.userdoc],
};

function refuse(message) {
  process.stderr.write(`Error: ${message}\n`);
  process.exit(1);
}

function parse(argv) {
  const call = { options: {}, includePaths: [], remappings: [], files: [] };
  for (let i = 0; i < argv.length; i += 1) {
    const [, name, inline] = argv[i].match(/^--([a-z-]+)(?:=(.*))?$/s) || [];
    if (name === undefined) takeOperand(call, argv[i]);
    else if (FLAGS.has(name)) call.options[name] = true;
    else if (TAKES_VALUE.has(name)) takeOption(call, name, inline ?? argv[(i += 1)]);
    else refuse(`unrecognised option '--${name}'`);
  }
  return call;
}

function takeOperand(call, word) {
  if (word === "-") return;
  (word.includes("=") ? call.remappings : call.files).push(word);
}

function takeOption(call, name, value) {
  if (value === undefined) refuse(`option '--${name}' needs a value`);
  if (name === "include-path") call.includePaths.push(value);
  else call.options[name] = value;
}

function reader(call) {
  const roots = [call.options["base-path"] || "", ...call.includePaths];
  return (source) => {
    for (const root of roots) {
      const file = path.join(root, source);
      if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
    }
    return { error: `File not found: ${source}` };
  };
}

// process.stdout to a pipe is asynchronous and process.exit would cut it off: write every byte first.
function print(text) {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(1, rest));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function printVersion() {
  const version = solc.version();
  print(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
}

function compileStandard(call) {
  print(`${solc.compile(fs.readFileSync(0, "utf8"), { import: reader(call) })}\n`);
}

function combinedInput(call, fields) {
  const sources = {};
  for (const file of call.files) sources[file] = { content: fs.readFileSync(file, "utf8") };
  const settings = {
    remappings: call.remappings,
    optimizer: {
      enabled: Boolean(call.options.optimize),
      runs: Number(call.options["optimize-runs"] || 200),
    },
    viaIR: Boolean(call.options["via-ir"]),
    outputSelection: { "*": { "": ["ast"], "*": fields.map((field) => FIELDS[field][0]) } },
  };
  if (call.options["evm-version"]) settings.evmVersion = call.options["evm-version"];
  return { language: "Solidity", sources, settings };
}

function combinedOutput(output, fields, withAst) {
  const contracts = {};
  for (const [file, inFile] of Object.entries(output.contracts || {})) {
    for (const [name, contract] of Object.entries(inFile)) {
      const entries = fields.map((field) => [field, FIELDS[field][1](contract)]);
      contracts[`${file}:${name}`] = Object.fromEntries(entries);
    }
  }
  const sourceList = [];
  for (const [file, source] of Object.entries(output.sources)) sourceList[source.id] = file;
  const sources = Object.entries(output.sources).map(([file, source]) => [file, { AST: source.ast }]);
  const result = { contracts, sourceList, version: solc.version() };
  return withAst ? { ...result, sources: Object.fromEntries(sources) } : result;
}

function compileCombined(call) {
  const asked = call.options["combined-json"].split(",");
  const fields = asked.filter((field) => field !== "ast");
  const unknown = fields.find((field) => !(field in FIELDS));
  if (unknown) refuse(`Invalid option to --combined-json: ${unknown}`);
  const input = JSON.stringify(combinedInput(call, fields));
  const output = JSON.parse(solc.compile(input, { import: reader(call) }));
  for (const problem of output.errors || []) process.stderr.write(`${problem.formattedMessage}\n`);
  if ((output.errors || []).some((problem) => problem.severity === "error")) process.exit(1);
  print(`${JSON.stringify(combinedOutput(output, fields, asked.includes("ast")))}\n`);
}

const call = parse(process.argv.slice(2));
if (call.options.version) printVersion();
else if (call.options["standard-json"]) compileStandard(call);
else if (call.options["combined-json"]) compileCombined(call);
else refuse("say one of --version, --standard-json, --combined-json");
