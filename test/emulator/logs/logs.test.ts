import assert from "node:assert/strict";
import * as logs from "@aws-sdk/client-cloudwatch-logs";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install as iam } from "../../../emulator/services/iam";
import { install } from "../../../emulator/services/logs";
import { credentialsFor } from "../iam/role";
import { clientSettings } from "../support";

describe("CloudWatch Logs", () => {
  let emulator: Emulator;
  let client: logs.CloudWatchLogsClient;
  let count = 0;
  let logGroupName = "";

  before(async () => {
    emulator = await startEmulator({ services: [iam, install] });
    client = new logs.CloudWatchLogsClient(clientSettings(emulator));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  beforeEach(async () => {
    logGroupName = `/aws/codebuild/job-${++count}`;
    await client.send(new logs.CreateLogGroupCommand({ logGroupName }));
    await stream("s");
  });

  const stream = (logStreamName: string) =>
    client.send(new logs.CreateLogStreamCommand({ logGroupName, logStreamName }));
  const now = () => emulator.cloud.clock.now().getTime();
  const put = (messages: readonly string[], timestamp = now(), logStreamName = "s") =>
    client.send(
      new logs.PutLogEventsCommand({
        logGroupName,
        logStreamName,
        logEvents: messages.map((message) => ({ message, timestamp })),
      }),
    );
  const get = async (more: Partial<logs.GetLogEventsCommandInput> = {}) => {
    const reply = await client.send(new logs.GetLogEventsCommand({ logGroupName, logStreamName: "s", ...more }));
    return { ...reply, messages: reply.events?.map(({ message }) => message) };
  };

  it("pages forwards until the token stays the same, and goes on when there is more", async () => {
    await put(["1", "2", "3"]);
    await put(["4", "5"]);
    const first = await get({ startFromHead: true, limit: 2 });
    assert.deepEqual(first.messages, ["1", "2"]);
    const second = await get({ nextToken: first.nextForwardToken, limit: 2 });
    assert.deepEqual(second.messages, ["3", "4"]);
    const third = await get({ nextToken: second.nextForwardToken });
    assert.deepEqual(third.messages, ["5"]);
    const end = await get({ nextToken: third.nextForwardToken });
    assert.deepEqual(end.messages, []);
    assert.equal(end.nextForwardToken, third.nextForwardToken);
    await put(["6"]);
    assert.deepEqual((await get({ nextToken: end.nextForwardToken })).messages, ["6"]);
  });

  it("gives the latest events first without startFromHead, and pages backwards", async () => {
    await put(["1", "2", "3", "4"]);
    const last = await get({ limit: 2 });
    assert.deepEqual(last.messages, ["3", "4"]);
    const before = await get({ nextToken: last.nextBackwardToken, limit: 2 });
    assert.deepEqual(before.messages, ["1", "2"]);
    assert.deepEqual((await get({ nextToken: before.nextBackwardToken })).messages, []);
  });

  it("keeps a page below 1 MB and loses nothing", async () => {
    const message = "x".repeat(200_000);
    for (let batch = 0; batch < 3; batch++) await put([message, message, message]);
    const seen: number[] = [];
    let nextToken: string | undefined;
    for (;;) {
      const page = await get({ startFromHead: true, nextToken });
      if (page.nextForwardToken === nextToken) break;
      seen.push(page.events?.length ?? 0);
      nextToken = page.nextForwardToken;
    }
    assert.deepEqual(seen, [5, 4]);
  });

  it("keeps text as it is: lines, quotes, every script", async () => {
    const messages = ['a "quoted"\nline\t', "été 日本 🎉"];
    await put(messages);
    assert.deepEqual((await get({ startFromHead: true })).messages, messages);
  });

  it("filters over all streams in the order of time, by terms, phrases and times", async () => {
    await stream("t");
    const start = now() - 10_000;
    await put(["alpha ERROR one", "beta"], start, "s");
    await put(["gamma ERROR two"], start + 1000, "t");
    await put(["delta ERROR one"], start + 2000, "s");
    const filter = async (more: Partial<logs.FilterLogEventsCommandInput>) => {
      const reply = await client.send(new logs.FilterLogEventsCommand({ logGroupName, ...more }));
      return { ...reply, messages: reply.events?.map(({ message }) => message) };
    };
    assert.deepEqual((await filter({ filterPattern: "ERROR" })).messages, [
      "alpha ERROR one",
      "gamma ERROR two",
      "delta ERROR one",
    ]);
    assert.deepEqual((await filter({ filterPattern: '"ERROR one" -alpha' })).messages, ["delta ERROR one"]);
    assert.deepEqual((await filter({ filterPattern: "?beta ?gamma" })).messages, ["beta", "gamma ERROR two"]);
    assert.deepEqual((await filter({ logStreamNames: ["t"] })).messages, ["gamma ERROR two"]);
    assert.deepEqual((await filter({ startTime: start + 1000, endTime: start + 2000 })).messages, ["gamma ERROR two"]);
    const first = await filter({ limit: 3 });
    assert.equal(first.messages?.length, 3);
    assert.deepEqual((await filter({ limit: 3, nextToken: first.nextToken })).messages, ["delta ERROR one"]);
  });

  it("refuses batches out of order, empty messages, and tells which events were too old", async () => {
    const refused = { name: "InvalidParameterException" };
    const logEvents = [
      { message: "b", timestamp: now() },
      { message: "a", timestamp: now() - 1000 },
    ];
    await assert.rejects(
      client.send(new logs.PutLogEventsCommand({ logGroupName, logStreamName: "s", logEvents })),
      refused,
    );
    await assert.rejects(put([""]), refused);
    const { rejectedLogEventsInfo } = await put(["old"], now() - 15 * 86_400_000);
    assert.deepEqual(rejectedLogEventsInfo, { tooOldLogEventEndIndex: 1 });
  });

  it("knows groups and streams, and says which do not exist or exist already", async () => {
    const exists = { name: "ResourceAlreadyExistsException" };
    await assert.rejects(client.send(new logs.CreateLogGroupCommand({ logGroupName })), exists);
    await assert.rejects(stream("s"), exists);
    await assert.rejects(get({ logStreamName: "none" }), { name: "ResourceNotFoundException" });
    const { logGroups } = await client.send(new logs.DescribeLogGroupsCommand({ logGroupNamePrefix: logGroupName }));
    assert.equal(logGroups?.[0]?.arn, `arn:aws:logs:us-east-1:123456789012:log-group:${logGroupName}:*`);
    await client.send(new logs.DeleteLogGroupCommand({ logGroupName }));
    await assert.rejects(get(), { name: "ResourceNotFoundException" });
  });

  it("hides what is older than the retention", async () => {
    await put(["early"]);
    await assert.rejects(client.send(new logs.PutRetentionPolicyCommand({ logGroupName, retentionInDays: 2 })), {
      name: "InvalidParameterException",
    });
    await client.send(new logs.PutRetentionPolicyCommand({ logGroupName, retentionInDays: 1 }));
    emulator.cloud.clock.advance(86_400_000 + 60_000);
    await put(["late"]);
    assert.deepEqual((await get({ startFromHead: true })).messages, ["late"]);
  });

  it("matches policies on a group's ARN only with what comes after it", async () => {
    const arn = `arn:aws:logs:us-east-1:123456789012:log-group:${logGroupName}`;
    const as = async (name: string, Resource: string) => {
      const credentials = await credentialsFor(emulator, `${name}-${count}`, [{ Action: "logs:*", Resource }]);
      return new logs.CloudWatchLogsClient(clientSettings(emulator, credentials));
    };
    const [bare, full] = [await as("bare", arn), await as("full", `${arn}:*`)];
    const create = new logs.CreateLogStreamCommand({ logGroupName, logStreamName: "mine" });
    await assert.rejects(bare.send(create), { name: "AccessDeniedException" });
    await full.send(create);
    bare.destroy();
    full.destroy();
  });
});
