/** Shows a view's states as they come: redrawn in place on a terminal, line by line elsewhere. */
import { createLogUpdate } from "log-update";
import colours from "picocolors";
import { news, noColours, render } from "./render";
import type { ViewState } from "./state";

export interface Screen {
  show(state: ViewState): void;
  /** A line that stays. */
  say(line: string): void;
  /** Leaves the last state where it is. */
  close(): void;
}

const redrawMilliseconds = 100;

export function openScreen(stream: NodeJS.WriteStream): Screen {
  return stream.isTTY && process.env.CI === undefined ? new TerminalScreen(stream) : new LineScreen(stream);
}

class TerminalScreen implements Screen {
  private readonly update;
  private readonly palette;
  private readonly timer: NodeJS.Timeout;
  private state: ViewState | undefined;

  constructor(private readonly stream: NodeJS.WriteStream) {
    this.update = createLogUpdate(stream, { showCursor: true });
    this.palette = colours.isColorSupported ? colours : noColours;
    this.timer = setInterval(() => this.draw(), redrawMilliseconds);
    this.timer.unref();
  }

  show(state: ViewState): void {
    this.state = state;
  }

  say(line: string): void {
    this.update.clear();
    this.stream.write(`${line}\n`);
    this.draw();
  }

  close(): void {
    clearInterval(this.timer);
    this.draw();
    this.update.done();
  }

  private draw(): void {
    if (this.state === undefined) return;
    this.update(render(this.state, this.stream.columns || 80, Date.now(), this.palette));
  }
}

class LineScreen implements Screen {
  private readonly startedAt = performance.now();
  private state: ViewState | undefined;

  constructor(private readonly stream: NodeJS.WriteStream) {}

  show(state: ViewState): void {
    const before = this.state ?? { ...state, steps: [], healing: [], prompt: [] };
    for (const line of news(before, state)) this.say(line);
    this.state = state;
  }

  say(line: string): void {
    const time = ((performance.now() - this.startedAt) / 1000).toFixed(1).padStart(6);
    this.stream.write(`${time} s  ${line}\n`);
  }

  close(): void {
    // Every line is out already.
  }
}
