import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as model from "@aws-sdk/client-sts";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { PulumiFn, Stack } from "@pulumi/pulumi/automation";
import {
  AwsError,
  type AssetValue,
  type Install,
  type InvokeDefinition,
  type Properties,
  type ResourceDefinition,
} from "../../../emulator/core/definitions";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { makeStack, withFolder, withStack } from "../../support/stack";

/** What a thing of the test's own cloud is. */
interface Thing {
  inputs: Properties;
}

const things = new Map<string, Thing>();
const calls: string[] = [];
/** Why the next thing is only half made. */
let failure: string | undefined;

const thing: ResourceDefinition = {
  type: "aws:test/thing:Thing",
  inputs: {
    name: { replaceOn: "the test", autoname: { maxLength: 20 } },
    size: { default: 3 },
    colour: {},
    password: { secret: true },
    settings: {},
    tags: {},
    source: {},
    zone: { replaceOn: "the test" },
  },
  secretOutputs: ["token"],
  async create(inputs, { made }) {
    const name = String(inputs.name);
    calls.push(`create ${name}`);
    if (things.has(name)) throw new AwsError("ThingExists", `The thing ${name} exists`);
    things.set(name, { inputs: failure === undefined ? inputs : {} });
    made(name);
    if (failure !== undefined) throw new Error(failure);
    const contents = inputs.source ? (await (inputs.source as AssetValue).bytes()).toString("base64") : undefined;
    return { id: name, outputs: { ...inputs, arn: `arn:thing/${name}`, token: "hush", contents } };
  },
  read(id, state) {
    const found = things.get(id);
    return Promise.resolve(
      found && { id, outputs: { ...state, ...found.inputs, arn: `arn:thing/${id}`, token: "hush" } },
    );
  },
  update(id, news) {
    calls.push(`update ${id}`);
    things.set(id, { inputs: news });
    return Promise.resolve({ id, outputs: { ...news, arn: `arn:thing/${id}`, token: "hush" } });
  },
  delete(id) {
    calls.push(`delete ${id}`);
    things.delete(id);
    return Promise.resolve();
  },
};

const lookup: InvokeDefinition = {
  token: "aws:test/getThing:getThing",
  invoke: (args, { cloud }) => Promise.resolve({ account: cloud.account, asked: args.name }),
};

const install: Install = () => ({
  signingName: "test",
  protocol: "awsJson1_1",
  model,
  operations: [],
  resources: [thing],
  invokes: [lookup],
});

class Resource extends pulumi.CustomResource {
  declare readonly name: pulumi.Output<string>;
  declare readonly size: pulumi.Output<number>;
  declare readonly arn: pulumi.Output<string>;
  declare readonly password: pulumi.Output<string>;
  declare readonly token: pulumi.Output<string>;
  declare readonly contents: pulumi.Output<string>;

  constructor(logicalName: string, args: pulumi.Inputs, options?: pulumi.CustomResourceOptions) {
    const outputs = { name: undefined, size: undefined, arn: undefined, token: undefined, contents: undefined };
    super("aws:test/thing:Thing", logicalName, { ...outputs, ...args }, options);
  }
}

class Other extends pulumi.CustomResource {
  constructor(logicalName: string, args: pulumi.Inputs) {
    super("aws:test/other:Other", logicalName, args);
  }
}

describe("The Pulumi provider", () => {
  let emulator: Emulator;
  let folder: string;
  let stack: Stack;
  let current: PulumiFn = () => Promise.resolve();

  // One stack for all tests: making and removing one costs as much as a test.
  before(async () => {
    emulator = await startEmulator({ services: [install] });
    folder = await mkdtemp(join(tmpdir(), "provider-test-"));
    stack = await makeStack(emulator, folder, () => current());
  });
  after(async () => {
    await emulator.close();
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(() => {
    things.clear();
    calls.length = 0;
    failure = undefined;
  });

  /** Runs with another program in the stack; what it has made is destroyed whatever happens. */
  async function withProgram(program: PulumiFn, work: (stack: Stack, folder: string) => Promise<void>): Promise<void> {
    current = program;
    try {
      await work(stack, folder);
    } finally {
      await stack.destroy();
    }
  }

  it("creates, keeps, updates, replaces and deletes by the real engine", async () => {
    let args: pulumi.Inputs = { colour: "red", settings: { a: [1, 2] } };
    const program = (): Promise<Record<string, unknown>> => {
      const made = new Resource("box", args);
      return Promise.resolve({ name: made.name, size: made.size, arn: made.arn });
    };
    await withProgram(program, async (stack) => {
      const up = await stack.up();
      const name = String(up.outputs.name?.value);
      assert.match(name, /^box-[0-9a-f]{7}$/);
      assert.equal(up.outputs.size?.value, 3);
      assert.equal(up.outputs.arn?.value, `arn:thing/${name}`);

      const unchanged = await stack.preview();
      assert.deepEqual(unchanged.changeSummary, { same: 2 });

      args = { colour: "blue", settings: { a: [1, 3] } };
      const updated = await stack.up();
      assert.equal(updated.summary.resourceChanges?.update, 1);
      assert.equal(updated.outputs.name?.value, name);
      assert.deepEqual(things.get(name)?.inputs.settings, { a: [1, 3] });

      args = { colour: "blue", settings: { a: [1, 3] }, zone: "b" };
      const replaced = await stack.up();
      assert.equal(replaced.summary.resourceChanges?.replace, 1);
      const next = String(replaced.outputs.name?.value);
      assert.notEqual(next, name);
      assert.deepEqual(calls, [`create ${name}`, `update ${name}`, `create ${next}`, `delete ${name}`]);
    });
    assert.equal(things.size, 0);
  });

  it("deletes first when the program keeps a name of its own", async () => {
    let zone = "a";
    const program = (): Promise<void> => Promise.resolve(void new Resource("box", { name: "mine", zone }));
    await withProgram(program, async (stack) => {
      await stack.up();
      zone = "b";
      await stack.up();
      assert.deepEqual(calls, ["create mine", "delete mine", "create mine"]);
    });
  });

  it("refuses by name an input and a type that it does not honour, at preview", async () => {
    await withProgram(
      () => Promise.resolve(void new Resource("box", { flavour: "sweet" })),
      async (stack) => {
        await assert.rejects(stack.preview(), /does not honour the input "flavour" of aws:test\/thing:Thing/);
      },
    );
    await withProgram(
      () => Promise.resolve(void new Other("x", {})),
      async (stack) => {
        await assert.rejects(stack.preview(), /NotImplemented: the emulator has no resource aws:test\/other:Other/);
      },
    );
    assert.deepEqual(calls, []);
  });

  it("previews values that are not known yet", async () => {
    const seen: unknown[] = [];
    const program = (): Promise<void> => {
      const first = new Resource("first", {});
      first.arn.apply((arn) => seen.push(arn));
      new Resource("second", { colour: first.arn });
      return Promise.resolve();
    };
    await withProgram(program, async (stack) => {
      const preview = await stack.preview();
      assert.deepEqual(preview.changeSummary, { create: 3 });
      assert.deepEqual([seen, calls], [[], []]);
      await stack.up();
      assert.equal(calls.length, 2);
    });
  });

  it("keeps secrets out of the state in plain text", async () => {
    const secret = "correct horse battery staple";
    const program = (): Promise<Record<string, unknown>> => {
      const box = new Resource("box", { password: secret, settings: { deep: pulumi.secret(`x ${secret}`) } });
      return Promise.resolve({ password: box.password, token: box.token });
    };
    await withProgram(program, async (stack, folder) => {
      const up = await stack.up();
      assert.equal(up.outputs.token?.secret, true);
      const [made] = [...things.values()];
      assert.equal(made?.inputs.password, secret);
      assert.deepEqual(made?.inputs.settings, { deep: `x ${secret}` });
      const state = await readFile(join(folder, ".pulumi/stacks/emulated/test.json"), "utf8");
      assert.ok(state.includes("aws:test/thing:Thing"));
      assert.ok(!state.includes(secret) && !state.includes("hush"));
    });
  });

  it("sees drift by refresh, and that a thing is gone", async () => {
    await withProgram(
      () => Promise.resolve(void new Resource("box", { colour: "red", tags: { a: "b" } })),
      async (stack) => {
        await stack.up();
        const name = [...things.keys()][0] ?? "";
        things.set(name, { inputs: { ...things.get(name)?.inputs, colour: "green", tags: { a: "b", c: "d" } } });
        const refreshed = await stack.refresh();
        assert.equal(refreshed.summary.resourceChanges?.update, 1);
        assert.deepEqual((await stack.preview()).changeSummary, { same: 1, update: 1 });
        await stack.up();
        assert.equal(things.get(name)?.inputs.colour, "red");
        things.clear();
        await stack.refresh();
        assert.deepEqual((await stack.preview()).changeSummary, { same: 1, create: 1 });
      },
    );
  });

  it("does not forget what exists but could not be completed", async () => {
    failure = "it did not start";
    await withProgram(
      () => Promise.resolve(void new Resource("box", { name: "half" })),
      async (stack) => {
        await assert.rejects(stack.up(), /it did not start/);
        failure = undefined;
        await stack.up();
        assert.deepEqual(calls, ["create half", "update half"]);
      },
    );
  });

  it("shows the service's own error", async () => {
    things.set("taken", { inputs: {} });
    await withProgram(
      () => Promise.resolve(void new Resource("box", { name: "taken" })),
      async (stack) => {
        await assert.rejects(stack.up(), /ThingExists: The thing taken exists/);
      },
    );
  });

  it("answers functions, and refuses those that it does not have", async () => {
    const program = async (): Promise<Record<string, unknown>> => ({
      found: await pulumi.runtime.invoke("aws:test/getThing:getThing", { name: "x" }),
    });
    await withProgram(program, async (stack) => {
      const up = await stack.up();
      assert.deepEqual(up.outputs.found?.value, { account: "123456789012", asked: "x" });
    });
    const missing = (): Promise<unknown> => pulumi.runtime.invoke("aws:test/getOther:getOther", {});
    await withProgram(
      async () => void (await missing()),
      async (stack) => {
        await assert.rejects(stack.up(), /NotImplemented: the emulator has no function aws:test\/getOther:getOther/);
      },
    );
  });

  it("reads assets, and zips archives into the same bytes whatever their files' dates", async () => {
    await withFolder(async (source) => {
      await mkdir(join(source, "nested"));
      await writeFile(join(source, "nested", "b.txt"), "bee");
      await writeFile(join(source, "run.sh"), "#!/bin/sh\n", { mode: 0o755 });
      const archive = new pulumi.asset.AssetArchive({
        "a.txt": new pulumi.asset.StringAsset("ay"),
        "c.txt": new pulumi.asset.FileAsset(join(source, "nested", "b.txt")),
        folder: new pulumi.asset.FileArchive(source),
        inner: new pulumi.asset.AssetArchive({ "d.txt": new pulumi.asset.StringAsset("dee") }),
      });
      const program = (): Promise<Record<string, unknown>> =>
        Promise.resolve({
          one: new Resource("one", { source: archive }).contents,
          two: new Resource("two", { source: archive }).contents,
          text: new Resource("text", { source: new pulumi.asset.StringAsset("hello") }).contents,
        });
      await withProgram(program, async (stack) => {
        const up = await stack.up();
        assert.equal(Buffer.from(String(up.outputs.text?.value), "base64").toString(), "hello");
        assert.equal(up.outputs.one?.value, up.outputs.two?.value);
        const names = Buffer.from(String(up.outputs.one?.value), "base64").toString("latin1");
        for (const name of ["a.txt", "c.txt", "folder/nested/b.txt", "folder/run.sh", "inner/d.txt"]) {
          assert.ok(names.includes(name), name);
        }
        assert.deepEqual((await stack.preview()).changeSummary, { same: 4 });
        await writeFile(join(source, "nested", "b.txt"), "wasp");
        assert.deepEqual((await stack.preview()).changeSummary, { same: 2, update: 2 });
      });
    });
  });

  describe("for command:local:Command", () => {
    it("runs its commands with environment, input, folder and the way to the emulator", async () => {
      await withFolder(async (dir) => {
        let trigger = 1;
        let greeting = "hi";
        const program = (): Promise<Record<string, unknown>> => {
          const made = new command.local.Command("it", {
            create: 'cat > made; echo "$GREETING $AWS_ENDPOINT_URL"; echo problem >&2',
            update: 'echo "updated after $PULUMI_COMMAND_STDOUT"',
            delete: "echo gone > deleted",
            environment: { GREETING: greeting },
            stdin: "from stdin",
            dir,
            triggers: [trigger],
          });
          return Promise.resolve({ stdout: made.stdout, stderr: made.stderr });
        };
        await withProgram(program, async (stack) => {
          const up = await stack.up();
          assert.equal(up.outputs.stdout?.value, `hi ${emulator.endpoint}`);
          assert.equal(up.outputs.stderr?.value, "problem");
          assert.equal(await readFile(join(dir, "made"), "utf8"), "from stdin");
          greeting = "bye";
          const updated = await stack.up();
          assert.equal(updated.outputs.stdout?.value, `updated after hi ${emulator.endpoint}`);
          trigger = 2;
          const replaced = await stack.up();
          assert.equal(replaced.summary.resourceChanges?.replace, 1);
          assert.equal(replaced.outputs.stdout?.value, `bye ${emulator.endpoint}`);
        });
        assert.equal(await readFile(join(dir, "deleted"), "utf8"), "gone\n");
      });
    });

    it("fails with the exit status and the last lines of stderr", async () => {
      const program = (): Promise<void> =>
        Promise.resolve(
          void new command.local.Command("it", { create: "echo first >&2; echo the reason >&2; exit 3" }),
        );
      await withProgram(program, async (stack) => {
        await assert.rejects(stack.up(), /exit status 3: running .*\n.*first\n.*the reason/);
      });
    });

    it("prints nothing of a secret into the state", async () => {
      const secret = "swordfish and chips";
      const program = (): Promise<Record<string, unknown>> => {
        const made = new command.local.Command("it", {
          create: "echo $SECRET",
          environment: { SECRET: pulumi.secret(secret) },
        });
        return Promise.resolve({ stdout: made.stdout });
      };
      await withProgram(program, async (stack, folder) => {
        const up = await stack.up();
        assert.deepEqual(up.outputs.stdout, { value: secret, secret: true });
        assert.ok(!(await readFile(join(folder, ".pulumi/stacks/emulated/test.json"), "utf8")).includes(secret));
      });
    });

    it("leaves no process when the emulator closes", async () => {
      let emulator = await startEmulator({ services: [install] });
      await withFolder(async (dir) => {
        const program = (): Promise<void> =>
          Promise.resolve(void new command.local.Command("it", { create: "sleep 600 & echo $! > pid; wait", dir }));
        await withStack(emulator, program, async (stack) => {
          const up = assert.rejects(stack.up());
          const pid = await until(async () => Number(await readFile(join(dir, "pid"), "utf8").catch(() => "")));
          await emulator.close();
          await up;
          assert.equal(await isRunning(pid), false);
          // The stack is empty but for a pending creation: the engine needs its providers no more.
          await stack.cancel().catch(() => undefined);
          emulator = await startEmulator({ services: [install] });
          stack.workspace.envVars = { ...stack.workspace.envVars, ...emulator.pulumiEnvironment };
        });
      });
      await emulator.close();
    });
  });
});

/** A process that has ended but that nobody has asked about is a zombie: it does not run. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat !== "" && !/\) Z /.test(stat);
}

/** Waits for an answer that is not zero, at most ten seconds. */
async function until(ask: () => Promise<number>): Promise<number> {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("It did not happen within ten seconds");
}
