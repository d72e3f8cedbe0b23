/** Runs a program against Pulumi's mocks and gives what it registered. */
import * as pulumi from "@pulumi/pulumi";

export interface Registered {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

/** A recorder of everything that is registered. Two resources of one type and name are one URN: an error. */
class Recorder implements pulumi.runtime.Mocks {
  readonly resources: Registered[] = [];
  readonly duplicates: string[] = [];

  newResource(args: pulumi.runtime.MockResourceArgs): { id: string; state: Record<string, unknown> } {
    const { type, name } = args;
    const inputs = unwrapped(args.inputs) as Record<string, unknown>;
    if (this.resources.some((each) => each.type === type && each.name === name))
      this.duplicates.push(`${type} ${name}`);
    this.resources.push({ type, name, inputs });
    return { id: idOf(type, name), state: { ...inputs, ...outputsOf(type, name, inputs) } };
  }

  call(args: pulumi.runtime.MockCallArgs): Record<string, unknown> {
    const answers: Record<string, Record<string, unknown>> = {
      "aws:index/getCallerIdentity:getCallerIdentity": {
        accountId: "123456789012",
        arn: "arn:aws:sts::123456789012:assumed-role/deployer/session",
        userId: "AROA:session",
      },
      "aws:index/getRegion:getRegion": { region: "us-east-1", name: "us-east-1" },
      "aws:index/getAvailabilityZones:getAvailabilityZones": { names: ["us-east-1a", "us-east-1b", "us-east-1c"] },
      "aws:ssm/getParameter:getParameter": { insecureValue: "ami-0123456789abcdef0", value: "ami-0123456789abcdef0" },
    };
    const answer = answers[args.token];
    if (answer === undefined) throw new Error(`the program called ${args.token}, which the mocks do not know`);
    return answer;
  }
}

/** Resources whose ids and outputs matter to the rest of a program. */
function idOf(type: string, name: string): string {
  return type === "aws:ec2/instance:Instance" ? "i-0123456789abcdef0" : `${name}-id`;
}

function outputsOf(type: string, name: string, inputs: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const arn = (service: string, resource: string) => `arn:aws:${service}:us-east-1:123456789012:${resource}`;
  switch (type) {
    case "aws:s3/bucket:Bucket":
      return { bucket: `${name}-0a1b2c3`, arn: `arn:aws:s3:::${name}-0a1b2c3` };
    case "aws:iam/role:Role":
      return { name: `${name}-0a1b2c3`, arn: `arn:aws:iam::123456789012:role/${name}-0a1b2c3` };
    case "aws:iam/instanceProfile:InstanceProfile":
      return { name: `${name}-0a1b2c3` };
    case "aws:codebuild/project:Project":
      return { arn: arn("codebuild", `project/${String(inputs.name)}`) };
    case "aws:codepipeline/pipeline:Pipeline":
      return { arn: arn("codepipeline", String(inputs.name)) };
    case "aws:secretsmanager/secret:Secret":
      return { arn: arn("secretsmanager", `secret:${name}-0a1b2c3-AbCdEf`) };
    case "aws:ec2/instance:Instance":
      return {
        arn: arn("ec2", "instance/i-0123456789abcdef0"),
        publicIp: "203.0.113.10",
        privateDns: "ip-10-0-0-10.ec2.internal",
      };
    case "aws:rds/instance:Instance":
      return {
        arn: arn("rds", `db:${String(inputs.identifier)}`),
        address: "shop.abcdefgh.us-east-1.rds.amazonaws.com",
        port: 5432,
        masterUserSecrets: [
          { secretArn: arn("secretsmanager", "secret:rds!db-0a1b2c3d-AbCdEf"), secretStatus: "active" },
        ],
      };
    default:
      return {};
  }
}

/** Secrets arrive as signed objects. */
function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== "object" || value === null || pulumi.asset.Asset.isInstance(value)) return value;
  if (pulumi.asset.Archive.isInstance(value)) return value;
  const record = value as Record<string, unknown>;
  if ("4dabf18193072939515e22adb298388d" in record && "value" in record) return unwrapped(record.value);
  return Object.fromEntries(Object.entries(record).map(([key, member]) => [key, unwrapped(member)]));
}

export interface Program<T> {
  readonly resources: readonly Registered[];
  readonly result: T;
  /** All resources of a type. */
  ofType(type: string): readonly Registered[];
  /** The one resource of that type and name. */
  get(type: string, name: string): Registered;
}

/** Registers what the program makes, and waits until everything is resolved. */
export async function runProgram<T>(program: () => T): Promise<Program<T>> {
  const recorder = new Recorder();
  await pulumi.runtime.setMocks(recorder, "protected-pipeline", "test", false);
  const rejections: unknown[] = [];
  const collect = (reason: unknown) => rejections.push(reason);
  process.on("unhandledRejection", collect);
  // The SDK takes a stack for each promise that it makes: three quarters of the time, for nothing here.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    const result = program();
    await pulumi.runtime.disconnect();
    await new Promise((resolve) => setImmediate(resolve));
    if (rejections.length > 0) throw rejections[0];
    if (recorder.duplicates.length > 0) throw new Error(`registered twice: ${recorder.duplicates.join(", ")}`);
    return view(recorder.resources, result);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    process.off("unhandledRejection", collect);
  }
}

function view<T>(resources: readonly Registered[], result: T): Program<T> {
  return {
    resources,
    result,
    ofType: (type) => resources.filter((each) => each.type === type),
    get: (type, name) => {
      const found = resources.find((each) => each.type === type && each.name === name);
      if (found === undefined) {
        const names = resources.filter((each) => each.type === type).map((each) => each.name);
        throw new Error(`there is no ${type} "${name}", only: ${names.join(", ")}`);
      }
      return found;
    },
  };
}

/** The value of an output. */
export function valueOf<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => output.apply(resolve));
}
