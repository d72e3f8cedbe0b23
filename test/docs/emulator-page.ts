/** docs/emulator.md, made of what the emulator's services say of themselves and of what the project's sources call. */
import ts from "typescript";
import type { Service } from "../../emulator/core/definitions";
import { type Call, type CallingFile, callingFiles, type Operations, resourcesCalling } from "./callers";
import { cell, filesBelow, linkTo, textOf } from "./pages";

/** What people do by hand, and nothing here does for them. */
const byHand: Readonly<Record<Call, string>> = {
  "codepipeline PutApprovalResult": "who approves a release",
  "codepipeline RetryStageExecution": "who retries a failed stage",
  "codepipeline StopPipelineExecution": "who stops or abandons a release",
  "ec2 RebootInstances": "who reboots the machine",
  "iam CreatePolicy": "who lays down the boundary of an account's roles",
  "iam DeletePolicy": "who takes it away",
  "monitoring SetAlarmState": "who tries out an alarm",
};

/** Whose sources call operations, in the order in which the page names them. */
const sources: readonly (readonly [folder: string, who: string])[] = [
  ["components", "components"],
  ["jobs", "jobs"],
  ["demo", "demo"],
  ["automation/operator", "operator's commands"],
  ["automation", "driver"],
];

export interface Described {
  readonly service: string;
  readonly protocol: string;
  readonly operation: string;
  readonly honours: readonly string[];
  readonly callers: readonly string[];
  /** Test files. */
  readonly proofs: readonly string[];
}

/** Every operation with who calls it and which test proves it. */
export function describeOperations(services: readonly Service[]): readonly Described[] {
  const operations: Operations = new Map(
    services.map((service) => [service.signingName, service.operations.map(({ name }) => name)]),
  );
  const callers = callersOf(operations);
  const tests = callingFiles("test", operations).filter(({ file }) => file.endsWith(".test.ts"));
  return services.flatMap(({ signingName, protocol, operations: own }) =>
    own.map(({ name, honours }) => {
      const call = `${signingName} ${name}`;
      const calling = callers(call);
      return {
        service: signingName,
        protocol,
        operation: name,
        honours,
        callers: calling,
        proofs: proofsOf(call, tests, calling),
      };
    }),
  );
}

function callersOf(operations: Operations): (call: Call) => readonly string[] {
  const inProject = sources.map(([folder, who]) => ({ who, files: callingFiles(folder, operations) }));
  const inEmulator = callingFiles("emulator/services", operations);
  const people = callingFiles("test/conformance", operations);
  const calls = (files: readonly CallingFile[], call: Call): boolean => files.some((file) => file.calls.has(call));
  return (call) => [
    ...inProject.filter(({ files }) => calls(files, call)).map(({ who }) => who),
    ...[
      ...new Set(inEmulator.filter((file) => file.calls.has(call)).flatMap((file) => inside(file, call, operations))),
    ],
    ...(calls(people, call) ? ["`aws` or boto3"] : []),
    ...(byHand[call] === undefined ? [] : [`by hand: ${byHand[call]}`]),
  ];
}

function inside({ file }: CallingFile, call: Call, operations: Operations): readonly string[] {
  const types = resourcesCalling(file, call, operations);
  return types.length > 0 ? types.map((type) => `\`${type}\``) : [`the service ${file.split("/")[2] ?? ""}`];
}

/**
 * The tests that call it, by name or by a function of the provider. The test of every property of every resource stands
 * for what only resources call.
 */
function proofsOf(call: Call, tests: readonly CallingFile[], callers: readonly string[]): readonly string[] {
  const calling = tests.filter(({ calls }) => calls.has(call)).map(({ file }) => file);
  const closest = calling.filter((file) => file.startsWith("test/emulator/") || file.startsWith("test/conformance/"));
  if (closest.length > 0) return closest;
  if (calling.length > 0) return calling;
  const tokens = callers.filter((caller) => /^`aws:.*:[a-z]/.test(caller)).map((caller) => caller.slice(1, -1));
  const asking = testFiles().filter((file) => tokens.some((token) => textOf(file).includes(`"${token}"`)));
  if (asking.length > 0) return asking;
  return callers.some((caller) => /^`aws:.*:[A-Z]/.test(caller))
    ? ["test/emulator/provider/every-property.test.ts"]
    : [];
}

function testFiles(): readonly string[] {
  return filesBelow("test").filter((file) => file.endsWith(".test.ts"));
}

/** What is listed as done by hand, but is no operation, or is called by something. */
export function needlessByHand(described: readonly Described[]): readonly Call[] {
  const alone = described
    .filter(({ callers }) => callers.length === 1)
    .map((each) => `${each.service} ${each.operation}`);
  return Object.keys(byHand).filter((call) => !alone.includes(call));
}

export function emulatorPage(services: readonly Service[], described: readonly Described[]): string {
  return `${[introduction, ...services.map((service) => serviceSection(service, described)), faultSection()].join("\n\n")}\n`;
}

const introduction = `# What the emulator has

An operation exists because something calls it, and does what AWS documents of the members that it honours. This page is
written by \`UPDATE_DOCS=1 npx mocha test/docs/emulator.test.ts\`; the test fails when it is stale, when nothing calls an
operation, and when no test does. [claims.md](claims.md) says what is claimed of AWS's behaviour, sentence by sentence.

## Honest edges

* Any other service, operation, member of an input, resource type, input of a resource or function is refused by its
  name: \`NotImplemented: RunInstances.Placement\`, HTTP 501. Nothing that a caller sets is ignored. A member that is
  listed below as honoured counts with all that it contains; \`source.type\` is that member of it alone.
* Every call is signed (Signature Version 4), and its keys, session, time, Region and signature are checked; presigned
  URLs and signed chunks are not there. There is no switch that turns this off, nor one for IAM.
* IAM decides on every call: policies of identities and resources, trust policies, permissions boundaries. A policy with
  an element, an operator or a condition key that is not evaluated is refused when it is put. There are no users, groups,
  session policies (\`sts:AssumeRole\` is not an operation here: services assume roles) or service control policies.
* One account, one Region, the loopback. What AWS leaves open is marked in claims.md.
* Lifecycle rules of buckets are kept and shown, and nothing expires by them. An object that comes without a checksum gets
  none, where S3 computes CRC64NVME.
* Memory is bounded: the newest 20,000 calls are remembered (\`emulator.recorder\`), no payloads among them; finished builds,
  executions, commands and background jobs are forgotten when there are many newer ones.`;

function serviceSection(service: Service, described: readonly Described[]): string {
  const { signingName, protocol, resources, invokes } = service;
  const rows = described
    .filter((each) => each.service === signingName)
    .map(({ operation, honours, callers, proofs }) =>
      row(
        operation,
        honours.map((path) => `\`${path}\``).join(", ") || "none",
        callers.join(", "),
        proofs.map(linkTo).join(", "),
      ),
    );
  return [
    `## ${signingName}\n\nProtocol ${protocol}.`,
    [row("operation", "honours", "called by", "proved by"), row("---", "---", "---", "---"), ...rows].join("\n"),
    ...(resources.length > 0 ? [resourceTable(service)] : []),
    ...(invokes.length > 0 ? [functionTable(service)] : []),
  ].join("\n\n");
}

function resourceTable({ resources }: Service): string {
  const rows = resources.map(({ type, inputs }) => {
    const names = (replaces: boolean): string =>
      Object.entries(inputs)
        .filter(([, { replaceOn }]) => (replaceOn !== undefined) === replaces)
        .map(([name, { fixed }]) => `\`${name}\`${fixed === undefined ? "" : " (fixed)"}`)
        .join(", ");
    return row(`\`${type}\``, usersOf(type), names(false) || "none", names(true) || "none");
  });
  const head = row("resource", "made by", "changes in place", "a change replaces");
  return [head, row("---", "---", "---", "---"), ...rows].join("\n");
}

function functionTable({ invokes }: Service): string {
  const rows = invokes.map(({ token }) => row(`\`${token}\``, usersOf(token)));
  return [row("function of the provider", "asked by"), row("---", "---"), ...rows].join("\n");
}

/** Whose programs name a resource or function: `aws:s3/bucket:Bucket` is `aws.s3.Bucket` there. */
function usersOf(token: string): string {
  const [, module = "", name = ""] = /^aws:(\w+)\/\w+:(\w+)$/.exec(token) ?? [];
  const path = module === "index" ? name : `${module}\\.${name}`;
  const used = new RegExp(`\\baws\\.${path}(Output)?\\b`);
  const users = ["components", "demo", "automation"].filter((folder) =>
    filesBelow(folder).some((file) => file.endsWith(".ts") && used.test(textOf(file))),
  );
  return users.join(", ") || "programs of others";
}

// --- Faults --------------------------------------------------------------------------------------------------------

function faultSection(): string {
  const vocabulary = ts.createSourceFile(
    "definitions.ts",
    textOf("emulator/core/definitions.ts"),
    ts.ScriptTarget.ES2023,
    true,
  );
  const membersOf = (name: string): readonly ts.TypeElement[] =>
    vocabulary.statements
      .filter(ts.isInterfaceDeclaration)
      .find((each) => each.name.text === name)
      ?.members.slice() ?? [];
  const tests = filesBelow("test").filter((file) => file.endsWith(".test.ts"));
  const provenBy = (text: string): string =>
    tests
      .filter((file) => textOf(file).includes(text))
      .map(linkTo)
      .join(", ");
  const points = membersOf("FaultPoints").map((member) => {
    const name = nameOf(member);
    const effect = /effect: (\w+)/.exec(member.getText())?.[1] ?? "";
    return row(`\`${name}\``, commentOf(member), kindsOf(vocabulary, effect), provenBy(`at: "${name}"`));
  });
  const breakables = membersOf("Breakables").map((member) =>
    row(`\`${nameOf(member)}\``, commentOf(member), provenBy(`break("${nameOf(member)}"`)),
  );
  return `## Faults

What goes wrong is data, typed by the place where it strikes: the nth time that the place is reached under its
conditions, so often, or a share of the times that the emulator's \`seed\` chooses. Nothing depends on the time.

    const fault = emulator.faults.inject({ at: "call", when: { operation: "CreateSnapshots" }, nth: 2, effect: { kind: "throttle" } });
    await fault.happened; // it has struck
    fault.release(); // what hangs goes on
    const breakage = await emulator.faults.break("rds.network", { instance: "shop" }, 5); // seconds

\`emulator.faults.clear()\` takes all away and mends what is broken; closing the emulator does too.

${[row("place", "when", "what can happen", "proved by"), row("---", "---", "---", "---"), ...points].join("\n")}

${[row("can be broken", "what that is", "proved by"), row("---", "---", "---"), ...breakables].join("\n")}`;
}

function nameOf({ name }: ts.TypeElement): string {
  return name && "text" in name ? String(name.text) : "";
}

function commentOf(node: ts.Node): string {
  const [comment] = ts.getJSDocCommentsAndTags(node).map((each) => ts.getTextOfJSDocComment(each.comment) ?? "");
  return comment ?? "";
}

function kindsOf(vocabulary: ts.SourceFile, type: string): string {
  const alias = vocabulary.statements.filter(ts.isTypeAliasDeclaration).find(({ name }) => name.text === type);
  const kinds = [...(alias?.getText() ?? "").matchAll(/kind: "(\w+)"/g)].map(([, kind]) => `\`${kind}\``);
  return kinds.join(", ");
}

function row(...cells: readonly string[]): string {
  return `| ${cells.map(cell).join(" | ")} |`;
}
