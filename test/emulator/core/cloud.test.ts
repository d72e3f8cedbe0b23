import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as sts from "@aws-sdk/client-sts";
import {
  AwsError,
  type Install,
  type Operation,
  type Principal,
  type RolePolicies,
} from "../../../emulator/core/definitions";
import { startEmulator } from "../../../emulator/emulator";
import { client, rawRequest, withEmulator } from "../support";

const roleArn = "arn:aws:iam::123456789012:role/Reader";
const roles: RolePolicies = {
  policiesOf: (arn) =>
    arn === roleArn
      ? [JSON.stringify({ Version: "2012-10-17", Statement: { Effect: "Allow", Action: "sts:Get*", Resource: "*" } })]
      : undefined,
  boundaryOf: () => undefined,
  trustPolicyOf: (arn) =>
    arn === roleArn
      ? JSON.stringify({
          Version: "2012-10-17",
          Statement: { Effect: "Allow", Principal: { Service: "codebuild.amazonaws.com" }, Action: "sts:AssumeRole" },
        })
      : undefined,
};

/** A service with one operation of each kind, and the policies of one role. */
const install: Install = (cloud) => {
  (cloud.stores as { iam?: RolePolicies }).iam = roles;
  const operations: readonly Operation[] = [
    {
      name: "GetSessionToken",
      honours: ["DurationSeconds"],
      authorize: () => [{ action: "sts:GetSessionToken", resource: "*" }],
      handle: () => ({ Credentials: { AccessKeyId: "a", SecretAccessKey: "b", SessionToken: "c", Expiration: kept } }),
    },
    {
      name: "GetFederationToken",
      honours: ["Name", "PolicyArns.arn"],
      authorize: () => [{ action: "sts:DoMore", resource: "arn:aws:sts::123456789012:federated-user/x" }],
      handle: () => ({}),
    },
    {
      name: "DecodeAuthorizationMessage",
      honours: ["EncodedMessage"],
      authorize: () => [],
      handle: () => {
        throw new Error("a bug");
      },
    },
  ];
  return { signingName: "sts", protocol: "awsQuery", model: sts, operations, resources: [], invokes: [] };
};

const kept = new Date("2030-01-01T00:00:00Z");
const options = { services: [install] };

describe("A call from inside", () => {
  it("goes through IAM, is recorded, and shares no state with its caller", async () => {
    await withEmulator(async ({ cloud, recorder }) => {
      const reader = cloud.assumeRole(roleArn, "build", "codebuild.amazonaws.com");
      assert.equal(reader.arn, "arn:aws:sts::123456789012:assumed-role/Reader/build");
      const input = { DurationSeconds: 900 };
      const answer = await cloud.send(reader, new sts.GetSessionTokenCommand(input));
      input.DurationSeconds = 1;
      answer.Credentials?.Expiration?.setTime(0);
      assert.equal(kept.getUTCFullYear(), 2030);
      const denied = new sts.GetFederationTokenCommand({ Name: "x" });
      await assert.rejects(cloud.send(reader, denied), {
        name: "AccessDenied",
        message:
          "User: arn:aws:sts::123456789012:assumed-role/Reader/build is not authorized to perform: sts:DoMore on " +
          "resource: arn:aws:sts::123456789012:federated-user/x because no identity-based policy allows the sts:DoMore action",
      });
      const calls = recorder.calls.map(({ operation, input: recorded, error }) => [operation, recorded, error?.code]);
      assert.deepEqual(calls, [
        ["GetSessionToken", { DurationSeconds: 900 }, undefined],
        ["GetFederationToken", { Name: "x" }, "AccessDenied"],
      ]);
    }, options);
  });

  it("is refused by name for a member, an operation or a service that is not there", async () => {
    await withEmulator(async ({ cloud }) => {
      const root: Principal = { kind: "root", arn: "arn:aws:iam::123456789012:root" };
      const send = (command: Parameters<typeof cloud.send>[1]): Promise<object> => cloud.send(root, command);
      await assert.rejects(send(new sts.GetSessionTokenCommand({ SerialNumber: "x" })), {
        message: "NotImplemented: GetSessionToken.SerialNumber",
        status: 501,
      });
      await send(new sts.GetSessionTokenCommand({ SerialNumber: undefined }));
      await send(new sts.GetFederationTokenCommand({ Name: "x", PolicyArns: [{ arn: "y" }] }));
      await assert.rejects(
        send(new sts.GetFederationTokenCommand({ Name: "x", Policy: "{}" })),
        /FederationToken.Policy/,
      );
      await assert.rejects(send(new sts.GetCallerIdentityCommand({})), {
        message: "NotImplemented: sts: GetCallerIdentity",
      });
    }, options);
  });

  it("is refused without a required member", async () => {
    await withEmulator(async ({ cloud }) => {
      const root: Principal = { kind: "root", arn: "arn:aws:iam::123456789012:root" };
      const incomplete = new sts.GetFederationTokenCommand({} as sts.GetFederationTokenCommandInput);
      await assert.rejects(cloud.send(root, incomplete), { name: "ValidationError", message: /Value null at 'Name'/ });
      const wrong = new sts.GetFederationTokenCommand({ Name: 7 as unknown as string });
      await assert.rejects(cloud.send(root, wrong), /GetFederationToken\.Name is not a string/);
    }, options);
  });

  it("that meets a fault of the emulator says so", async () => {
    await withEmulator(async (emulator) => {
      await assert.rejects(
        client(emulator, sts.STSClient).send(new sts.DecodeAuthorizationMessageCommand({ EncodedMessage: "x" })),
        { name: "InternalFailure", message: /The emulator failed: Error: a bug/ },
      );
    }, options);
  });
});

describe("A role", () => {
  it("is assumed only by whom its trust policy admits", async () => {
    await withEmulator(({ cloud }) => {
      assert.throws(() => cloud.assumeRole(roleArn, "s", "ec2.amazonaws.com"), {
        name: "AccessDenied",
        message: `User: ec2.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: ${roleArn}`,
      });
      assert.throws(() => cloud.assumeRole(`${roleArn}X`, "s", "codebuild.amazonaws.com"), { name: "AccessDenied" });
      return Promise.resolve();
    }, options);
  });
});

describe("A private route", () => {
  it("is told who is calling, and stays closed to strangers", async () => {
    await withEmulator(async (emulator) => {
      const { cloud, endpoint } = emulator;
      cloud.route("/_test/", (request, response, principal) => {
        response.end(JSON.stringify({ path: request.url, arn: principal.arn }));
      });
      const answer = await rawRequest(emulator, { path: "/_test/some?thing=1", service: "s3" });
      assert.deepEqual(JSON.parse(answer.body), {
        path: "/_test/some?thing=1",
        arn: "arn:aws:iam::123456789012:root",
      });
      const forged = await rawRequest(emulator, {
        path: "/_test/some?thing=1",
        service: "s3",
        signed: { path: "/_test/some?thing=2" },
      });
      assert.deepEqual([forged.status, /InvalidSignatureException/.test(forged.body)], [400, true]);
      assert.equal((await fetch(`${endpoint}/_test/some`)).status, 403);
      assert.equal((await fetch(`${endpoint}/_other/`)).status, 501);
    }, options);
  });
});

describe("The network", () => {
  it("gives every name an address of its own, on which one can listen", async () => {
    await withEmulator(async ({ cloud: { network } }) => {
      const first = network.allocate("a.internal");
      assert.equal(network.allocate("a.internal"), first);
      const second = network.allocate("b.internal");
      assert.notEqual(first, second);
      assert.deepEqual(network.hosts(), { "a.internal": first, "b.internal": second });
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, first, resolve));
      assert.equal((server.address() as AddressInfo).address, first);
      await new Promise((resolve) => server.close(resolve));
      network.release("a.internal");
      assert.deepEqual(network.hosts(), { "b.internal": second });
    }, options);
  });

  it("of two emulators at the same time has no address in common", async () => {
    await withEmulator(
      (one) =>
        withEmulator((other) => {
          const block = (address: string): string => address.split(".").slice(0, 2).join(".");
          assert.notEqual(block(one.cloud.network.allocate("x")), block(other.cloud.network.allocate("x")));
          return Promise.resolve();
        }, options),
      options,
    );
  });
});

describe("The clock", () => {
  it("wakes sleepers when it is moved, and ends their sleep when the emulator closes", async () => {
    const emulator = await startEmulator(options);
    const { clock } = emulator.cloud;
    const before = clock.now().getTime();
    const woken = clock.sleep(3_600_000);
    clock.advance(3_600_000);
    await woken;
    assert.ok(clock.now().getTime() - before >= 3_600_000);
    const aborted = new AbortController();
    const interrupted = assert.rejects(clock.sleep(3_600_000, aborted.signal), /enough/);
    aborted.abort(new Error("enough"));
    await interrupted;
    const ended = assert.rejects(clock.sleep(3_600_000), /closing/);
    await emulator.close();
    await ended;
  });
});

describe("Events", () => {
  it("reach every listener until it stops listening", async () => {
    await withEmulator((emulator) => {
      const heard: string[] = [];
      const { cloud } = emulator;
      cloud.listen(() => {
        throw new Error("deaf");
      });
      const stop = cloud.listen(({ detailType }) => heard.push(detailType));
      cloud.emit({ source: "test", detailType: "one", detail: {} });
      stop();
      cloud.emit({ source: "test", detailType: "two", detail: {} });
      assert.deepEqual(heard, ["one"]);
      assert.equal(emulator.failures.length, 2);
      return Promise.resolve();
    }, options);
  });
});

describe("The emulator", () => {
  it("ends everything when it closes, last registered first, whatever fails", async () => {
    const emulator = await startEmulator(options);
    const { cloud, endpoint } = emulator;
    const ended: string[] = [];
    cloud.onClose(() => void ended.push("first registered"));
    cloud.onClose(() => {
      throw new Error("stuck");
    });
    cloud.onClose(() => void ended.push("last registered"));
    cloud.background("sleeping", cloud.clock.sleep(3_600_000));
    assert.ok(existsSync(cloud.directory));
    await assert.rejects(emulator.close(), /The emulator did not close cleanly: stuck/);
    assert.deepEqual(ended, ["last registered", "first registered"]);
    assert.ok(!existsSync(cloud.directory));
    await assert.rejects(fetch(endpoint));
  });

  it("records what fails with nobody waiting for it", async () => {
    await withEmulator(async (emulator) => {
      emulator.cloud.background("a job", Promise.reject(new AwsError("Broken", "it broke")));
      await new Promise(setImmediate);
      assert.deepEqual(
        emulator.failures.map(({ what, error }) => [what, error.code, error.message]),
        [["a job", "Broken", "it broke"]],
      );
    }, options);
  });

  it("says in one line that a port is in use, and leaves nothing behind", async () => {
    await withEmulator(async (emulator) => {
      const port = Number(new URL(emulator.endpoint).port);
      await assert.rejects(startEmulator({ ...options, port }), {
        message: `Port ${port} of 127.0.0.1 is in use. Give another port, or 0 for a free one.`,
      });
    }, options);
  });
});
