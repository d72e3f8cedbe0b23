/** The emulator as a world for an engine: a real instance with a root and a data volume. */
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { type Clients, createClients } from "../../../jobs/clients";
import { exchangeVolumes } from "../../../jobs/instance/exchange";
import { runOnInstance } from "../../../jobs/instance/commands";
import { machineOf } from "../../../jobs/instance/machine";
import type { Job } from "../../../jobs/job";
import { createLog } from "../../../jobs/log";
import { deadlineIn } from "../../../jobs/time";
import { runId } from "../../../run/ids";
import type { Plan } from "../../../run/plan";
import { createEnvironment, type Environment, launch, text } from "../../emulator/ec2/support";
import { client } from "../../emulator/support";
import type { EngineWorld } from "./contract";

export const bucket = "recovery-store";

/** Mounts the data volume, now and at every boot. */
const mounted = `#!/bin/bash
set -eu
blkid /dev/sdf || mkfs -t xfs /dev/sdf
mkdir -p /srv/data
echo '/dev/sdf /srv/data xfs defaults,nofail 0 2' >> /etc/fstab
mount -a
`;

const pause = { seconds: 0.05 };

export class EmulatedWorld implements Omit<EngineWorld, "engine" | "storeDamaged" | "failNextBackup"> {
  readonly job: Pick<Job, "clients" | "log" | "plan" | "run">;
  readonly lines: string[] = [];
  private readonly saved = { ...process.env };
  private readonly folder = mkdtempSync(join(tmpdir(), "engine-"));

  private constructor(
    readonly emulator: Emulator,
    readonly environment: Environment,
    readonly instanceId: string,
  ) {
    // The engines' programs and clients find the endpoint as they do in a build.
    symlinkSync(resolve("emulator/image/bin/elastio"), join(this.folder, "elastio"));
    Object.assign(process.env, emulator.environment);
    process.env["PATH"] = `${this.folder}${delimiter}${process.env["PATH"] ?? ""}`;
    const isolationGroupId = environment.fenceId;
    this.job = {
      clients: createClients("us-east-1"),
      log: createLog((line) => this.lines.push(line)),
      plan: {
        pollSeconds: 0.05,
        store: { bucket },
        elastio: { abortOnFailure: true, isolationGroupId },
      } as unknown as Plan,
      run: runId("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"),
    };
  }

  static async open(): Promise<EmulatedWorld> {
    const emulator = await startEmulator();
    try {
      const environment = await createEnvironment(emulator);
      await client(emulator, S3Client).send(new CreateBucketCommand({ Bucket: bucket }));
      const { InstanceId } = await launch(environment, {
        BlockDeviceMappings: [{ DeviceName: "/dev/sdf", Ebs: { VolumeSize: 4, VolumeType: "gp3", Iops: 4000 } }],
        UserData: Buffer.from(mounted).toString("base64"),
      });
      const world = new EmulatedWorld(emulator, environment, text(InstanceId));
      await world.run("until mountpoint -q /srv/data; do sleep 0.1; done");
      return world;
    } catch (error) {
      await emulator.close();
      throw error;
    }
  }

  get clients(): Clients {
    return this.job.clients;
  }

  run(command: string): Promise<string> {
    return runOnInstance(this.clients, this.instanceId, command, deadlineIn(60), pause);
  }

  machine = (volumes: "all" | "root" = "all") => machineOf(this.clients, { instanceId: this.instanceId, volumes });

  async write(what: string): Promise<void> {
    await this.run(`mkdir -p /opt/app && echo ${what} > /opt/app/file && echo ${what} > /srv/data/file`);
  }

  async read(): Promise<string[]> {
    return (await this.run("cat /opt/app/file /srv/data/file")).trim().split("\n");
  }

  exchange: EngineWorld["exchange"] = async (machine, prepared) => {
    await exchangeVolumes({
      clients: this.clients,
      instanceId: this.instanceId,
      protected: machine.volumes,
      prepared,
      tags: { "protected-pipeline:run": this.job.run },
      token: "token",
      deadline: deadlineIn(120),
      pause,
      log: this.job.log,
    });
  };

  async close(): Promise<void> {
    for (const name of Object.keys(process.env)) if (!(name in this.saved)) delete process.env[name];
    Object.assign(process.env, this.saved);
    rmSync(this.folder, { recursive: true });
    await this.emulator.close();
  }
}
