import assert from "node:assert/strict";
import { EmbeddedCloud } from "../../emulator/core/cloud";
import type { Service } from "../../emulator/core/definitions";
import { startEmulator } from "../../emulator/emulator";
import { callsIn } from "./callers";
import { type Described, describeOperations, emulatorPage, needlessByHand } from "./emulator-page";
import { checkPage } from "./pages";

describe("The emulator", () => {
  let services: readonly Service[];
  let described: readonly Described[];

  before(async () => {
    const emulator = await startEmulator();
    assert.ok(emulator.cloud instanceof EmbeddedCloud);
    services = emulator.cloud.dispatcher.services.map(({ service }) => service);
    await emulator.close();
    described = describeOperations(services);
  });

  const names = (all: readonly Described[]) => all.map(({ service, operation }) => `${service} ${operation}`);

  it("has only operations that components, jobs, driver, demo, resources, services or people call", () => {
    assert.ok(described.length > 150, "the operations were not found");
    assert.deepEqual(names(described.filter(({ callers }) => callers.length === 0)), []);
  });

  it("has what is said to be called by hand, where nothing else calls it", () => {
    assert.deepEqual(needlessByHand(described), []);
  });

  it("has a test that calls each of its operations", () => {
    assert.deepEqual(names(described.filter(({ proofs }) => proofs.length === 0)), []);
  });

  it("is described by docs/emulator.md as it is", () => {
    checkPage("emulator.md", emulatorPage(services, described));
  });
});

describe("The search for callers", () => {
  const operations = new Map([
    ["s3", ["GetObject", "PutObject", "UploadPart", "ListBuckets"]],
    ["ssm", ["GetParameter", "GetCommandInvocation"]],
    ["rds", ["DescribeDBInstances"]],
    ["logs", ["FilterLogEvents"]],
  ]);
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['import { GetObjectCommand as G } from "@aws-sdk/client-s3"; new G()', ["s3 GetObject"]],
    ['const { GetParameterCommand } = await import("@aws-sdk/client-ssm");', ["ssm GetParameter"]],
    ['import type { GetObjectCommandInput } from "@aws-sdk/client-s3";', []],
    ['import { PutObjectCommand } from "@aws-sdk/client-ssm";', []],
    ["aws rds describe-db-instances --output text", ["rds DescribeDBInstances"]],
    ['aws("logs", "filter-log-events")', ["logs FilterLogEvents"]],
    ["aws ssm wait command-executed --command-id x", ["ssm GetCommandInvocation"]],
    ["aws s3 ls", ["s3 ListBuckets", "s3 ListObjectsV2"]],
    ["the ssm get of a parameter", []],
  ];
  for (const [text, expected] of cases) {
    it(`finds ${expected.join(", ") || "nothing"} in: ${text}`, () => {
      assert.deepEqual(callsIn(text, operations), expected);
    });
  }

  it("finds operations that are named to a client only where it is told to look for them", () => {
    assert.deepEqual(callsIn('boto3.call("s3", "GetObject")', operations), []);
    assert.deepEqual(callsIn('boto3.call("s3", "GetObject")', operations, true), ["s3 GetObject"]);
  });
});
