/** The engine `elastio`, through its command-line program. */
import { spawn } from "node:child_process";
import { PassThrough, type Readable } from "node:stream";
import type { PreparedVolume } from "../../run/facts";
import { Failure, reasonOf } from "../failure";
import { type Instance, copiesOf } from "../instance/instances";
import { detachVolume, isolateInstance, stopInstances, terminateInstances } from "../instance/states";
import { tagOf, tagResource, taggedVolumes } from "../instance/volumes";
import type { Job } from "../job";
import { type Deadline, type Pause, until } from "../time";
import type { BackupEngine, Machine, StartedBackup, Tags } from "./engine";
import { runTag } from "./tags";
import { type JobLook, type StartedJob, classifyJob, parseStarted, parseStored, withoutTokens } from "./elastio-output";

/** How many answers in a row may say nothing that is understood. */
const unknownAnswers = 10;

/** Marks on a volume that was taken over from a copy: whose it becomes, what it was made of, where it goes. */
const takenFor = "protected-pipeline:volume-of";
const takenFrom = "protected-pipeline:restored-from";
const takenDevice = "protected-pipeline:device";

export class ElastioEngine implements BackupEngine {
  readonly name = "elastio";

  constructor(private readonly job: Pick<Job, "clients" | "log" | "plan" | "run">) {}

  async backupInstance({ instanceId }: Machine, tags: Tags): Promise<StartedBackup> {
    const args = ["ec2", "backup", "--instance-id", instanceId, ...tagArguments(tags), ...json];
    const started = parseStarted("elastio ec2 backup", await this.run(args));
    this.job.log(`the backup runs in the background as job ${started.job}`);
    return { job: started.job, abort: () => this.abort(started) };
  }

  /**
   * No public source says which command takes the abort token, so this is done only where the owner asks for it. The
   * token goes by the environment: the arguments of a program can be read by all.
   */
  private async abort({ job, abortToken }: StartedJob): Promise<void> {
    const { log, plan } = this.job;
    if (plan.elastio?.abortOnFailure !== true || abortToken === undefined) {
      return log(`job ${job} is left to end by itself`);
    }
    const args = ["job", "abort", "--job-id", job, ...json];
    log.command(`elastio ${args.join(" ")}`);
    const { failure } = await this.execute(args, { environment: { ELASTIO_ABORT_TOKEN: abortToken } });
    log(failure === undefined ? `job ${job} is being aborted` : `job ${job} goes on: ${failure.message}`);
  }

  async finishInstanceBackup(job: string, _machine: Machine, deadline: Deadline): Promise<string> {
    const recoveryPoint = await this.waitFor(job, deadline, this.patientPause);
    if (recoveryPoint === undefined) throw new Failure(`job ${job} succeeded but names no recovery point`);
    return recoveryPoint;
  }

  prepareVolumes(): Promise<PreparedVolume[]> {
    // Elastio restores an instance by booting a copy of it, which would talk to the live database: only on failure.
    return Promise.resolve([]);
  }

  /**
   * Restores a copy of the instance and takes over its volumes. The copy boots with the instance's own configuration,
   * so it is cut off from the network and stopped as soon as it can be seen. The live database is closed to
   * connections all that time: a copy cannot reach it even before it is seen.
   */
  async volumes(
    machine: Machine,
    recoveryPoint: string,
    _prepared: readonly PreparedVolume[],
    deadline: Deadline,
  ): Promise<PreparedVolume[]> {
    const { clients, log } = this.job;
    // An earlier healer may have come this far.
    const [taken, copies] = await Promise.all([
      this.takenOver(machine, recoveryPoint),
      copiesOf(clients, recoveryPoint),
    ]);
    if (taken.length === machine.volumes.length) return taken;
    let job: string | undefined;
    if (copies.length === 0) {
      const output = await this.run(["ec2", "restore", "--rp", recoveryPoint, ...json]);
      job = parseStarted("elastio ec2 restore", output).job;
      log(`the restore runs in the background as job ${job}`);
    }
    const [copy] = await Promise.all([
      this.stoppedCopy(recoveryPoint, deadline),
      job === undefined ? Promise.resolve(undefined) : this.waitFor(job, deadline, this.pause),
    ]);
    if (copy.zone !== machine.zone) {
      throw new Failure(`the restored copy ${copy.instanceId} is in ${copy.zone}, not in ${machine.zone}`);
    }
    for (const { device } of machine.volumes) {
      if (taken.every((each) => each.device !== device)) {
        taken.push(await this.takeOver(machine, recoveryPoint, copy, device, deadline));
      }
    }
    return taken;
  }

  /** The volumes that were taken from the copy and are free, or in place already. */
  private async takenOver(machine: Machine, recoveryPoint: string): Promise<PreparedVolume[]> {
    const tags = { [takenFor]: machine.instanceId, [takenFrom]: recoveryPoint };
    return (await taggedVolumes(this.job.clients, tags)).flatMap((volume) => {
      const device = tagOf(volume, takenDevice);
      const elsewhere = (volume.Attachments ?? []).some(({ InstanceId }) => InstanceId !== machine.instanceId);
      if (volume.VolumeId === undefined || device === undefined || elsewhere) return [];
      return [{ device, volumeId: volume.VolumeId }];
    });
  }

  private async takeOver(
    machine: Machine,
    recoveryPoint: string,
    copy: Instance,
    device: string,
    deadline: Deadline,
  ): Promise<PreparedVolume> {
    const { clients, log } = this.job;
    const attached = [...(copy.root === undefined ? [] : [copy.root]), ...copy.dataVolumes];
    const found = attached.find((each) => each.device === device);
    if (found === undefined) throw new Failure(`the restored copy ${copy.instanceId} has no volume at ${device}`);
    const { volumeId } = found;
    log(`taking over volume ${volumeId} (${device}) of the stopped copy ${copy.instanceId}`);
    await tagResource(clients, volumeId, {
      [runTag]: this.job.run,
      [takenFor]: machine.instanceId,
      [takenFrom]: recoveryPoint,
      [takenDevice]: device,
    });
    await detachVolume(clients, volumeId, copy.instanceId, deadline, this.pause);
    return { device, volumeId };
  }

  async removeLeftovers(recoveryPoint: string): Promise<void> {
    const copies = (await copiesOf(this.job.clients, recoveryPoint)).map(({ instanceId }) => instanceId);
    await terminateInstances(this.job.clients, copies);
    if (copies.length > 0) this.job.log(`terminated the copy ${copies.join(", ")}`);
  }

  /** Finds the copy by the tag that Elastio puts on what it restores; isolates and stops it at the first sight. */
  private async stoppedCopy(recoveryPoint: string, deadline: Deadline): Promise<Instance> {
    const { clients } = this.job;
    const isolated = new Set<string>();
    const asked = new Set<string>();
    return until(`the copy restored from ${recoveryPoint} to be stopped`, deadline, this.pause, async () => {
      const copies = await copiesOf(clients, recoveryPoint);
      for (const { instanceId, state } of copies) {
        if (!["pending", "running"].includes(state)) continue;
        await this.isolate(instanceId, isolated);
        if (!asked.has(instanceId) && (await stopInstances(clients, [instanceId]))) {
          asked.add(instanceId);
          this.job.log(`stopping the restored copy ${instanceId}: it must not serve, and not reach the database`);
        }
      }
      if (copies.some(({ state }) => state !== "stopped")) return undefined;
      return copies.find(({ root }) => root !== undefined) ?? copies[0];
    });
  }

  /** A second fence around the copy: what it could reach besides the closed database. Stopping it does not wait for it. */
  private async isolate(instanceId: string, isolated: Set<string>): Promise<void> {
    const group = this.job.plan.elastio?.isolationGroupId;
    if (group === undefined || isolated.has(instanceId)) return;
    try {
      await isolateInstance(this.job.clients, instanceId, group);
      isolated.add(instanceId);
      this.job.log(`isolated the restored copy ${instanceId} with ${group}`);
    } catch (error) {
      this.job.log(`the restored copy ${instanceId} is not isolated yet: ${reasonOf(error)}`);
    }
  }

  async rehearse(): Promise<void> {
    // The copy does not exist before the restore: there is nothing to try the calls on.
  }

  async discard(): Promise<void> {
    // Nothing was prepared.
  }

  expire(): Promise<string[]> {
    // The vault keeps retention policies of its own.
    return Promise.resolve([]);
  }

  streamCommand(name: string, tags: Tags): string {
    return ["elastio", ...streamArguments(name, tags)].join(" ");
  }

  async storeStream(name: string, dump: Readable, tags: Tags): Promise<{ recoveryPoint: string }> {
    const command = "elastio stream backup";
    return {
      recoveryPoint: parseStored(command, succeeded(await this.execute(streamArguments(name, tags), { input: dump }))),
    };
  }

  async openStream(recoveryPoint: string): Promise<Readable> {
    const args = ["stream", "restore", "--rp", recoveryPoint];
    this.job.log.command(`elastio ${args.join(" ")}`);
    const child = spawn("elastio", args, { stdio: ["ignore", "pipe", "pipe"] });
    const errors = tail(child.stderr);
    // Not `pipe` alone: an early end of the program would look like the end of the dump.
    const stream = new PassThrough();
    stream.once("close", () => child.kill("SIGKILL"));
    child.once("error", (error) => stream.destroy(cannotRun(error)));
    child.once("close", (code, signal) => {
      if (code === 0) stream.end();
      else stream.destroy(new Failure(`\`elastio ${args.join(" ")}\` ${ending(code, signal)}: ${errors()}`));
    });
    child.stdout.pipe(stream, { end: false });
    return Promise.resolve(stream);
  }

  /** @returns the recovery point that the job's result names, if it names one */
  private async waitFor(job: string, deadline: Deadline, pause: Pause): Promise<string | undefined> {
    const args = ["job", "output", "--job-id", job, ...json];
    this.job.log.command(`elastio ${args.join(" ")}`);
    let unknown = 0;
    const done = await until(`job ${job}`, deadline, pause, async () => {
      const look = await this.look(args);
      unknown = look.kind === "unknown" ? unknown + 1 : 0;
      if (look.kind === "done") return look;
      if (look.kind === "failed") throw new Failure(`job ${job} failed: ${look.reason}`);
      if (look.kind === "unknown" && unknown >= unknownAnswers) {
        throw new Failure(`nobody knows how job ${job} is; ${unknown} answers in a row said: ${look.reason}`);
      }
      return undefined;
    });
    this.job.log(`job ${job} succeeded`);
    return done.recoveryPoint;
  }

  private async look(args: readonly string[]): Promise<JobLook> {
    try {
      const { output, failure } = await this.execute(args);
      // A job that is not there is told in the same form, with another exit code.
      const look = classifyJob(output);
      return failure !== undefined && look.kind !== "failed" ? { kind: "unknown", reason: failure.message } : look;
    } catch (error) {
      return { kind: "unknown", reason: reasonOf(error) };
    }
  }

  /** While healing, every look counts. */
  private get pause(): Pause {
    return { seconds: this.job.plan.pollSeconds };
  }

  /** A backup may take hours, and each look starts a program. */
  private get patientPause(): Pause {
    return { ...this.pause, factor: 1.25, cap: Math.max(this.job.plan.pollSeconds, 15) };
  }

  /** Runs the program to its end. @returns its standard output, when it succeeded */
  private async run(args: readonly string[]): Promise<string> {
    this.job.log.command(`elastio ${args.join(" ")}`);
    return succeeded(await this.execute(args));
  }

  private execute(args: readonly string[], { input, environment }: Given = {}): Promise<Ended> {
    const line = `elastio ${args.join(" ")}`;
    return new Promise((resolve, reject) => {
      const child = spawn("elastio", args, {
        stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
        env: { ...process.env, ...environment },
      });
      const errors = tail(child.stderr);
      const chunks: Buffer[] = [];
      let broken: Error | undefined;
      child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
      child.once("error", (error) => {
        input?.destroy(error);
        reject(cannotRun(error));
      });
      child.once("close", (code, signal) => {
        if (broken !== undefined) reject(broken);
        else {
          const failure = code === 0 ? undefined : new Failure(`\`${line}\` ${ending(code, signal)}: ${errors()}`);
          resolve({ output: Buffer.concat(chunks).toString("utf8"), failure });
        }
        if (code !== 0) input?.destroy(new Error("the vault's end of the pipe is closed"));
      });
      if (input === undefined || child.stdin === null) return;
      // An early end of the program shows as its exit code; the write error that it causes says nothing more.
      child.stdin.on("error", () => undefined);
      input.once("error", (error) => {
        broken = error;
        child.kill("SIGKILL");
      });
      input.pipe(child.stdin);
    });
  }
}

/** What the program is given besides its arguments. */
interface Given {
  /** Its standard input. When that fails, the program is killed before it can take the end for a whole. */
  readonly input?: Readable;
  readonly environment?: Readonly<Record<string, string>>;
}

interface Ended {
  /** Its standard output. */
  readonly output: string;
  readonly failure: Failure | undefined;
}

function succeeded({ output, failure }: Ended): string {
  if (failure !== undefined) throw failure;
  return output;
}

const json = ["--output-format", "json"];

function tagArguments(tags: Tags): string[] {
  // Some versions take `k:v` as well as `k=v`: no colon in a name.
  return Object.entries(tags).flatMap(([name, value]) => ["--tag", `${name.replaceAll(":", "-")}=${value}`]);
}

function streamArguments(name: string, tags: Tags): string[] {
  return ["stream", "backup", "--stream-name", name, ...tagArguments(tags), ...json];
}

/** The last lines of a program's standard error, read to its end so that the program never blocks on it. */
function tail(stream: Readable | null): () => string {
  let text = "";
  stream?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString("utf8")).slice(-2000);
  });
  return () => withoutTokens(text).trim() || "it printed no error";
}

function ending(code: number | null, signal: NodeJS.Signals | null): string {
  return code === null ? `was ended by ${signal ?? "a signal"}` : `ended with exit code ${code}`;
}

function cannotRun(error: Error): Failure {
  return new Failure(`cannot run elastio: ${error.message}. The job's image must have it on its PATH`);
}
