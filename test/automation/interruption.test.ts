import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { withCleanup } from "../../automation/drill/cleanup";
import { Interrupted, Interruption, unless } from "../../automation/drill/interruption";

function interruption() {
  const source = new EventEmitter();
  const said: string[] = [];
  return { source, said, interruption: new Interruption((line) => said.push(line), source) };
}

describe("an interruption", () => {
  it("by a first signal stops the work, with the signal as the reason", async () => {
    const { source, interruption: subject } = interruption();
    const waiting = unless(subject.signal, new Promise<void>(() => undefined));
    source.emit("SIGTERM", "SIGTERM");
    await assert.rejects(waiting, (error) => error instanceof Interrupted && error.message.includes("SIGTERM"));
    assert.equal(subject.insisted.aborted, false);
  });

  it("by a second signal changes nothing but what is said", () => {
    const { source, said, interruption: subject } = interruption();
    source.emit("SIGINT", "SIGINT");
    source.emit("SIGINT", "SIGINT");
    assert.equal(subject.insisted.aborted, false);
    assert.match(said[1] ?? "", /still destroying/);
  });

  it("by a third signal cuts the clean-up short", () => {
    const { source, interruption: subject } = interruption();
    for (let count = 0; count < 3; count += 1) source.emit("SIGINT", "SIGINT");
    assert.equal(subject.insisted.aborted, true);
  });

  it("that is over leaves signals to the process", () => {
    const { source, interruption: subject } = interruption();
    subject.close();
    assert.equal(source.listenerCount("SIGINT") + source.listenerCount("SIGTERM") + source.listenerCount("SIGHUP"), 0);
  });
});

describe("work with a clean-up", () => {
  const failing = (message: string) => async (): Promise<void> => {
    throw new Error(message);
  };

  it("is cleaned up after a failure, which stays the error", async () => {
    let cleaned = false;
    const cleanup = async () => {
      cleaned = true;
    };
    await assert.rejects(withCleanup(failing("work"), cleanup), /^Error: work$/);
    assert.ok(cleaned);
  });

  it("reports both errors when the clean-up fails, too", async () => {
    await assert.rejects(
      withCleanup(failing("work"), failing("cleanup")),
      (error) => error instanceof AggregateError && error.errors.map(String).join() === "Error: work,Error: cleanup",
    );
  });

  it("fails when only the clean-up fails", async () => {
    await assert.rejects(
      withCleanup(async () => 1, failing("cleanup")),
      /cleanup/,
    );
  });
});
