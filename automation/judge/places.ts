/** Every place where a secret could have leaked to: logs, buckets, state, what the driver itself wrote. */
import * as fs from "node:fs/promises";
import {
  DescribeLogGroupsCommand,
  DescribeLogStreamsCommand,
  GetLogEventsCommand,
  type OutputLogEvent,
} from "@aws-sdk/client-cloudwatch-logs";
import { GetObjectCommand, ListObjectVersionsCommand } from "@aws-sdk/client-s3";
import { GetSecretValueCommand } from "@aws-sdk/client-secrets-manager";
import type { Clients } from "../clients";
import type { Place, Secret } from "./secrets";

export interface PlacesOptions {
  readonly clients: Clients;
  readonly buckets: readonly string[];
  readonly stateFiles: readonly string[];
  /** What the driver wrote: the report, its own output. */
  readonly texts: readonly { readonly name: string; readonly text: string }[];
}

export async function* placesOf(options: PlacesOptions): AsyncGenerator<Place> {
  yield* logs(options.clients);
  for (const bucket of new Set(options.buckets)) yield* objects(options.clients, bucket);
  for (const file of options.stateFiles) yield { name: file, bytes: await fs.readFile(file) };
  for (const { name, text } of options.texts) yield { name, bytes: Buffer.from(text) };
}

/** The passwords that must not show anywhere, read as an administrator. A secret may be a JSON object or a text. */
export async function knownSecrets(
  clients: Clients,
  arns: Readonly<Record<string, string>>,
): Promise<readonly Secret[]> {
  const secrets: Secret[] = [];
  for (const [name, arn] of Object.entries(arns)) {
    const { SecretString: text } = await clients.secrets.send(new GetSecretValueCommand({ SecretId: arn }));
    if (text === undefined || text === "") throw new Error(`the ${name} has no value`);
    secrets.push({ name, value: passwordIn(text) });
  }
  return secrets;
}

function passwordIn(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    const password = typeof value === "object" && value !== null && "password" in value ? value.password : undefined;
    return typeof password === "string" ? password : text;
  } catch {
    return text;
  }
}

async function* logs(clients: Clients): AsyncGenerator<Place> {
  for await (const group of logGroups(clients)) {
    for await (const stream of logStreams(clients, group)) {
      const events = await readStream(clients, group, stream);
      yield {
        name: `log ${group} ${stream}`,
        bytes: Buffer.from(events.map((event) => event.message ?? "").join("")),
      };
    }
  }
}

async function* logGroups(clients: Clients): AsyncGenerator<string> {
  let nextToken: string | undefined;
  do {
    const page = await clients.logs.send(new DescribeLogGroupsCommand(nextToken === undefined ? {} : { nextToken }));
    for (const group of page.logGroups ?? []) yield group.logGroupName ?? "";
    nextToken = page.nextToken;
  } while (nextToken !== undefined);
}

async function* logStreams(clients: Clients, logGroupName: string): AsyncGenerator<string> {
  let nextToken: string | undefined;
  do {
    const page = await clients.logs.send(
      new DescribeLogStreamsCommand({ logGroupName, ...(nextToken === undefined ? {} : { nextToken }) }),
    );
    for (const stream of page.logStreams ?? []) yield stream.logStreamName ?? "";
    nextToken = page.nextToken;
  } while (nextToken !== undefined);
}

async function readStream(clients: Clients, group: string, stream: string): Promise<OutputLogEvent[]> {
  const events: OutputLogEvent[] = [];
  let token: string | undefined;
  for (;;) {
    const page = await clients.logs.send(
      new GetLogEventsCommand({
        logGroupName: group,
        logStreamName: stream,
        startFromHead: true,
        ...(token === undefined ? {} : { nextToken: token }),
      }),
    );
    events.push(...(page.events ?? []));
    if (page.nextForwardToken === undefined || page.nextForwardToken === token) return events;
    token = page.nextForwardToken;
  }
}

/** Every version of every object: an overwritten secret is a secret, too. */
async function* objects(clients: Clients, bucket: string): AsyncGenerator<Place> {
  let key: string | undefined;
  let version: string | undefined;
  do {
    const page = await clients.s3.send(
      new ListObjectVersionsCommand({
        Bucket: bucket,
        ...(key === undefined ? {} : { KeyMarker: key }),
        ...(version === undefined ? {} : { VersionIdMarker: version }),
      }),
    );
    for (const object of page.Versions ?? []) {
      const found = await clients.s3.send(
        new GetObjectCommand({
          Bucket: bucket,
          Key: object.Key,
          ...(object.VersionId === undefined || object.VersionId === "null" ? {} : { VersionId: object.VersionId }),
        }),
      );
      const bytes = Buffer.from((await found.Body?.transformToByteArray()) ?? []);
      yield { name: `s3://${bucket}/${object.Key ?? ""}`, bytes };
    }
    key = page.IsTruncated === true ? page.NextKeyMarker : undefined;
    version = page.IsTruncated === true ? page.NextVersionIdMarker : undefined;
  } while (key !== undefined);
}
