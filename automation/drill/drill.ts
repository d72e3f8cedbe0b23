/**
 * One real drill: an ephemeral stack, the truth before, an execution with the release, the truth after, the judgement,
 * and the clean-up, whatever happened.
 */
import { randomBytes } from "node:crypto";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import type { EngineEvent } from "@pulumi/pulumi/automation";
import type { Check, Report } from "../../run/report";
import { evidenceDatabase, runId } from "../../run/ids";
import { Clients } from "../clients";
import { makeChecks, withSecrets, type Gathered } from "../judge/checks";
import { knownSecrets, placesOf } from "../judge/places";
import { readRun, type ExecutionRecord } from "../judge/run";
import { searchSecrets } from "../judge/secrets";
import { takeTruth, type Subject, type Truth } from "../judge/truth";
import { missing, outcomeOf, type Outcome } from "../outcome";
import { makeReport } from "../report/report";
import { messageOf } from "../refusal";
import type { Setup } from "../setup";
import { executionStep } from "../view/render";
import type { Screen } from "../view/live";
import { emptyView, endStep, noteStep, startStep, type ViewState } from "../view/state";
import { withCleanup } from "./cleanup";
import { demoStack, loadPrograms, type DrillOutputs } from "./demo-stack";
import { awaitFirstExecution, followExecution, startExecution, type Moment } from "./follow";
import { unless, untilAborted, type Interruption } from "./interruption";
import type { Engine } from "./options";
import type { DataFile } from "./preflight";
import { outagesIn, Prober, totalOutage, type Outage } from "./prober";
import { heldMarker, holdKey, packRelease } from "./release";
import { saboteurs } from "./sabotage";
import type { Scenario } from "./scenario";
import { Scratch } from "./scratch";
import { EphemeralStack, failureOf, Progress } from "./stack";
import { endStrangers } from "./strangers";
import { startLocalTarget, type Target } from "./target";

export interface DrillOptions {
  readonly engine: Engine;
  readonly scenario: Scenario;
  readonly data?: DataFile | undefined;
  readonly keep: boolean;
  readonly setup: Setup;
  readonly screen: Screen;
  readonly interruption: Interruption;
  /** Resolves when the user wants to go on. */
  readonly goOn: (signal: AbortSignal) => Promise<void>;
  /** Called as soon as there is a report: the clean-up comes after it, and may fail. */
  readonly onReport: (report: Report) => Promise<void>;
  /** Hears every AWS call of the drill when it is over, clean-up of the stack included. */
  readonly onCalls?: (calls: ReturnType<Target["calls"]>) => void;
  /** Everything that was shown so far: it is searched for secrets, too. */
  readonly shown: () => string;
}

/** Names of the pipeline's parts, as the components give them. */
const deployStage = "Deploy";
const deployAction = "Deploy";
const guardAction = "Guard";
/** What the demo's application is served from, and how it is asked. */
const applicationPaths = ["/opt/shop", "/etc/systemd/system/shop.service"];
const answerPaths = ["/", "/health"];
const healthPath = "/health";

const firstExecutionSeconds = 1800;
const executionSeconds = 4 * 3600;

/** Runs a drill. Rejects when it could not be run, or not be cleaned up; what did not hold is in the report. */
export async function runDrill(options: DrillOptions): Promise<Report> {
  const name = `drill-${randomBytes(4).toString("hex")}`;
  const scratch = await Scratch.make(`protected-${name}`);
  const drill = new Drill(options, name, scratch);
  return withCleanup(
    () => drill.run(),
    () => scratch.remove(),
  );
}

class Drill {
  private readonly startedAt = new Date();
  private view: ViewState;
  private readonly signal: AbortSignal;

  constructor(
    private readonly options: DrillOptions,
    private readonly name: string,
    private readonly scratch: Scratch,
  ) {
    this.view = emptyView(`Drill ${options.scenario.name}, engine ${options.engine}, stack ${name}`);
    this.signal = options.interruption.signal;
  }

  async run(): Promise<Report> {
    const target = await this.step("embedded AWS", () => startLocalTarget(this.options.setup, this.scratch));
    return withCleanup(
      () => this.runOn(target),
      async () => {
        this.options.onCalls?.(target.calls());
        await this.step("embedded AWS closed", () => target.close());
      },
    );
  }

  private async runOn(target: Target): Promise<Report> {
    const { scenario, engine, data, setup } = this.options;
    this.signal.throwIfAborted();
    const stack = await EphemeralStack.create({
      name: this.name,
      scratch: this.scratch,
      pulumiRoot: setup.pulumiRoot,
      pulumiVersion: setup.pulumiVersion,
      environment: target.pulumiEnvironment,
      program: demoStack({ name: this.name, engine, target, scenario, data }),
      meanwhile: () => target.warmUp().then(loadPrograms),
    });
    return withCleanup(
      () => this.runInStack(target, stack),
      () => this.destroy(stack),
    );
  }

  private async runInStack(target: Target, stack: EphemeralStack): Promise<Report> {
    const outputs = await this.up(stack);
    const clients = new Clients();
    return withCleanup(
      async () => {
        const report = await new Execution(this, this.options, target, stack, outputs, clients).run();
        await this.options.onReport(report);
        if (this.options.keep) await this.keep(outputs, await target.operatorOptions());
        return report;
      },
      async () => {
        await endStrangers(clients, outputs.vpcId, outputs.instanceId, target.pollMilliseconds);
        clients.close();
      },
    );
  }

  private async up(stack: EphemeralStack): Promise<DrillOutputs> {
    const events: EngineEvent[] = [];
    const progress = new Progress();
    return this.step(`stack ${this.name}`, async (note) => {
      try {
        const outputs = await stack.up(this.signal, (event) => {
          events.push(event);
          if (progress.hear(event)) note(`${progress.done} resources, ${progress.current}`);
        });
        note(`${progress.done} resources`);
        return outputs as unknown as DrillOutputs;
      } catch (error) {
        this.signal.throwIfAborted();
        throw failureOf(error, events);
      }
    });
  }

  private async destroy(stack: EphemeralStack): Promise<void> {
    const progress = new Progress();
    const events: EngineEvent[] = [];
    await this.step("stack destroyed", async (note) => {
      try {
        await stack.destroy(this.options.interruption.insisted, (event) => {
          events.push(event);
          if (progress.hear(event)) note(`${progress.done} resources`);
        });
      } catch (error) {
        throw new Error(`the stack ${this.name} could not be destroyed: ${messageOf(failureOf(error, events))}`, {
          cause: error,
        });
      }
    });
  }

  /** Leaves all running until a signal comes. */
  private async keep(outputs: DrillOutputs, operatorOptions: string): Promise<void> {
    this.change((view) => ({
      ...view,
      prompt: [
        "All is kept running in this process. Press Ctrl-C to destroy it.",
        `  application  curl ${outputs.applicationUrl}/`,
        "In another shell, after the lines below (docs/operating.md has all commands):",
        `  the runs     npm run --silent operator -- runs --bucket ${outputs.recoveryBucket}`,
        `  the rows     npm run --silent operator -- diff RUN --bucket ${outputs.recoveryBucket} ${operatorOptions}`,
        ...Object.entries(process.env)
          .filter(([name]) => /^AWS_(ENDPOINT_URL|REGION|ACCESS_KEY_ID|SECRET_ACCESS_KEY)$/.test(name))
          .map(([name, value]) => `  export ${name}=${value}`),
      ],
    }));
    await untilAborted(this.signal);
    this.change((view) => ({ ...view, prompt: [] }));
  }

  change(change: (view: ViewState) => ViewState): void {
    this.view = change(this.view);
    this.options.screen.show(this.view);
  }

  /** Shows a piece of work while it runs. `note` changes the words beside it. */
  async step<T>(name: string, work: (note: (text: string) => void) => Promise<T>): Promise<T> {
    this.change((view) => startStep(view, name, Date.now()));
    let last = "";
    try {
      const result = await work((text) => {
        last = text;
        this.change((view) => noteStep(view, name, text));
      });
      this.change((view) => endStep(view, name, "done", last, Date.now()));
      return result;
    } catch (error) {
      this.change((view) => endStep(view, name, "failed", messageOf(error), Date.now()));
      throw error;
    }
  }

  get begunAt(): Date {
    return this.startedAt;
  }

  folder(name: string): Promise<string> {
    return this.scratch.folder(name);
  }
}

/** From the truth before to the report, in a stack that stands. */
class Execution {
  private readonly signal: AbortSignal;
  /** What was done to the environment behind the stack's back. */
  private readonly undo: (() => Promise<void>)[] = [];
  /** What the outside client suffered. */
  private outages: readonly Outage[] = [];

  constructor(
    private readonly drill: Drill,
    private readonly options: DrillOptions,
    private readonly target: Target,
    private readonly stack: EphemeralStack,
    private readonly outputs: DrillOutputs,
    private readonly clients: Clients,
  ) {
    this.signal = options.interruption.signal;
  }

  run(): Promise<Report> {
    return withCleanup(
      () => this.judged(),
      async () => {
        for (const undo of this.undo) await undo();
      },
    );
  }

  private async judged(): Promise<Report> {
    await this.upload();
    const before = await this.drill.step("truth before", (note) => this.truth("before", undefined, note));
    const moment = await this.drill.step(executionStep, (note) => this.watched(() => this.execute(note)));
    const expected = this.expectation(moment.execution);
    const healed = await outcomeOf(() => this.evidenceOf(moment.execution.id));
    const after = await this.drill.step("truth after", (note) =>
      this.truth("after", healed.ok ? healed.value : undefined, note),
    );
    return this.drill.step("judgement", async (note) => {
      const report = await this.judge(expected, before, after, moment);
      const held = report.checks.filter((check) => check.held).length;
      note(`${held} of ${report.checks.length} checks held`);
      return report;
    });
  }

  private get poll() {
    return { pollMilliseconds: this.target.pollMilliseconds, signal: this.signal };
  }

  /** The first execution, which nobody asked for, finds no release; the release comes when it is over. */
  private async upload(): Promise<void> {
    const { pipelineName, sourceBucket, sourceKey } = this.outputs;
    await this.drill.step("release uploaded", async (note) => {
      await awaitFirstExecution(this.clients, pipelineName, { ...this.poll, deadlineSeconds: firstExecutionSeconds });
      const zip = await packRelease(this.options.scenario.release);
      await this.clients.s3.send(new PutObjectCommand({ Bucket: sourceBucket, Key: sourceKey, Body: zip }));
      note(`${this.options.scenario.release.length} files, ${zip.length} bytes`);
    });
  }

  private async truth(
    name: "before" | "after",
    evidence: string | undefined,
    note: (text: string) => void,
  ): Promise<Outcome<Truth>> {
    const truth = await outcomeOf(async () =>
      takeTruth({
        clients: this.clients,
        subject: this.subject(),
        name,
        directory: await this.drill.folder("truth"),
        evidence,
        ...this.poll,
      }),
    );
    this.signal.throwIfAborted();
    const problems = truth.ok
      ? [truth.value.database, truth.value.files, truth.value.instance, truth.value.answers]
          .filter((part) => !part.ok)
          .map((part) => part.error)
      : [truth.error];
    note(problems.length === 0 ? "whole dump, files, instance, answer" : problems.join("; "));
    return truth;
  }

  private subject(): Subject {
    const { instanceId, applicationUrl, databaseName, truthProject, truthBucket } = this.outputs;
    return { instanceId, applicationUrl, databaseName, truthProject, truthBucket, applicationPaths, answerPaths };
  }

  /** Runs the work beside an outside client of the application. */
  private watched<T>(work: () => Promise<T>): Promise<T> {
    const prober = new Prober(new URL(healthPath, this.outputs.applicationUrl).href);
    return withCleanup(work, async () => {
      await prober.stop();
      this.outages = outagesIn(prober.results);
    });
  }

  private async execute(note: (text: string) => void): Promise<Moment> {
    const { pipelineName } = this.outputs;
    const id = await startExecution(this.clients, pipelineName);
    note(id);
    const ended = new AbortController();
    const sabotage = this.sabotage(id, AbortSignal.any([this.signal, ended.signal]));
    const hold = new Hold(this.options.scenario.held, () => this.letGoOn(id));
    const follow = followExecution(
      this.clients,
      pipelineName,
      id,
      { ...this.poll, deadlineSeconds: executionSeconds },
      (moment) => {
        this.show(moment);
        hold.hear(moment);
      },
    );
    try {
      const moment = await unless(this.signal, follow);
      note(`${id} ${moment.execution.status}`);
      if (this.options.scenario.held) await this.showHealed();
      return moment;
    } finally {
      ended.abort(new Error("the execution ended before it was done"));
      await hold.over();
      await sabotage;
    }
  }

  /**
   * Does the sabotage beside the execution, and undoes afterwards what the stack knows nothing of. A sabotage that
   * could not be done makes the drill void.
   */
  private async sabotage(run: string, signal: AbortSignal): Promise<void> {
    const { scenario } = this.options;
    const act = scenario.sabotage === undefined ? undefined : saboteurs[scenario.sabotage].act;
    if (act === undefined) return;
    await this.drill.step(`sabotage ${scenario.sabotage}`, async (note) => {
      const { recoveryBucket, databaseName, projects, sabotageProject } = this.outputs;
      note(
        await act({
          clients: this.clients,
          run,
          recoveryBucket,
          databaseName,
          healers: [projects.guard, projects.rescue],
          sabotageProject,
          pollMilliseconds: Math.min(100, this.target.pollMilliseconds),
          signal,
          afterwards: (undo) => this.undo.push(undo),
        }),
      );
    });
  }

  private show({ execution, logs }: Moment): void {
    const failed = execution.stages
      .flatMap((stage) => stage.actions)
      .find((action) => action.status === "Failed" && action.name !== guardAction);
    const guard = logs.get(guardAction) ?? [];
    this.drill.change((view) => ({
      ...view,
      execution,
      healing: guard,
      ...(failed === undefined ? {} : { failure: { action: failed.name, lines: logs.get(failed.name) ?? [] } }),
    }));
  }

  /** The application is broken and stays so until the user wants it healed. */
  private async letGoOn(run: string): Promise<void> {
    await this.pause("The release has done its damage, and the application is broken.", "let it be healed");
    const { releaseBucket } = this.outputs;
    await this.clients.s3.send(new PutObjectCommand({ Bucket: releaseBucket, Key: holdKey(run), Body: "" }));
  }

  private async showHealed(): Promise<void> {
    await this.pause("The execution is over, and the application is healed.", "judge it, and clean up");
  }

  private async pause(what: string, then: string): Promise<void> {
    const lines = [what, `  curl -i ${this.outputs.applicationUrl}/`, `Press Enter to ${then}.`];
    this.drill.change((view) => ({ ...view, prompt: lines }));
    await this.options.goOn(this.signal);
    this.drill.change((view) => ({ ...view, prompt: [] }));
  }

  /** A user's own release has to end as its deployment did. */
  private expectation(execution: ExecutionRecord): "healed" | "healthy" {
    const { expected } = this.options.scenario;
    if (expected !== "as-deployed") return expected;
    const deploy = execution.stages.find((stage) => stage.name === deployStage);
    const action = deploy?.actions.find((each) => each.name === deployAction);
    return action?.status === "Succeeded" && execution.status === "Succeeded" ? "healthy" : "healed";
  }

  /** The evidence database's name, when a database was cut over. */
  private async evidenceOf(execution: string): Promise<string | undefined> {
    const run = await readRun(this.clients, this.outputs.recoveryBucket, execution);
    const cutOver = run.cutOvers.some((each) => each.kind === "database");
    return cutOver ? evidenceDatabase(this.outputs.databaseName, runId(execution)) : undefined;
  }

  private async judge(
    expected: "healed" | "healthy",
    before: Outcome<Truth>,
    after: Outcome<Truth>,
    moment: Moment,
  ): Promise<Report> {
    const { clients, outputs } = this;
    const run = await outcomeOf(() => readRun(clients, outputs.recoveryBucket, moment.execution.id));
    const guardLog = moment.logs.get(guardAction);
    const gathered: Gathered = {
      expected,
      databaseName: outputs.databaseName,
      addsTable: this.options.scenario.addsTable,
      before,
      after,
      execution: { ok: true, value: moment.execution },
      run,
      guardLog: guardLog === undefined ? missing("the Guard has no log") : { ok: true, value: guardLog },
      secrets: missing("not searched yet"),
    };
    const reportOf = (checks: readonly Check[]) =>
      makeReport({
        scenario: this.options.scenario.name,
        engine: this.options.engine,
        startedAt: this.drill.begunAt,
        finishedAt: new Date(),
        execution: moment.execution,
        run: run.ok ? run.value : undefined,
        clientOutage: totalOutage(this.outages),
        checks,
      });
    // The report itself is searched, so it is made twice.
    const checks = await makeChecks(gathered);
    const secrets = await outcomeOf(() => this.search(JSON.stringify(reportOf(checks))));
    return reportOf(await withSecrets(checks, { ...gathered, secrets }));
  }

  private async search(report: string) {
    const { clients, outputs } = this;
    const secrets = await knownSecrets(clients, {
      "database master's password": outputs.masterSecretArn,
      "application's password": outputs.applicationSecretArn,
    });
    const { artifactBucket, recoveryBucket, sourceBucket, releaseBucket, toolkitBucket, truthBucket } = outputs;
    return searchSecrets(
      secrets,
      placesOf({
        clients,
        buckets: [artifactBucket, recoveryBucket, sourceBucket, releaseBucket, toolkitBucket, truthBucket],
        stateFiles: await this.stack.stateFiles(),
        texts: [
          { name: "report", text: report },
          { name: "what the driver showed", text: this.options.shown() },
        ],
      }),
    );
  }
}

/** Pauses once, when the deploy's log says that the release waits. */
class Hold {
  private pausing: Promise<void> | undefined;

  constructor(
    private readonly wanted: boolean,
    private readonly pause: () => Promise<void>,
  ) {}

  hear({ logs }: Moment): void {
    if (!this.wanted || this.pausing !== undefined) return;
    if (logs.get(deployAction)?.some((line) => line.includes(heldMarker)) !== true) return;
    this.pausing = this.pause();
    // Its failure is thrown by over(); until then nobody listens.
    this.pausing.catch(() => undefined);
  }

  async over(): Promise<void> {
    await this.pausing;
  }
}
