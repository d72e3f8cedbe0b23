import js from "@eslint/js";
import pulumi from "@pulumi/eslint-plugin";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["node_modules/", "dist/", "coverage/"] },
  js.configs.recommended,
  {
    files: ["**/*.ts"],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { "@pulumi": pulumi },
    rules: {
      "@pulumi/no-output-in-template-literal": "error",
      "@pulumi/no-output-instance-in-template-literal": "off",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/consistent-type-imports": "off",
      // `import client = require("...")` stays one module, which scripts/typescript.js loads when it is first used;
      // `import * as client` would copy its members, and so load it at once.
      "@typescript-eslint/no-require-imports": ["error", { allowAsImport: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // A handler that has nothing to wait for still answers with a promise: the interface says so.
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
    },
  },
  {
    files: ["test/**/*.ts"],
    rules: {
      // mocha's `describe` and `it` callbacks.
      "@typescript-eslint/no-floating-promises": "off",
    },
  },
  {
    files: ["**/*.js", "**/*.cjs", "**/*.mjs", "emulator/image/bin/*"],
    languageOptions: {
      sourceType: "commonjs",
      globals: {
        ...Object.fromEntries(
          [
            "require",
            "module",
            "process",
            "console",
            "Buffer",
            "__dirname",
            "__filename",
            "setTimeout",
            "clearTimeout",
            "setInterval",
            "clearInterval",
            "SharedArrayBuffer",
            "Atomics",
            "URL",
            "fetch",
            "AbortSignal",
            "AbortController",
            "setImmediate",
          ].map((name) => [name, "readonly"]),
        ),
      },
    },
    rules: { "no-unused-vars": ["error", { argsIgnorePattern: "^_" }] },
  },
  { files: ["**/*.mjs"], languageOptions: { sourceType: "module" } },
);
