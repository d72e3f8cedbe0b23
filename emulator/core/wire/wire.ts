import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import type { AwsError, Protocol } from "../definitions";
import type { OperationModel, ServiceModel } from "../model";
import { awsJson } from "./json";
import { awsQuery, ec2Query } from "./query";
import type { Refusal, Refusals } from "./refusals";
import { restJson } from "./rest-json";
import { restXml } from "./rest-xml";

/** A request as it came in. */
export interface WireRequest {
  readonly method: string;
  /** The path as sent: labels are still percent-encoded. */
  readonly path: string;
  readonly query: ReadonlyMap<string, string>;
  readonly headers: IncomingHttpHeaders;
  /** Read whole, or the stream itself for a wire that streams. */
  readonly body: Buffer | Readable;
}

export interface WireReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | Readable;
}

export interface WireCall {
  readonly operation: OperationModel;
  readonly input: Record<string, unknown>;
}

/** One of AWS's protocols, driven by the service's own schemas. */
export interface Wire {
  /** Finds the operation and reads its input. Throws an {@link AwsError} for what it cannot read. */
  read(model: ServiceModel, request: WireRequest): WireCall | Promise<WireCall>;
  write(operation: OperationModel, output: Record<string, unknown>, requestId: string): WireReply;
  error(error: AwsError, requestId: string): WireReply;
  /** The code with which services of this protocol refuse a call that misses a required member. */
  readonly missingMember: { readonly code: string; readonly message: (path: string) => string };
  /** The code and status with which services of this protocol deny a call. */
  readonly denied: Refusal;
  /** With what they refuse a caller that asks too often. */
  readonly throttled: Refusal & { readonly message: string };
  /** With what they refuse a request whose keys or signature do not hold. */
  readonly refused: Refusals;
  /** Whether payloads are read while they come in, as S3 does; else they are read whole first. */
  readonly streams: boolean;
}

/** The wire of a service. XML services name their namespace. */
export function wireOf(protocol: Protocol, signingName: string): Wire {
  switch (protocol) {
    case "awsJson1_0":
      return awsJson("1.0");
    case "awsJson1_1":
      return awsJson("1.1");
    case "awsQuery":
      return awsQuery(namespaceOf(signingName));
    case "ec2Query":
      return ec2Query(namespaceOf(signingName));
    case "restXml":
      return restXml(namespaceOf(signingName));
    case "restJson1":
      return restJson();
  }
}

/** Namespaces and versions of the XML services' documents, as their clients send and expect them. */
const namespaces: Readonly<Record<string, string>> = {
  ec2: "http://ec2.amazonaws.com/doc/2016-11-15/",
  iam: "https://iam.amazonaws.com/doc/2010-05-08/",
  rds: "http://rds.amazonaws.com/doc/2014-10-31/",
  s3: "http://s3.amazonaws.com/doc/2006-03-01/",
  sts: "https://sts.amazonaws.com/doc/2011-06-15/",
};

function namespaceOf(signingName: string): string {
  const namespace = namespaces[signingName];
  if (namespace === undefined) throw new Error(`The service ${signingName} has no XML namespace in wire.ts: add it.`);
  return namespace;
}
