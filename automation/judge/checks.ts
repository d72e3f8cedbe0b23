/**
 * The checks: what had to be true, judged from what was gathered. Pure but for reading the dumps' files.
 * A check that could not be made did not hold.
 */
import * as fs from "node:fs/promises";
import type { CutOver } from "../../run/facts";
import { evidenceDatabase, runId } from "../../run/ids";
import type { Check } from "../../run/report";
import { messageOf } from "../refusal";
import type { Outcome } from "../outcome";
import { createdTables, differingLines, differingTables, readTables, sameBytes, type DumpTables } from "./dump";
import type { ExecutionRecord, RunRecord } from "./run";
import type { Search } from "./secrets";
import { changedTables, untruths } from "./undone";
import type { Answer, DatabaseTruth, FilesTruth, InstanceTruth, Truth } from "./truth";

/** All that the checks look at. */
export interface Gathered {
  readonly expected: "healed" | "healthy";
  readonly databaseName: string;
  /** True when the release is known to add a table: the evidence has to hold it. */
  readonly addsTable: boolean;
  readonly before: Outcome<Truth>;
  readonly after: Outcome<Truth>;
  readonly execution: Outcome<ExecutionRecord>;
  readonly run: Outcome<RunRecord>;
  /** The Guard's own lines, without those of the build service. */
  readonly guardLog: Outcome<readonly string[]>;
  readonly secrets: Outcome<Search>;
}

type Judgement = Omit<Check, "name">;

interface Rule {
  readonly name: string;
  /** For which end of a run it is made. */
  readonly for: readonly ("healed" | "healthy")[];
  readonly judge: (gathered: Gathered) => Judgement | Promise<Judgement>;
}

const held = (detail: string): Judgement => ({ held: true, detail });
const failed = (detail: string): Judgement => ({ held: false, detail });
const judged = (holds: boolean, yes: string, no: string): Judgement => (holds ? held(yes) : failed(no));

/** In the order of the report. Other programs look for these names. */
export const rules: readonly Rule[] = [
  { name: "rows", for: ["healed"], judge: judgeRows },
  { name: "schema", for: ["healed"], judge: judgeSchema },
  { name: "files", for: ["healed"], judge: judgeFiles },
  { name: "instance", for: ["healed", "healthy"], judge: judgeInstance },
  { name: "answer", for: ["healed"], judge: judgeAnswer },
  { name: "new version", for: ["healthy"], judge: judgeNewVersion },
  { name: "execution", for: ["healed", "healthy"], judge: judgeExecution },
  { name: "verdict", for: ["healed", "healthy"], judge: judgeVerdict },
  { name: "evidence", for: ["healed"], judge: judgeEvidence },
  { name: "undone", for: ["healed"], judge: judgeUndone },
  { name: "nothing healed", for: ["healthy"], judge: judgeNothingHealed },
  { name: "reason", for: ["healed"], judge: judgeReason },
  { name: "leftovers", for: ["healed", "healthy"], judge: judgeLeftovers },
  { name: "figures", for: ["healed"], judge: judgeFigures },
  { name: "secrets", for: ["healed", "healthy"], judge: judgeSecrets },
];

/** Makes every check that applies. Never rejects. */
export async function makeChecks(gathered: Gathered): Promise<Check[]> {
  const checks: Check[] = [];
  for (const rule of rules) if (rule.for.includes(gathered.expected)) checks.push(await makeCheck(rule, gathered));
  return checks;
}

/** The same checks, with the one for secrets made again: by then there is a report, and it was searched as well. */
export async function withSecrets(checks: readonly Check[], gathered: Gathered): Promise<Check[]> {
  const rule = rules.find(({ name }) => name === "secrets");
  if (rule === undefined) throw new Error("no check looks for secrets");
  const made = await makeCheck(rule, gathered);
  return checks.map((check) => (check.name === made.name ? made : check));
}

async function makeCheck(rule: Rule, gathered: Gathered): Promise<Check> {
  return { name: rule.name, ...(await attempt(() => rule.judge(gathered))) };
}

async function attempt(judge: () => Judgement | Promise<Judgement>): Promise<Judgement> {
  try {
    return await judge();
  } catch (error) {
    return failed(`could not be made: ${messageOf(error)}`);
  }
}

function need<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(outcome.error);
}

interface Pair<T> {
  readonly before: T;
  readonly after: T;
}

function both<T>(gathered: Gathered, part: (truth: Truth) => Outcome<T>): Pair<T> {
  return { before: need(part(need(gathered.before))), after: need(part(need(gathered.after))) };
}

const databases = (gathered: Gathered): Pair<DatabaseTruth> => both(gathered, (truth) => truth.database);
const fileTrees = (gathered: Gathered): Pair<FilesTruth> => both(gathered, (truth) => truth.files);
const instances = (gathered: Gathered): Pair<InstanceTruth> => both(gathered, (truth) => truth.instance);
const answers = (gathered: Gathered): Pair<readonly Answer[]> => both(gathered, (truth) => truth.answers);

async function judgeRows(gathered: Gathered): Promise<Judgement> {
  const { before, after } = databases(gathered);
  const tablesBefore = await readTables(before.data);
  const counted = `${count(tablesBefore.size, "table")}, ${count(totalRows(tablesBefore), "row")}`;
  const sameData = await sameBytes(before.data, after.data);
  const sameViews = await sameBytes(before.views, after.views);
  if (sameData && sameViews) return held(`same: ${counted}, byte by byte`);
  if (sameData) return failed("different: the rows of a materialized view");
  const differing = differingTables(tablesBefore, await readTables(after.data));
  const named = differing.map(({ table, before: old, after: now }) => `${table} (${rowsOf(old)}, now ${rowsOf(now)})`);
  return failed(`different: ${listed(named) || "sequences or large objects"}`);
}

function totalRows(tables: DumpTables): number {
  return [...tables.values()].reduce((sum, table) => sum + table.rows, 0);
}

function rowsOf(rows: number | undefined): string {
  return rows === undefined ? "no table" : count(rows, "row");
}

async function judgeSchema(gathered: Gathered): Promise<Judgement> {
  const { before, after } = databases(gathered);
  if (await sameBytes(before.schema, after.schema)) {
    const lines = (await fs.readFile(before.schema, "utf8")).split("\n").length;
    return held(`same: ${count(lines, "line")} of canonical text, byte by byte`);
  }
  const difference = differingLines(
    await fs.readFile(before.schema, "utf8"),
    await fs.readFile(after.schema, "utf8"),
    3,
  );
  const gone = difference.gone.map((line) => `gone: ${line.trim()}`);
  return failed(`different: ${listed([...gone, ...difference.new.map((line) => `new: ${line.trim()}`)])}`);
}

function judgeFiles(gathered: Gathered): Judgement {
  const { before, after } = fileTrees(gathered);
  if (before.files === 0) return failed("could not be made: there were no files before");
  if (before.sha256 === after.sha256) return held(`same: ${count(before.files, "file")}`);
  const now = new Set(after.lines);
  const old = new Set(before.lines);
  const gone = before.lines.filter((line) => !now.has(line)).map((line) => `gone: ${line}`);
  const added = after.lines.filter((line) => !old.has(line)).map((line) => `new: ${line}`);
  return failed(`different: ${listed([...gone, ...added])}`);
}

function judgeInstance(gathered: Gathered): Judgement {
  const { before, after } = instances(gathered);
  const members = ["id", "state", "privateAddress", "publicAddress"] as const;
  const changed = members
    .filter((member) => before[member] !== after[member])
    .map((member) => `${member} was ${before[member]}, is ${after[member]}`);
  if (before.interfaces.join() !== after.interfaces.join()) {
    changed.push(`interfaces were ${before.interfaces.join(", ")}, are ${after.interfaces.join(", ")}`);
  }
  return judged(
    changed.length === 0,
    `same: ${before.id}, ${before.privateAddress}, ${before.publicAddress}`,
    `different: ${changed.join("; ")}`,
  );
}

function judgeAnswer(gathered: Gathered): Judgement {
  const { before, after } = answers(gathered);
  const changed = differentAnswers(before, after);
  const unwell = before.filter((answer) => answer.status >= 500);
  if (unwell.length > 0) return failed(`the application was not well before: ${unwell.map(answerText).join("; ")}`);
  return judged(
    changed.length === 0,
    `same: ${before.map(({ path, status }) => `${path} ${status}`).join(", ")}`,
    `different: ${changed.join("; ")}`,
  );
}

function differentAnswers(before: readonly Answer[], after: readonly Answer[]): string[] {
  return before.flatMap((old, index) => {
    const now = after[index];
    if (now?.path === old.path && now.status === old.status && now.body === old.body) return [];
    return [`${answerText(old)}, now ${now === undefined ? "nothing" : answerText(now)}`];
  });
}

function answerText({ path, status, body }: Answer): string {
  const text = body.replaceAll(/\s+/g, " ").trim();
  return `${path} answered ${status} ${text.length > 80 ? `${text.slice(0, 80)}...` : text}`;
}

function judgeNewVersion(gathered: Gathered): Judgement {
  const { before, after } = answers(gathered);
  const unwell = after.filter((answer) => answer.status >= 400);
  if (unwell.length > 0) return failed(`the application is not well: ${unwell.map(answerText).join("; ")}`);
  const files = fileTrees(gathered);
  if (files.before.sha256 === files.after.sha256) return failed("the instance still serves the old files");
  const changed = differentAnswers(before, after);
  return judged(changed.length > 0, `served: ${changed.join("; ")}`, "the application answers as before the deploy");
}

function judgeExecution(gathered: Gathered): Judgement {
  const execution = need(gathered.execution);
  const wanted = gathered.expected === "healed" ? "Failed" : "Succeeded";
  const detail = `${execution.id} ended ${execution.status}`;
  if (execution.status !== wanted) return failed(`${detail}, and had to end ${wanted}`);
  if (gathered.expected === "healthy") return held(detail);
  const early = execution.stages.find((stage) => stage.status === "Failed" && stage.name !== "Deploy");
  return judged(early === undefined, detail, `${detail}, but in the stage ${early?.name}, before the deploy`);
}

function judgeVerdict(gathered: Gathered): Judgement {
  const verdict = need(gathered.run).verdict;
  if (verdict === undefined) return failed(`the run has no verdict, and had to end ${gathered.expected}`);
  const detail = `${verdict.verdict}: ${verdict.reason}`;
  return judged(verdict.verdict === gathered.expected, detail, `${detail} (it had to be ${gathered.expected})`);
}

/** The failed database, under its name, as the deploy left it and not as it was restored. */
async function judgeEvidence(gathered: Gathered): Promise<Judgement> {
  const { before, after } = databases(gathered);
  const run = need(gathered.run);
  const cutOver = run.cutOvers.find((each) => each.kind === "database");
  if (cutOver === undefined) return failed("no database was cut over, so there is no evidence");
  const name = evidenceDatabase(gathered.databaseName, runId(need(gathered.execution).id));
  if (cutOver.evidence !== name) return failed(`the evidence is called ${cutOver.evidence}, and had to be ${name}`);
  if (!after.databases.includes(name)) return failed(`there is no database ${name} on the server`);
  const sameTyped = await sameBytes(before.typed, after.evidenceTyped);
  const sameData = await sameBytes(before.data, after.evidenceData);
  if (sameTyped && sameData) {
    if (!gathered.addsTable) return held(`${name} is kept: the release had changed nothing in it`);
    return failed(`${name} holds what was before the deploy, and not what the deploy left`);
  }
  const old = new Set(createdTables(await fs.readFile(before.typed, "utf8")));
  const added = createdTables(await fs.readFile(after.evidenceTyped, "utf8")).filter((table) => !old.has(table));
  if (gathered.addsTable && added.length === 0) return failed(`${name} lacks the table that the release adds`);
  const what = [sameTyped ? "" : "schema", sameData ? "" : "rows"].filter((each) => each !== "").join(" and ");
  return held(`${name} is kept: its ${what} differ${added.length > 0 ? `, with the new ${added.join(", ")}` : ""}`);
}

/** What the verdict tells of the undone rows is what the dumps before the deploy and of the evidence show. */
async function judgeUndone(gathered: Gathered): Promise<Judgement> {
  const { before, after } = databases(gathered);
  const told = need(gathered.run).verdict?.undone;
  if (told === undefined) return failed("the verdict does not tell what was undone");
  const counted = await changedTables(before, { data: after.evidenceData, typed: after.evidenceTyped });
  const wrong = untruths(told, counted);
  if (wrong.length > 0) return failed(listed(wrong));
  return held(`told as the evidence shows it: ${counted.size === 0 ? "no rows" : listed([...counted.keys()])}`);
}

function judgeNothingHealed(gathered: Gathered): Judgement {
  const { names } = need(gathered.run);
  const healing = names.filter((name) => name === "fenced" || name.startsWith("claims/") || name.endsWith("/cut-over"));
  const { before, after } = instances(gathered);
  if (healing.length > 0) return failed(`facts of a healing: ${healing.join(", ")}`);
  return judged(
    before.rootVolume === after.rootVolume,
    `no fact of a healing, and the same root volume ${after.rootVolume}`,
    `the root volume was ${before.rootVolume}, is ${after.rootVolume}`,
  );
}

/** The last line of the Guard's log is the reason: what a person sees first. */
function judgeReason(gathered: Gathered): Judgement {
  const log = need(gathered.guardLog);
  const last = log.at(-1) ?? "";
  const reason = need(gathered.run).verdict?.reason;
  if (reason === undefined) return failed("the run has no verdict, so there is no reason to look for");
  return judged(last.includes(reason), `the Guard's last line: ${last}`, `the Guard's last line is "${last}"`);
}

/** The failed things that a healing has kept. */
function evidenceOf(cutOver: CutOver): string[] {
  return cutOver.kind === "database" ? [cutOver.evidence] : cutOver.volumes.map(({ evidence }) => evidence);
}

/** Nothing staged, no scratch database, no volume and no copy of the instance may stay; only the evidence does. */
function judgeLeftovers(gathered: Gathered): Judgement {
  const server = databases(gathered);
  const machine = instances(gathered);
  const cutOvers = need(gathered.run).cutOvers;
  const evidence = new Set(cutOvers.flatMap(evidenceOf));
  // The old root volume is evidence: it stays, unattached.
  const keptVolumes = new Set([...machine.before.looseVolumes, ...evidence]);
  const left = [
    ...server.after.databases
      .filter((name) => !server.before.databases.includes(name) && !evidence.has(name))
      .map((name) => `database ${name}`),
    ...server.before.databases
      .filter((name) => !server.after.databases.includes(name))
      .map((name) => `missing database ${name}`),
    ...machine.after.looseVolumes.filter((id) => !keptVolumes.has(id)).map((id) => `volume ${id}`),
    ...machine.after.instances.filter((id) => !machine.before.instances.includes(id)).map((id) => `instance ${id}`),
  ];
  return judged(left.length === 0, "nothing staged or copied was left", `left behind: ${left.join(", ")}`);
}

function judgeFigures(gathered: Gathered): Judgement {
  const verdict = need(gathered.run).verdict;
  const missing = [
    verdict?.rto === undefined ? "RTO" : "",
    verdict?.rpo === undefined ? "RPO" : "",
    verdict?.outage === undefined ? "outage" : "",
  ].filter((each) => each !== "");
  return judged(missing.length === 0, "RTO, RPO and outage were measured", `not measured: ${missing.join(", ")}`);
}

function judgeSecrets(gathered: Gathered): Judgement {
  const search = need(gathered.secrets);
  if (search.secrets === 0) return failed("could not be made: no secret was known");
  if (search.places === 0) return failed("could not be made: nothing was searched");
  const found = search.findings.map(({ secret, form, place }) => `${secret} (${form}) in ${place}`);
  const megabytes = (search.bytes / 1024 / 1024).toFixed(1);
  return judged(
    found.length === 0,
    `${count(search.secrets, "secret")} not found in ${count(search.places, "place")} (${megabytes} MB)`,
    `found: ${listed([...new Set(found)])}`,
  );
}

const listedAtMost = 5;

function listed(items: readonly string[]): string {
  const shown = items.slice(0, listedAtMost).join("; ");
  return items.length > listedAtMost ? `${shown}; and ${items.length - listedAtMost} more` : shown;
}

export function count(number: number, noun: string): string {
  return `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
}
