/**
 * A small world for the jobs' flows: one instance, one pipeline, a recovery store in memory. AWS's clients answer from
 * its state; Elastio is the fixture program. Databases are not in it: they need a server.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Clients } from "../../jobs/clients";
import type { Toolkit } from "../../jobs/job";
import { acquire, leasedArns } from "../../jobs/lease";
import { createLog } from "../../jobs/log";
import { FactStore } from "../../jobs/store/facts";
import { deadlineIn } from "../../jobs/time";
import type { AttachedVolume } from "../../run/facts";
import { runId } from "../../run/ids";
import type { Plan } from "../../run/plan";
import type { RunFacts } from "../../run/state";
import { FakeClient, MemoryObjects, serviceError } from "./memory-objects";

export const run = runId("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
export const instanceId = "i-0123456789abcdef0";
const recoveryPoint = "rp-01gdg3gx59";
const goodFiles = "a".repeat(64);
const badFiles = "b".repeat(64);

/** The live root, and what a volume in its place must be like. */
export const liveVolume: AttachedVolume = {
  device: "/dev/xvda",
  volumeId: "vol-0live",
  root: true,
  deleteOnTermination: false,
  type: "gp3",
  size: 8,
  encrypted: true,
  tags: {},
};

interface FakeInstance {
  state: string;
  root: string | undefined;
}

export class World {
  readonly objects = new MemoryObjects();
  readonly store = new FactStore(this.objects);
  readonly lines: string[] = [];
  /** Status by build id. */
  readonly builds: Record<string, string> = {};
  readonly parameters = new Map<string, string>();
  readonly instances: Record<string, FakeInstance> = { [instanceId]: { state: "running", root: "vol-0live" } };
  readonly volumes: Record<string, string> = { "vol-0live": "in-use" };
  readonly tags: Record<string, Record<string, string>> = {};
  execution = "InProgress";
  trigger = "StartPipelineExecution";
  actions: object[] = [];
  /** What the application answers while the volume is the root. */
  readonly status: Record<string, number> = { "vol-0live": 200, "vol-0copy": 200 };
  /** SSM commands of the release that still run. */
  commands: string[] = [];
  /** The restored volume has other files than the protected one had. */
  wrongFiles = false;
  /** Names of EC2 operations that are denied. */
  readonly denied = new Set<string>();
  /** Runs before each read of a fact that is not there: time passes only when somebody looks. */
  onLook: (key: string) => void = () => undefined;
  plan: Plan;
  caFile = "/dev/null";
  /** Clients that answer in place of this world's own. */
  others: Partial<Clients> = {};
  readonly ec2: FakeClient;
  private readonly folder = mkdtempSync(join(tmpdir(), "jobs-"));
  private readonly path = process.env["PATH"];
  private tasks: { id: string; tags: object[] }[] = [];
  /** Ids of volumes and snapshots that were deleted. */
  readonly deleted: string[] = [];
  private constructor(private readonly server: Server) {
    const { port } = server.address() as AddressInfo;
    this.plan = planFor(`http://127.0.0.1:${port}/`);
    process.env["PATH"] = `${join(__dirname, "fixtures/bin")}${delimiter}${this.path ?? ""}`;
    process.env["ELASTIO_FIXTURE"] = this.folder;
    this.elastio({
      "ec2 backup": [{ out: { job_id: "j-01gdg3gx59" } }],
      "ec2 restore": [{ out: { job_id: "j-02gdg3gx59" } }],
      "job output": [{ out: { error: null, status: "Succeeded", data: { rp_id: recoveryPoint } } }],
    });
    this.ec2 = this.createEc2();
    const get = this.objects.get.bind(this.objects);
    this.objects.get = (key) => (this.objects.objects.has(key) || this.onLook(key), get(key));
  }

  static async open(): Promise<World> {
    const place: { world?: World } = {};
    const server = createServer((_, response) => {
      const root = place.world?.instances[instanceId]?.root ?? "";
      response.writeHead(place.world?.status[root] ?? 503).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (place.world = new World(server));
  }

  async close(): Promise<void> {
    process.env["PATH"] = this.path;
    delete process.env["ELASTIO_FIXTURE"];
    rmSync(this.folder, { recursive: true });
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  elastio(answers: object): void {
    writeFileSync(join(this.folder, "answers.json"), JSON.stringify(answers));
  }

  /** A build of the pipeline or of Rescue. */
  build(id: string, command = id): Toolkit {
    this.builds[id] = "IN_PROGRESS";
    const log = createLog((line) => this.lines.push(line));
    return {
      command,
      build: id,
      caFile: this.caFile,
      plan: this.plan,
      clients: this.clients(),
      store: this.store,
      log,
    };
  }

  /** Ends a build that {@link build} began. */
  end(id: string, status = "SUCCEEDED"): void {
    this.builds[id] = status;
  }

  facts(): Promise<RunFacts> {
    return this.store.load(run);
  }

  /** Everything up to the moment at which the Guard starts. */
  async proven(): Promise<void> {
    const at = new Date().toISOString();
    await this.store.writeRun(run, "opened", { at, run, build: "protect:1", plan: this.plan });
    await this.store.writeTarget(run, "server", "protected", {
      at,
      kind: "instance",
      job: "j-01gdg3gx59",
      volumes: [liveVolume],
      snapshotAt: at,
      files: goodFiles,
    });
    await this.store.writeTarget(run, "server", "staged", { at, kind: "instance", recoveryPoint, volumes: [] });
    await this.store.writeTarget(run, "server", "proven", { at, kind: "instance", compared: "x" });
    for (const arn of leasedArns(this)) await acquire({ ...this.build("protect:1"), run }, arn, deadlineIn(5));
    this.end("protect:1");
  }

  /** The deploy: takes its admission as soon as the Guard has signed, then does this. */
  deploys(work: () => void): void {
    this.onLook = (key) => {
      if (!key.endsWith("/admitted.json") || !this.objects.objects.has(`runs/${run}/ticket.json`)) return;
      this.objects.objects.set(key, JSON.stringify({ at: new Date().toISOString(), build: "deploy:1" }));
      this.builds["deploy:1"] = "IN_PROGRESS";
      work();
    };
  }

  private clients(): Clients {
    const give = (client: FakeClient) => () => Promise.resolve(client as never);
    return {
      ec2: give(this.ec2),
      ssm: give(this.createSsm()),
      codebuild: give(this.createCodeBuild()),
      codepipeline: give(this.createCodePipeline()),
      cloudwatch: give(new FakeClient({})),
      s3: give(new FakeClient({})),
      secrets: give(new FakeClient({})),
      ...this.others,
    };
  }

  private createCodeBuild(): FakeClient {
    return new FakeClient({
      BatchGetBuilds: ({ ids }) => ({
        builds: (ids as string[]).flatMap((id) =>
          this.builds[id] === undefined ? [] : [{ id, buildStatus: this.builds[id], endTime: new Date() }],
        ),
      }),
      StopBuild: ({ id }) => ((this.builds[String(id)] = "STOPPED"), {}),
    });
  }

  private createCodePipeline(): FakeClient {
    return new FakeClient({
      GetPipelineExecution: () => ({
        pipelineExecution: { status: this.execution, trigger: { triggerType: this.trigger } },
      }),
      ListActionExecutions: () => ({ actionExecutionDetails: this.actions }),
    });
  }

  private createSsm(): FakeClient {
    return new FakeClient({
      SendCommand: () => ({ Command: { CommandId: "c-own" } }),
      GetCommandInvocation: ({ InstanceId }) => {
        const root = this.instances[String(InstanceId)]?.root ?? "";
        const restored = root === "vol-0copy" || root.startsWith("vol-0of");
        const good = restored ? !this.wrongFiles : (this.status[root] ?? 200) === 200;
        return { Status: "Success", StandardOutputContent: `files ${good ? goodFiles : badFiles} 3\n` };
      },
      ListCommands: () => ({ Commands: this.commands.map((CommandId) => ({ CommandId, Status: "InProgress" })) }),
      CancelCommand: ({ CommandId }) => ((this.commands = this.commands.filter((id) => id !== CommandId)), {}),
      GetParametersByPath: ({ Path }) => ({
        Parameters: [...this.parameters]
          .filter(([name]) => name.startsWith(`${String(Path)}/`))
          .map(([Name, Value]) => ({ Name, Value })),
      }),
      PutParameter: ({ Name, Value }) => {
        if (this.parameters.has(String(Name))) throw serviceError("ParameterAlreadyExists", 400);
        this.parameters.set(String(Name), String(Value));
        return {};
      },
    });
  }

  private createEc2(): FakeClient {
    const operations: Record<string, (input: Record<string, unknown>) => unknown> = {
      DescribeInstances: ({ InstanceIds }) => {
        // The copy appears once a restore was asked for, which the fixture cannot tell: with the first look after it.
        if (InstanceIds === undefined) this.instances["i-0copy"] ??= { state: "absent", root: "vol-0copy" };
        const copy = this.instances["i-0copy"];
        const found = Object.entries(this.instances).filter(([id]) =>
          InstanceIds === undefined ? id === "i-0copy" : (InstanceIds as string[]).includes(id),
        );
        const shown = found.filter(([, { state }]) => !["absent", "terminated"].includes(state));
        if (InstanceIds === undefined && copy?.state === "absent") copy.state = "running";
        return { Reservations: [{ Instances: shown.map(([id, each]) => describe(id, each)) }] };
      },
      StopInstances: () => (this.setCopy("stopped"), {}),
      TerminateInstances: () => (this.setCopy("terminated"), {}),
      // Asked without ids: for those that were taken over from a copy, of which there are none yet.
      DescribeVolumes: ({ VolumeIds }) => ({
        Volumes: ((VolumeIds ?? []) as string[]).map((VolumeId) => {
          const holder = Object.entries(this.instances).find(([, { root }]) => root === VolumeId)?.[0];
          const { type: VolumeType, size: Size, encrypted: Encrypted } = liveVolume;
          const Attachments = holder === undefined ? [] : [{ InstanceId: holder, State: "attached" }];
          return {
            VolumeId,
            State: holder === undefined ? "available" : "in-use",
            VolumeType,
            Size,
            Encrypted,
            Attachments,
          };
        }),
      }),
      DetachVolume: () => {
        if (this.instances["i-0copy"] !== undefined) this.instances["i-0copy"].root = undefined;
        return {};
      },
      CreateTags: ({ Resources, Tags }) => {
        const list = Tags as { Key: string; Value: string }[];
        const [resource = ""] = Resources as string[];
        Object.assign((this.tags[resource] ??= {}), Object.fromEntries(list.map(({ Key, Value }) => [Key, Value])));
        return {};
      },
      ModifyInstanceAttribute: () => ({}),
      // What the engine `aws` calls: everything is there at once.
      CreateSnapshots: ({ InstanceSpecification }) => {
        const { InstanceId = "" } = InstanceSpecification as { InstanceId?: string };
        const root = this.instances[InstanceId]?.root ?? "";
        return { Snapshots: [{ SnapshotId: `snap-${root}`, VolumeId: root }] };
      },
      DescribeSnapshots: ({ SnapshotIds }) => ({
        Snapshots: (SnapshotIds as string[]).map((SnapshotId) => ({
          SnapshotId,
          VolumeId: SnapshotId.slice("snap-".length),
          State: "completed",
          VolumeSize: liveVolume.size,
          Tags: [{ Key: "protected-pipeline:run", Value: run }],
        })),
      }),
      CreateVolume: ({ SnapshotId }) => ({ VolumeId: `vol-0of-${String(SnapshotId)}` }),
      DeleteVolume: ({ VolumeId }) => (this.deleted.push(String(VolumeId)), {}),
      DeleteSnapshot: ({ SnapshotId }) => (this.deleted.push(String(SnapshotId)), {}),
      CreateReplaceRootVolumeTask: ({ InstanceId, VolumeId, TagSpecifications }) => {
        const id = `replacevol-${this.tasks.length}`;
        const [specification] = TagSpecifications as { Tags: object[] }[];
        this.tasks.push({ id, tags: specification?.Tags ?? [] });
        const live = this.instances[String(InstanceId)];
        if (live !== undefined) live.root = String(VolumeId);
        return { ReplaceRootVolumeTask: { ReplaceRootVolumeTaskId: id, TaskState: "pending" } };
      },
      DescribeReplaceRootVolumeTasks: () => ({
        ReplaceRootVolumeTasks: this.tasks.map(({ id, tags }) => ({
          ReplaceRootVolumeTaskId: id,
          TaskState: "succeeded",
          Tags: tags,
        })),
      }),
    };
    const checked = Object.entries(operations).map(([name, operation]) => [
      name,
      (input: Record<string, unknown>) => {
        if (this.denied.has(name)) throw serviceError("UnauthorizedOperation", 403);
        if (input["DryRun"] === true) throw serviceError("DryRunOperation", 412);
        return operation(input);
      },
    ]);
    return new FakeClient(Object.fromEntries(checked) as typeof operations);
  }

  private setCopy(state: string): void {
    const copy = this.instances["i-0copy"];
    if (copy !== undefined) copy.state = state;
  }
}

function describe(id: string, { state, root }: FakeInstance): object {
  return {
    InstanceId: id,
    State: { Name: state },
    Placement: { AvailabilityZone: "us-east-1a" },
    RootDeviceName: "/dev/xvda",
    RootDeviceType: "ebs",
    BlockDeviceMappings:
      root === undefined ? [] : [{ DeviceName: "/dev/xvda", Ebs: { VolumeId: root, DeleteOnTermination: false } }],
  };
}

function planFor(url: string): Plan {
  return {
    version: 1,
    environment: "shop-test",
    region: "us-east-1",
    account: "123456789012",
    engine: "elastio",
    store: { bucket: "store" },
    pipeline: { name: "shop", deployStage: "Deploy", deployAction: "Deploy", guardAction: "Guard" },
    projects: { protect: "protect", wait: "wait", deploy: "deploy", guard: "guard", rescue: "rescue" },
    targets: [
      {
        kind: "instance",
        id: "server",
        arn: `arn:aws:ec2:us-east-1:123456789012:instance/${instanceId}`,
        instanceId,
        paths: ["/opt/shop"],
        volumes: "root",
      },
    ],
    deadlines: {
      leaseSeconds: 5,
      protectSeconds: 20,
      waitSeconds: 20,
      admitSeconds: 20,
      deploySeconds: 20,
      healSeconds: 20,
      freshSeconds: 600,
    },
    pollSeconds: 0.01,
    probes: [{ id: "front", url, status: 200, intervalSeconds: 0.01, timeoutSeconds: 1 }],
    alarms: [],
    soak: { seconds: 0, tolerance: 0 },
    writes: "continue",
    healing: "always",
    limits: { parallelTargets: 2, stageWorkers: 2 },
    mode: "heal",
    deployOnCreate: false,
    retentionDays: 7,
  };
}
