import assert from "node:assert/strict";
import { PutParameterCommand } from "@aws-sdk/client-ssm";
import { EmbeddedCloud } from "../../../emulator/core/cloud";
import type { Properties } from "../../../emulator/core/definitions";
import { type Emulator, startEmulator } from "../../../emulator/emulator";

describe("The functions of the provider", () => {
  let emulator: Emulator;
  let cloud: EmbeddedCloud;

  before(async () => {
    emulator = await startEmulator();
    assert.ok(emulator.cloud instanceof EmbeddedCloud);
    cloud = emulator.cloud;
  });
  after(() => emulator.close());

  const functions = () => cloud.dispatcher.services.flatMap(({ service }) => service.invokes);

  async function invoke(token: string, args: Properties): Promise<Properties> {
    const found = functions().find((each) => each.token === token);
    assert.ok(found, `there is no function ${token}`);
    const principal = cloud.administrator;
    return found.invoke(args, {
      cloud,
      principal,
      send: (command) => cloud.send(principal, command),
      made: () => undefined,
    });
  }

  const cases: Readonly<Record<string, readonly [Properties, (answer: Properties) => void]>> = {
    "aws:index/getCallerIdentity:getCallerIdentity": [
      {},
      ({ accountId, arn }) => assert.deepEqual([accountId, arn], ["123456789012", "arn:aws:iam::123456789012:root"]),
    ],
    "aws:index/getRegion:getRegion": [
      {},
      ({ region, name }) => assert.deepEqual([region, name], ["us-east-1", "us-east-1"]),
    ],
    "aws:index/getPartition:getPartition": [
      {},
      ({ partition, dnsSuffix }) => assert.deepEqual([partition, dnsSuffix], ["aws", "amazonaws.com"]),
    ],
    "aws:index/getAvailabilityZones:getAvailabilityZones": [
      { state: "available" },
      ({ names }) => assert.match((names as string[]).join(), /^us-east-1a,us-east-1b/),
    ],
    "aws:ec2/getAmi:getAmi": [
      { owners: ["amazon"], mostRecent: true, filters: [{ name: "architecture", values: ["x86_64"] }] },
      ({ id, rootDeviceType }) => assert.match(`${String(id)} ${String(rootDeviceType)}`, /^ami-\w+ ebs$/),
    ],
    "aws:secretsmanager/getRandomPassword:getRandomPassword": [
      { passwordLength: 40, excludePunctuation: true },
      ({ randomPassword }) => assert.match(String(randomPassword), /^[A-Za-z0-9]{40}$/),
    ],
    "aws:ssm/getParameter:getParameter": [
      { name: "/asked" },
      ({ value, type }) => assert.deepEqual([value, type], ["answered", "String"]),
    ],
  };

  for (const [token, [args, check]] of Object.entries(cases)) {
    it(`answer: ${token}`, async () => {
      const parameter = { Name: "/asked", Value: "answered", Type: "String" as const, Overwrite: true };
      await cloud.send(cloud.administrator, new PutParameterCommand(parameter));
      check(await invoke(token, args));
    });
  }

  it("are all asked here", () => {
    const unasked = functions().filter(({ token }) => cases[token] === undefined);
    assert.deepEqual(
      unasked.map(({ token }) => token),
      [],
    );
  });

  it("say what they do not find", async () => {
    const none = { filters: [{ name: "architecture", values: ["arm64"] }] };
    await assert.rejects(invoke("aws:ec2/getAmi:getAmi", none), /Your query returned no results/);
    await assert.rejects(invoke("aws:index/getRegion:getRegion", { region: "eu-west-1" }), /only us-east-1/);
  });
});
