/**
 * Which operations of AWS the files of this project call, read from their text: commands of the SDK, command lines of
 * the `aws` program, and the operations' names that conformance tests give to clients.
 */
import ts from "typescript";
import { filesBelow, textOf } from "./pages";

/** What the emulator has: operations by the service's signing name. */
export type Operations = ReadonlyMap<string, readonly string[]>;

/** `s3 PutObject` */
export type Call = string;

export interface CallingFile {
  readonly file: string;
  readonly calls: ReadonlySet<Call>;
}

/** What clients and command lines call a service otherwise than requests' signatures do. */
const otherNames: Readonly<Record<string, string>> = {
  "cloudwatch-logs": "logs",
  "secrets-manager": "secretsmanager",
  cloudwatch: "monitoring",
  eventbridge: "events",
  s3api: "s3",
};
const signingName = (name: string): string => otherNames[name] ?? name;

const transfer = ["PutObject", "GetObject", "HeadObject", "CreateMultipartUpload", "UploadPart"];
const parts = [...transfer, "CompleteMultipartUpload", "AbortMultipartUpload"];
/** What the `aws s3` commands call, and `Upload` of @aws-sdk/lib-storage. */
const s3Commands: Readonly<Record<string, readonly string[]>> = {
  cp: parts,
  sync: [...parts, "ListObjectsV2"],
  ls: ["ListBuckets", "ListObjectsV2"],
  mb: ["CreateBucket"],
  rb: ["DeleteBucket", "ListObjectsV2", "DeleteObject"],
  rm: ["DeleteObject", "ListObjectsV2"],
};
/** What the waiters of the `aws` program ask. */
const waiters: Readonly<Record<string, string>> = {
  "command-executed": "GetCommandInvocation",
  "vpc-available": "DescribeVpcs",
};

/** The files below a folder that call something, and what. */
export function callingFiles(folder: string, operations: Operations): readonly CallingFile[] {
  return filesBelow(folder)
    .filter((file) => /\.(ts|js|sh|py)$|\/bin\/\w+$/.test(file))
    .map((file) => ({ file, calls: new Set(callsIn(textOf(file), operations, file.startsWith("test/conformance/"))) }))
    .filter(({ calls }) => calls.size > 0);
}

export function callsIn(text: string, operations: Operations, named = false): readonly Call[] {
  return [
    ...sdkCalls(text, operations),
    ...commandLines(text, operations),
    ...(named ? namedOperations(text, operations) : []),
  ];
}

function sdkCalls(text: string, operations: Operations): readonly Call[] {
  const clients = [...text.matchAll(/"@aws-sdk\/client-([\w-]+)"/g)].map(([, name = ""]) => signingName(name));
  const names = [...text.matchAll(/\b(\w+)Command\b|\bpaginate(\w+)\(/g)].map(([, one, all]) => one ?? all ?? "");
  const uploads = /\bnew (\w+\.)?Upload\(/.test(text) ? parts.map((name) => `s3 ${name}`) : [];
  const called = new Set(names);
  return [
    ...uploads,
    ...[...new Set(clients)].flatMap((service) =>
      (operations.get(service) ?? []).filter((name) => called.has(name)).map((name) => `${service} ${name}`),
    ),
  ];
}

/** Also those that are given to a function word by word: `aws("ec2", "describe-vpcs")`. */
function commandLines(text: string, operations: Operations): readonly Call[] {
  const words = text.replace(/["'],\s*["']/g, " ");
  // The first word may be the second of another pair: what is looked for does not use it up.
  return [...words.matchAll(/\b(?=([a-z][a-z0-9]+) (wait )?([a-z][a-z0-9-]*))/g)].flatMap(
    ([, service = "", waits, command = ""]) => {
      const name = signingName(service);
      if (service === "s3") return (s3Commands[command] ?? []).map((each) => `s3 ${each}`);
      const operation = waits ? waiters[command] : operations.get(name)?.find((each) => kebab(each) === command);
      return operation === undefined ? [] : [`${name} ${operation}`];
    },
  );
}

function kebab(operation: string): string {
  return operation
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1-$2")
    .toLowerCase();
}

function namedOperations(text: string, operations: Operations): readonly Call[] {
  const quoted = new Set([...text.matchAll(/"(\w+)"/g)].map(([, name]) => name));
  return [...operations].flatMap(([service, names]) =>
    names.filter((name) => quoted.has(name)).map((name) => `${service} ${name}`),
  );
}

/** The Pulumi resources and functions that make a call in a file that defines some, by themselves or by a helper. */
export function resourcesCalling(file: string, call: Call, operations: Operations): readonly string[] {
  const statements = statementsOf(file, operations);
  const making = new Set(statements.filter(({ calls }) => calls.has(call)));
  let helpers: readonly string[];
  do {
    helpers = [...making].filter(({ types }) => types.length === 0).flatMap(({ names }) => names);
    for (const each of statements) if (helpers.some((name) => each.words.has(name))) making.add(each);
  } while ([...making].filter(({ types }) => types.length === 0).flatMap(({ names }) => names).length > helpers.length);
  return [...new Set([...making].flatMap(({ types }) => types))].sort();
}

interface CallingStatement {
  /** What it declares. */
  readonly names: readonly string[];
  /** What it says of itself to be: `aws:s3/bucket:Bucket`. */
  readonly types: readonly string[];
  readonly words: ReadonlySet<string>;
  readonly calls: ReadonlySet<Call>;
}

const parsed = new Map<string, readonly CallingStatement[]>();

function statementsOf(file: string, operations: Operations): readonly CallingStatement[] {
  const known = parsed.get(file);
  if (known) return known;
  const source = ts.createSourceFile(file, textOf(file), ts.ScriptTarget.ES2023, true);
  const isImport = (statement: ts.Statement): boolean =>
    ts.isImportDeclaration(statement) || ts.isImportEqualsDeclaration(statement);
  const imported = source.statements.filter(isImport).map((each) => /"[^"]+"/.exec(each.getText())?.[0]);
  const statements = source.statements
    .filter((statement) => !isImport(statement))
    .map((statement) => {
      const text = statement.getText();
      return {
        names: declaredBy(statement),
        types: [...text.matchAll(/"(aws:\w+\/\w+:\w+)"/g)].map(([, type = ""]) => type),
        words: new Set(text.match(/\w+/g)),
        calls: new Set(callsIn(`${imported.join()} ${text}`, operations)),
      };
    });
  parsed.set(file, statements);
  return statements;
}

function declaredBy(statement: ts.Statement): readonly string[] {
  if (ts.isFunctionDeclaration(statement)) return statement.name ? [statement.name.text] : [];
  if (!ts.isVariableStatement(statement)) return [];
  return statement.declarationList.declarations.flatMap(({ name }) => (ts.isIdentifier(name) ? [name.text] : []));
}
