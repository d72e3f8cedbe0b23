/** What is shown while a drill runs: data only. Times are milliseconds since the epoch. */
import type { ExecutionRecord } from "../judge/run";

export type StepStatus = "running" | "done" | "failed";

/** One thing that the driver itself does. */
export interface Step {
  readonly name: string;
  readonly status: StepStatus;
  readonly startedAt: number;
  readonly endedAt?: number;
  /** A few words beside it: how far it is, what came of it. */
  readonly note: string;
}

export interface ViewState {
  readonly title: string;
  readonly steps: readonly Step[];
  readonly execution?: ExecutionRecord;
  /** The command that failed, and its last lines. */
  readonly failure?: { readonly action: string; readonly lines: readonly string[] };
  /** The Guard's log, step by step, once it heals. */
  readonly healing: readonly string[];
  /** What the user has to do for it to go on. */
  readonly prompt: readonly string[];
}

export function emptyView(title: string): ViewState {
  return { title, steps: [], healing: [], prompt: [] };
}

export function startStep(state: ViewState, name: string, now: number): ViewState {
  return { ...state, steps: [...state.steps, { name, status: "running", startedAt: now, note: "" }] };
}

export function noteStep(state: ViewState, name: string, note: string): ViewState {
  return changeStep(state, name, (step) => ({ ...step, note }));
}

export function endStep(
  state: ViewState,
  name: string,
  status: "done" | "failed",
  note: string,
  now: number,
): ViewState {
  return changeStep(state, name, (step) => ({ ...step, status, note, endedAt: now }));
}

/** Several steps may have one name; the last one is meant. */
function changeStep(state: ViewState, name: string, change: (step: Step) => Step): ViewState {
  const index = state.steps.findLastIndex((step) => step.name === name);
  return { ...state, steps: state.steps.map((step, at) => (at === index ? change(step) : step)) };
}
