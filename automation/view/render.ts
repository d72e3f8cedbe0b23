/** The live view as text: pure functions of the state. */
import { stripVTControlCharacters } from "node:util";
import type { ActionRecord, StageRecord } from "../judge/run";
import type { Step, ViewState } from "./state";

/** Colours, or functions that leave the text as it is. */
export interface Palette {
  readonly green: (text: string) => string;
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
}

const identity = (text: string) => text;
export const noColours: Palette = { green: identity, red: identity, yellow: identity, dim: identity, bold: identity };

const shownFailureLines = 6;
const shownHealingLines = 12;
const nameWidth = 34;

type Look = "waiting" | "running" | "good" | "bad";

const signs: Readonly<Record<Look, string>> = { waiting: "·", running: "▸", good: "✓", bad: "✗" };

const looks: Readonly<Record<string, Look>> = {
  running: "running",
  done: "good",
  failed: "bad",
  NotStarted: "waiting",
  InProgress: "running",
  Succeeded: "good",
};

function lookOf(status: string): Look {
  return looks[status] ?? "bad";
}

/** The whole view, at most `width` columns wide. */
export function render(state: ViewState, width: number, now: number, palette: Palette = noColours): string {
  const lines = [
    palette.bold(state.title),
    ...state.steps.flatMap((step) => [
      stepLine(step, now, palette),
      ...(isExecution(step) ? stages(state, now, palette) : []),
    ]),
    ...failure(state, palette),
    ...healing(state, palette),
    ...(state.prompt.length > 0 ? ["", ...state.prompt.map(palette.yellow)] : []),
  ];
  return lines.map((line) => cut(line, width)).join("\n");
}

/** The step under which the pipeline is shown. */
export const executionStep = "pipeline";
const isExecution = (step: Step) => step.name === executionStep;

function stepLine(step: Step, now: number, palette: Palette): string {
  return entry(0, step.name, lookOf(step.status), seconds(step.startedAt, step.endedAt ?? now), step.note, palette);
}

function stages(state: ViewState, now: number, palette: Palette): string[] {
  return (state.execution?.stages ?? []).flatMap((stage) => stageLines(stage, now, palette));
}

function stageLines(stage: StageRecord, now: number, palette: Palette): string[] {
  const actions = stage.actions.map((action) => actionLine(action, now, palette));
  return [
    entry(1, stage.name, lookOf(stage.status), "", "", palette),
    ...(stage.actions.length > 1 || stage.status !== "NotStarted" ? actions : []),
  ];
}

function actionLine(action: ActionRecord, now: number, palette: Palette): string {
  const time =
    action.startedAt === undefined ? "" : seconds(action.startedAt.getTime(), action.endedAt?.getTime() ?? now);
  return entry(
    2,
    action.name,
    lookOf(action.status),
    time,
    action.status === "NotStarted" ? "" : action.status,
    palette,
  );
}

function entry(depth: number, name: string, look: Look, time: string, note: string, palette: Palette): string {
  const colour = { waiting: palette.dim, running: palette.yellow, good: palette.green, bad: palette.red }[look];
  const label = `${"  ".repeat(depth)}${signs[look]} ${name}`;
  const padded = label.padEnd(nameWidth);
  return `  ${colour(padded)} ${palette.dim(time.padStart(8))}  ${note}`.trimEnd();
}

function failure(state: ViewState, palette: Palette): string[] {
  if (state.failure === undefined) return [];
  const lines = state.failure.lines.slice(-shownFailureLines);
  return ["", palette.red(`  ${state.failure.action}, last lines`), ...lines.map((line) => palette.dim(`    ${line}`))];
}

function healing(state: ViewState, palette: Palette): string[] {
  if (state.healing.length === 0) return [];
  const lines = state.healing.slice(-shownHealingLines);
  return ["", palette.bold("  Guard"), ...lines.map((line) => `    ${line}`)];
}

function seconds(from: number, to: number): string {
  return `${(Math.max(0, to - from) / 1000).toFixed(1)} s`;
}

/** Cuts to the width, without cutting inside a colour's escape sequence. */
export function cut(line: string, width: number): string {
  if (stripVTControlCharacters(line).length <= width) return line;
  let shown = 0;
  let result = "";
  // eslint-disable-next-line no-control-regex
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith("\u001b[")) {
      result += part;
      continue;
    }
    const room = Math.max(0, width - 1 - shown);
    result += part.length > room ? `${part.slice(0, room)}${room > 0 ? "…" : ""}` : part;
    shown += part.length > room ? width : part.length;
  }
  return result;
}

/** Line-by-line output for what is not a terminal: what is new between two states. */
export function news(before: ViewState, after: ViewState): string[] {
  return [
    ...stepNews(before, after),
    ...actionNews(before, after),
    ...failureNews(before, after),
    ...after.healing.slice(before.healing.length).map((line) => `  Guard: ${line}`),
    ...(after.prompt.join("\n") === before.prompt.join("\n") ? [] : after.prompt),
  ];
}

function stepNews(before: ViewState, after: ViewState): string[] {
  return after.steps.flatMap((step, index) => {
    const old = before.steps[index]?.status;
    if (step.status === old) return [];
    if (step.status === "running") return [`${step.name} ...`];
    const time = seconds(step.startedAt, step.endedAt ?? step.startedAt);
    const note = step.note === "" ? "" : `: ${step.note}`;
    return [`${step.name} ${step.status === "done" ? "done" : "FAILED"} (${time})${note}`];
  });
}

function actionNews(before: ViewState, after: ViewState): string[] {
  const statuses = new Map(
    (before.execution?.stages ?? []).flatMap((stage) =>
      stage.actions.map((action): [string, string] => [`${stage.name}/${action.name}`, action.status]),
    ),
  );
  return (after.execution?.stages ?? []).flatMap((stage) =>
    stage.actions.flatMap((action) => {
      const name = `${stage.name}/${action.name}`;
      if (action.status === "NotStarted" || action.status === statuses.get(name)) return [];
      const { startedAt, endedAt } = action;
      const time = startedAt && endedAt ? ` (${seconds(startedAt.getTime(), endedAt.getTime())})` : "";
      return [`  ${name} ${action.status}${time}`];
    }),
  );
}

function failureNews(before: ViewState, after: ViewState): string[] {
  const { failure: failed } = after;
  if (failed === undefined || before.failure !== undefined) return [];
  return failed.lines.slice(-shownFailureLines).map((line) => `  ${failed.action}: ${line}`);
}
