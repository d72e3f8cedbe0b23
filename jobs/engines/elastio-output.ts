/**
 * Reads what the `elastio` program prints. No public reference describes it: shapes are rebuilt from public usages, so
 * everything is checked, both known places are looked at, and what is not understood is never taken for success.
 */
import { Failure } from "../failure";

/** `rp-<ulid>`; older ones `r-<ulid>`. */
const recoveryPoint = /^rp?-[0-9a-z]{6,}$/i;
const job = /^j-[0-9a-z]{6,}$/i;

export interface StartedJob {
  readonly job: string;
  /** Grants the abortion of the job; absent when such a job ran already. Never logged. */
  readonly abortToken: string | undefined;
}

/** The answer of a background start: `ec2 backup`, `ec2 restore`. */
export function parseStarted(command: string, output: string): StartedJob {
  const answer = parseAnswer(command, output);
  const id = at(answer, "job_id") ?? at(answer, "data", "job_id") ?? at(answer, "job_state", "job_id");
  if (typeof id !== "string" || !job.test(id)) throw unexpected(command, "no job id", answer);
  const token = at(answer, "abort_token") ?? at(answer, "data", "abort_token");
  return { job: id, abortToken: typeof token === "string" && token !== "" ? token : undefined };
}

/** The answer of a finished `stream backup`. */
export function parseStored(command: string, output: string): string {
  const answer = parseAnswer(command, output);
  if (at(answer, "status") !== "Succeeded") throw unexpected(command, "not Succeeded", answer);
  return recoveryPointOf(command, answer);
}

export type JobLook =
  | { readonly kind: "done"; readonly recoveryPoint: string | undefined }
  | { readonly kind: "running" }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "unknown"; readonly reason: string };

const going =
  /\b(running|in.?progress|pending|queued|created|submitted|runnable|starting|retrying|not (yet )?(finished|completed?|ready|done)|has not (yet )?(finished|completed)|still)\b/i;
const gone =
  /(not found|no such|does ?n.t exist|unknown job|denied|unauthori[sz]ed|forbidden|abort(ed)?|cancell?ed|fail(ed|ure)|invalid|not authori[sz]ed)/i;

/**
 * Classifies one answer of `job output`. `error` is null once there is a result, and not null while the job runs, but
 * also for a job that is unknown or lost: its text decides, and a text that says neither is unknown.
 */
export function classifyJob(output: string): JobLook {
  let answer: unknown;
  try {
    answer = parseAnswer("elastio job output", output);
  } catch (error) {
    return { kind: "unknown", reason: (error as Error).message };
  }
  const status = at(answer, "status");
  const error = at(answer, "error");
  const point = at(answer, "data", "rp_id") ?? at(answer, "rp_id");
  if (error === null || error === undefined) {
    if (status === "Succeeded") return { kind: "done", recoveryPoint: isRecoveryPoint(point) ? point : undefined };
    if (typeof status === "string" && going.test(status) && !gone.test(status)) return { kind: "running" };
    if (typeof status === "string") return { kind: "failed", reason: `the job ended as ${status}` };
    return { kind: "unknown", reason: `no status in ${brief(answer)}` };
  }
  const text = `${typeof error === "string" ? error : JSON.stringify(error)} ${typeof status === "string" ? status : ""}`;
  if (gone.test(text)) return { kind: "failed", reason: brief(error) };
  if (going.test(text)) return { kind: "running" };
  return { kind: "unknown", reason: brief(error) };
}

function isRecoveryPoint(value: unknown): value is string {
  return typeof value === "string" && recoveryPoint.test(value);
}

function recoveryPointOf(command: string, answer: unknown): string {
  const id = at(answer, "data", "rp_id") ?? at(answer, "rp_id");
  if (!isRecoveryPoint(id)) throw unexpected(command, "no recovery point id", answer);
  return id;
}

function parseAnswer(command: string, output: string): unknown {
  const text = output.trim();
  if (text === "") throw new Failure(`\`${command}\` printed nothing; an empty answer never counts as success`);
  try {
    return JSON.parse(text);
  } catch {
    throw new Failure(`\`${command}\` did not print JSON: ${brief(text)}`);
  }
}

function at(value: unknown, ...path: string[]): unknown {
  let current = value;
  for (const name of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = (current as Record<string, unknown>)[name];
  }
  return current;
}

function unexpected(command: string, what: string, answer: unknown): Failure {
  return new Failure(`\`${command}\` answered with ${what}: ${brief(answer)}`);
}

/** Enough of an answer to recognise it. Without abort tokens: they are credentials. */
function brief(answer: unknown): string {
  const hide = (key: string, value: unknown): unknown => (/token/i.test(key) ? "***" : value);
  const text = typeof answer === "string" ? answer : JSON.stringify(answer, hide);
  return withoutTokens(text).slice(0, 300);
}

/** Takes abort tokens out of a line of the program's text output. */
export function withoutTokens(line: string): string {
  return line.replaceAll(/(abort.?token"?\s*[:=]\s*"?)[^\s",}]+/gi, "$1***");
}
