import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import {
  BatchGetBuildsCommand,
  CodeBuildClient,
  StartBuildCommand,
  StopBuildCommand,
  type Build,
} from "@aws-sdk/client-codebuild";
import type { BuildFault, CloudEvent } from "../../../emulator/core/definitions";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { eventTime } from "../../../emulator/services/codebuild/events";
import { client, withEmulator } from "../support";
import { createProject, createRole, describeBuild, endedBuilds, logLines, runBuildspec, until } from "./support";

const spec = (...commands: readonly string[]): string =>
  `version: 0.2\nphases:\n  build:\n    commands: ${JSON.stringify(commands)}\n`;

interface Phase {
  readonly commands?: readonly string[];
  readonly finally?: readonly string[];
  readonly "on-failure"?: string;
}
const phasesOf = (phases: Readonly<Record<string, Phase>>): string => JSON.stringify({ version: "0.2", phases });

describe("A build", () => {
  let emulator: Emulator;
  let codebuild: CodeBuildClient;
  before(async () => {
    emulator = await startEmulator();
    codebuild = client(emulator, CodeBuildClient);
  });
  after(async () => {
    await emulator.close();
    assert.deepEqual(emulator.failures, []);
  });

  describe("that succeeds", () => {
    let found: Awaited<ReturnType<typeof runBuildspec>>;
    const events: CloudEvent[] = [];
    before(async () => {
      const end = emulator.cloud.listen((event) => events.push(event));
      found = await runBuildspec(emulator, spec("echo one", "echo two >&2"));
      end();
    });

    it("has all its phases in their order, the last one with a start alone [A5.1]", () => {
      const { build } = found;
      assert.equal(build.buildStatus, "SUCCEEDED");
      assert.equal(build.buildComplete, true);
      assert.equal(build.currentPhase, "COMPLETED");
      assert.deepEqual(statuses(build), [
        "SUBMITTED SUCCEEDED",
        "QUEUED SUCCEEDED",
        "PROVISIONING SUCCEEDED",
        "DOWNLOAD_SOURCE SUCCEEDED",
        "INSTALL SUCCEEDED",
        "PRE_BUILD SUCCEEDED",
        "BUILD SUCCEEDED",
        "POST_BUILD SUCCEEDED",
        "UPLOAD_ARTIFACTS SUCCEEDED",
        "FINALIZING SUCCEEDED",
        "COMPLETED ",
      ]);
      const { phaseType, startTime, ...others } = build.phases?.at(-1) ?? {};
      assert.deepEqual([phaseType, typeof startTime, Object.keys(others)], ["COMPLETED", "object", []]);
      for (const phase of build.phases?.slice(0, -1) ?? []) {
        assert.ok(phase.startTime && phase.endTime && phase.startTime <= phase.endTime, phase.phaseType);
        assert.equal(typeof phase.durationInSeconds, "number");
      }
    });

    it("writes the service's own lines into the stream named after it [A5.4] [A5.5]", () => {
      const { build, lines, output } = found;
      assert.equal(build.logs?.groupName, `/aws/codebuild/${build.projectName}`);
      assert.equal(`${build.projectName}:${build.logs.streamName}`, build.id);
      assert.deepEqual(output, ["one", "two"]);
      const form = /^\[Container\] \d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d\.\d{6} /;
      const own = lines.filter((line) => line.startsWith("[Container] "));
      for (const line of own) assert.match(line, form);
      assert.deepEqual(
        own.map((line) => line.replace(form, "").replace(/src\d+/, "src1")),
        [
          "Running on CodeBuild On-demand",
          "Waiting for agent ping",
          "Waiting for DOWNLOAD_SOURCE",
          "Phase is DOWNLOAD_SOURCE",
          "CODEBUILD_SRC_DIR=/codebuild/output/src1/src",
          "YAML location is /codebuild/readonly/buildspec.yml",
          "Processing environment variables",
          "Moving to directory /codebuild/output/src1/src",
          "Phases found in YAML: 1",
          " BUILD: 2 commands",
          ...complete("DOWNLOAD_SOURCE"),
          "Entering phase INSTALL",
          ...complete("INSTALL"),
          "Entering phase PRE_BUILD",
          ...complete("PRE_BUILD"),
          "Entering phase BUILD",
          "Running command echo one",
          "Running command echo two >&2",
          ...complete("BUILD"),
          "Entering phase POST_BUILD",
          ...complete("POST_BUILD"),
          ...complete("UPLOAD_ARTIFACTS"),
        ],
      );
    });

    it("is told in events: each status, and each completed phase [A5.6]", () => {
      const details = events.map(({ detailType, detail }) => ({ detailType, ...(detail as Record<string, unknown>) }));
      const changes = details.map(
        (detail: Record<string, unknown>) => detail["completed-phase"] ?? detail["build-status"],
      );
      const phases = statuses(found.build).map((status) => status.split(" ")[0]);
      assert.deepEqual(changes, ["IN_PROGRESS", ...phases.slice(0, -1), "SUCCEEDED"]);
      const { build } = found;
      const phase = build.phases?.find(({ phaseType }) => phaseType === "BUILD");
      const told = details.find((detail: Record<string, unknown>) => detail["completed-phase"] === "BUILD");
      assert.ok(told);
      const { "additional-information": information, ...rest } = told as Record<string, unknown>;
      assert.deepEqual(rest, {
        detailType: "CodeBuild Build Phase Change",
        "completed-phase": "BUILD",
        "completed-phase-status": "SUCCEEDED",
        "completed-phase-duration-seconds": phase?.durationInSeconds,
        "completed-phase-start": eventTime(phase?.startTime),
        "completed-phase-end": eventTime(phase?.endTime),
        "completed-phase-context": "[: ]",
        "project-name": build.projectName,
        "build-id": build.arn,
        version: "1",
      });
      const { logs, environment, "build-number": number } = information as Record<string, unknown>;
      assert.deepEqual(logs, {
        "group-name": build.logs?.groupName,
        "stream-name": build.logs?.streamName,
        "deep-link": build.logs?.deepLink,
      });
      assert.equal(number, 1);
      assert.deepEqual((environment as Record<string, unknown>)["compute-type"], "BUILD_GENERAL1_SMALL");
      assert.ok(events.every(({ source, resources }) => source === "aws.codebuild" && resources?.[0] === build.arn));
    });
  });

  it("has times in its events as the service writes them", () => {
    const times = ["2017-09-01T16:12:29Z", "2026-01-31T00:05:09.999Z", "2026-12-09T12:00:00Z"];
    assert.deepEqual(
      times.map((time) => eventTime(new Date(time))),
      ["Sep 1, 2017 4:12:29 PM", "Jan 31, 2026 12:05:09 AM", "Dec 9, 2026 12:00:00 PM"],
    );
  });

  it("runs POST_BUILD after a failed BUILD, which stays a failure [A1.6] [A2.1] [A4.4] [A5.2]", async () => {
    const { build, output, lines } = await runBuildspec(
      emulator,
      phasesOf({
        build: { commands: ["echo $CODEBUILD_BUILD_SUCCEEDING", "exit 3", "echo never"], finally: ["echo finally"] },
        post_build: { commands: ["echo succeeding=$CODEBUILD_BUILD_SUCCEEDING"] },
      }),
    );
    assert.equal(build.buildStatus, "FAILED");
    assert.deepEqual(output, ["1", "finally", "succeeding=0"]);
    assert.deepEqual(statuses(build).slice(6, 9), [
      "BUILD FAILED",
      "POST_BUILD SUCCEEDED",
      "UPLOAD_ARTIFACTS SUCCEEDED",
    ]);
    const phase = build.phases?.find(({ phaseType }) => phaseType === "BUILD");
    const message = "Error while executing command: exit 3. Reason: exit status 3";
    assert.deepEqual(phase?.contexts, [{ statusCode: "COMMAND_EXECUTION_ERROR", message }]);
    for (const end of [
      "Command did not exit successfully exit 3 exit status 3",
      "Phase complete: BUILD State: FAILED",
      `Phase context status code: COMMAND_EXECUTION_ERROR Message: ${message}`,
    ]) {
      assert.ok(
        lines.some((line) => line.endsWith(` ${end}`)),
        end,
      );
    }
  });

  for (const phase of ["install", "pre_build"]) {
    it(`runs nothing after a failed ${phase} but that phase's finally [A1.6] [A2.2] [A2.4]`, async () => {
      const { build, output } = await runBuildspec(
        emulator,
        phasesOf({
          [phase]: { commands: ["false"], finally: ["echo finally"] },
          build: { commands: ["echo build"] },
          post_build: { commands: ["echo post"], finally: ["echo post finally"] },
        }),
      );
      assert.equal(build.buildStatus, "FAILED");
      assert.deepEqual(output, ["finally"]);
      assert.ok(!statuses(build).some((status) => /^(BUILD|POST_BUILD|UPLOAD)/.test(status)));
    });
  }

  it("fails in a phase whose finally fails, and skips the rest of it [A1.6]", async () => {
    const { build, output } = await runBuildspec(
      emulator,
      phasesOf({ build: { commands: ["echo a"], finally: ["echo b", "exit 4", "echo never"] } }),
    );
    assert.equal(build.buildStatus, "FAILED");
    assert.deepEqual(output, ["a", "b"]);
    const phase = build.phases?.find(({ phaseType }) => phaseType === "BUILD");
    assert.match(phase?.contexts?.[0]?.message ?? "", /command: exit 4\. Reason: exit status 4/);
  });

  for (const [phase, onFailure, output] of [
    ["build", "ABORT", []],
    ["build", "CONTINUE", ["post 0"]],
    ["pre_build", "CONTINUE", ["post 0"]],
    ["install", "CONTINUE", ["post 0"]],
    ["post_build", "ABORT", []],
  ] as const) {
    it(`with on-failure ${onFailure} in ${phase} prints [${output.join()}] after it and fails [A1.4] [A2.5]`, async () => {
      const found = await runBuildspec(
        emulator,
        phasesOf({
          build: { commands: ["true"] },
          post_build: { commands: ["echo post $CODEBUILD_BUILD_SUCCEEDING"] },
          [phase]: { commands: ["false"], "on-failure": onFailure },
        }),
      );
      assert.equal(found.build.buildStatus, "FAILED");
      assert.deepEqual(found.output, output);
      const uploads = statuses(found.build).some((status) => status.startsWith("UPLOAD_ARTIFACTS"));
      assert.equal(uploads, onFailure === "CONTINUE");
    });
  }

  it("fails in DOWNLOAD_SOURCE for a buildspec that cannot be read [A1.3] [A5.3]", async () => {
    const broken: readonly (readonly [string, RegExp])[] = [
      [
        "version: 0.2\nphases:\n  build:\n    commands:\n      - echo: x",
        /Expected phases\.build\.commands\[0\] to be of string type: found subkeys instead/,
      ],
      [
        "version: 0.2\nphases: {build: {commands: [x]}}\nreports: {a: {files: [b]}}",
        /^NotImplemented: buildspec reports$/,
      ],
      ["version: [0.2\n", /./],
    ];
    for (const [text, message] of broken) {
      const { build } = await runBuildspec(emulator, text);
      assert.equal(build.buildStatus, "FAILED");
      const [context] = build.phases?.find(({ phaseType }) => phaseType === "DOWNLOAD_SOURCE")?.contexts ?? [];
      assert.equal(context?.statusCode, "YAML_FILE_ERROR");
      assert.match(context.message ?? "", message);
      assert.equal(statuses(build).at(-3), "DOWNLOAD_SOURCE FAILED");
    }
  });

  it("does not start without its log, when its role may not write one [E8]", async () => {
    const serviceRole = await createRole(emulator, "no-logs", "codebuild.amazonaws.com", [
      { Effect: "Allow", Action: "s3:*", Resource: "*" },
    ]);
    const ended = endedBuilds(emulator);
    const projectName = await createProject(emulator, spec("true"), { serviceRole });
    const { build: { id = "", arn = "" } = {} } = await codebuild.send(new StartBuildCommand({ projectName }));
    await ended.wait(arn);
    const { builds: [build = {}] = [] } = await codebuild.send(new BatchGetBuildsCommand({ ids: [id] }));
    assert.equal(build.buildStatus, "FAILED");
    const [context] = build.phases?.find(({ phaseType }) => phaseType === "PROVISIONING")?.contexts ?? [];
    assert.equal(context?.statusCode, "ACCESS_DENIED");
    assert.match(context.message ?? "", /logs:CreateLogStream/);
  });

  it("is killed by StopBuild with everything that it started, without finally or POST_BUILD [A2.6]", async () => {
    const projectName = await createProject(
      emulator,
      phasesOf({
        build: { commands: ["sleep 61.25 & echo started; sleep 62.25"], finally: ["echo finally"] },
        post_build: { commands: ["echo post"] },
      }),
    );
    const { build = {} } = await codebuild.send(new StartBuildCommand({ projectName }));
    await started(emulator, build);
    const { build: answered } = await codebuild.send(new StopBuildCommand({ id: build.id }));
    assert.equal(answered?.buildStatus, "STOPPED");
    const stopped = await describeBuild(emulator, build.id ?? "");
    assert.deepEqual(stopped.output, ["started"]);
    assert.deepEqual(statuses(stopped.build).slice(-3), ["BUILD STOPPED", "FINALIZING SUCCEEDED", "COMPLETED "]);
    assert.deepEqual(processes("sleep 6[12].25"), []);
    await codebuild.send(new StopBuildCommand({ id: build.id }));
    await assert.rejects(codebuild.send(new StopBuildCommand({ id: "none:x" })), { name: "ResourceNotFoundException" });
  });

  it("is ended by its time-out, without finally or POST_BUILD [A2.6]", async () => {
    const projectName = await createProject(
      emulator,
      phasesOf({
        build: { commands: ["echo started; sleep 60"], finally: ["echo finally"] },
        post_build: { commands: ["echo post"] },
      }),
      { timeoutInMinutes: 5 },
    );
    const ended = endedBuilds(emulator);
    const { build = {} } = await codebuild.send(new StartBuildCommand({ projectName }));
    await started(emulator, build);
    emulator.cloud.clock.advance(5 * 60_000);
    await ended.wait(build.arn ?? "");
    const found = await describeBuild(emulator, build.id ?? "");
    assert.equal(found.build.buildStatus, "TIMED_OUT");
    assert.deepEqual(found.output, ["started"]);
    const phase = found.build.phases?.find(({ phaseType }) => phaseType === "BUILD");
    assert.equal(phase?.contexts?.[0]?.statusCode, "BUILD_TIMED_OUT");
  });

  const kinds: readonly BuildFault["status"][] = ["FAULT", "STOPPED", "TIMED_OUT"];
  for (const [index, phase] of ["QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "BUILD", "FINALIZING"].entries()) {
    const status = kinds[index % kinds.length] ?? "FAULT";
    it(`is killed by a fault as ${status} when it enters ${phase}`, async () => {
      const fault = emulator.faults.inject({
        at: "codebuild.phase",
        when: { phase },
        effect: { kind: "kill", status },
      });
      const { build } = await runBuildspec(
        emulator,
        phasesOf({
          pre_build: { commands: ["echo before"] },
          build: { commands: ["echo in"], finally: ["echo finally"] },
        }),
        { logsConfig: { cloudWatchLogs: { status: "DISABLED" } } },
      );
      assert.equal(fault.struck, 1);
      assert.equal(build.buildStatus, status);
      assert.equal(build.phases?.find(({ phaseType }) => phaseType === phase)?.phaseStatus, status);
      const after = statuses(build).slice(statuses(build).findIndex((text) => text.startsWith(phase)) + 1);
      const nothing = phase === "QUEUED" || phase === "FINALIZING";
      assert.deepEqual(after, nothing ? ["COMPLETED "] : ["FINALIZING SUCCEEDED", "COMPLETED "]);
    });
  }

  it("is killed by a fault at a line of its commands' output", async () => {
    emulator.faults.inject({
      at: "codebuild.log-line",
      when: { line: /^now \*\*\*$/ },
      effect: { kind: "kill", status: "FAULT" },
    });
    const { build, output } = await runBuildspec(
      emulator,
      phasesOf({
        build: { commands: ["echo before; echo now ASIAABCDEFGHIJKLMNOP; sleep 64.25"], finally: ["echo finally"] },
        post_build: { commands: ["echo post"] },
      }),
    );
    assert.equal(build.buildStatus, "FAULT");
    assert.deepEqual(output, ["before", "now ***"]);
    assert.deepEqual(processes("sleep 64.25"), []);
  });

  it("leaves nothing behind when the emulator closes while it runs", async () => {
    await withEmulator(async (own) => {
      const projectName = await createProject(own, spec("echo started; sleep 63.25"));
      const { build = {} } = await client(own, CodeBuildClient).send(new StartBuildCommand({ projectName }));
      await started(own, build);
      assert.equal(processes("sleep 63.25").length, 1);
      await own.close();
      assert.deepEqual(processes("sleep 63.25"), []);
      assert.deepEqual(own.failures, []);
      assert.ok(!fs.existsSync(own.cloud.directory));
    });
  });
});

function complete(phase: string): string[] {
  return [`Phase complete: ${phase} State: SUCCEEDED`, "Phase context status code:  Message: "];
}

/** Waits until the build's command has said so. */
async function started(emulator: Emulator, build: Build): Promise<void> {
  const look = async (): Promise<true | undefined> => {
    // The log's stream is made while the build is provisioned.
    const lines = await logLines(emulator, build).catch((): string[] => []);
    return lines.includes("started") ? true : undefined;
  };
  await until("the command's start", look);
}

/** Of this machine, by their command line. */
function processes(pattern: string): string[] {
  const lines = fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim();
      } catch {
        return "";
      }
    });
  return lines.filter((line) => new RegExp(`^${pattern}$`).test(line));
}

function statuses(build: Build): string[] {
  return (build.phases ?? []).map(({ phaseType, phaseStatus = "" }) => `${phaseType} ${phaseStatus}`);
}
