"use strict";
/**
 * An esbuild plugin that bundles of an AWS client only what a program uses. esbuild keeps a module whole that is
 * imported by `import()`, and the whole of EC2's client is 2 MB that every start of a job would have to parse.
 * So each client is first bundled by itself, behind a module that exports just the names in use, where esbuild can drop
 * the rest; that result then stands where the client stood.
 */
const fs = require("node:fs");
const path = require("node:path");

/** How a client is loaded: each way tells which of its names are used. */
const loads = [
  // const { A, B } = await import("...")
  /const \{(?<names>[^{}]*)\} =\s+await import\("(?<client>@aws-sdk\/client-[^"]+)"\)/g,
  // (await import("...")).A
  /\(await import\("(?<client>@aws-sdk\/client-[^"]+)"\)\)\.(?<names>\w+)/g,
  // import { A, B } from "..."
  /^import \{(?<names>[^{}]*)\} from "(?<client>@aws-sdk\/client-[^"]+)"/gm,
];
/** Every mention of a client that is there at run time; one that is not also a load above hides what it uses. */
const mentions = /(?<!typeof )import\("@aws-sdk\/client-|^(?:import|export) (?!type )[^;]*from "@aws-sdk\/client-/gm;

/** @returns the names in use of each client, sorted: two clones must make the same bytes */
function namesInUse(folders) {
  const names = new Map();
  for (const file of folders.flatMap(sources)) {
    const text = fs.readFileSync(file, "utf8");
    const found = loads.flatMap((pattern) => [...text.matchAll(pattern)]);
    for (const { groups } of found) {
      const used = names.get(groups.client) ?? new Set();
      names.set(groups.client, used);
      for (const name of groups.names.split(",").map((each) => each.trim())) if (name !== "") used.add(name);
    }
    if (found.length !== [...text.matchAll(mentions)].length) {
      throw new Error(
        `${file} loads an AWS client in a way that hides which of its names are used: ` +
          'write `const { Name } = await import("@aws-sdk/client-...")`.',
      );
    }
  }
  return new Map([...names].map(([client, used]) => [client, [...used].sort()]));
}

function sources(folder) {
  return fs
    .readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.[jt]s$/.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}

/**
 * @param esbuild - the module
 * @param root - of the clone
 * @param folders - whose sources make the program
 * @param options - esbuild's options, which both passes share
 */
function sdkSubset(esbuild, root, folders, options) {
  const users = folders.map((folder) => path.join(root, folder));
  const names = namesInUse(users);
  return {
    name: "sdk-subset",
    setup(build) {
      build.onResolve({ filter: /^@aws-sdk\/client-[^/]+$/ }, ({ path: client, importer }) =>
        users.some((folder) => importer.startsWith(folder + path.sep))
          ? { path: client, namespace: "sdk-subset" }
          : undefined,
      );
      build.onLoad({ filter: /./, namespace: "sdk-subset" }, async ({ path: client }) => {
        const resolveDir = path.join(root, "node_modules", client);
        const { outputFiles } = await esbuild.build({
          ...options,
          stdin: { contents: `export { ${names.get(client).join(", ")} } from "${client}";`, resolveDir: root },
          format: "esm",
          write: false,
          plugins: [onlyThis(client), constantKeys],
        });
        return { contents: outputFiles[0].text, resolveDir };
      });
    },
  };
}

/** Everything but the client itself stays an import: the second pass bundles it once for all clients. */
function onlyThis(client) {
  return {
    name: "only-this",
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, ({ path: name }) =>
        name === client ? undefined : { path: name, external: true },
      );
    },
  };
}

/** Writes `{ [_eN]: ... }` as `{ "Name": ... }`: a computed key could have an effect, and keeps an unused schema. */
const constantKeys = {
  name: "constant-keys",
  setup(build) {
    build.onLoad({ filter: /client-[^/\\]+[/\\]dist-es[/\\]schemas[/\\][^/\\]+\.js$/ }, ({ path: file }) => {
      const text = fs.readFileSync(file, "utf8");
      const constants = new Map(
        [...text.matchAll(/^const (\w+) = ("[^"]*");$/gm)].map(([, name, value]) => [name, value]),
      );
      return {
        contents: text.replace(/\[(_\w+)\]:/g, (whole, name) =>
          constants.has(name) ? `${constants.get(name)}:` : whole,
        ),
      };
    });
  },
};

module.exports = { sdkSubset };
