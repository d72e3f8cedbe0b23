/**
 * AWS Signature Version 4, seen from the service: what a request's Authorization header says, and which signature it
 * should carry. Pure. Source: "Create a signed AWS API request", IAM User Guide.
 */
import { createHash, createHmac } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export interface SignedRequest {
  readonly method: string;
  /** As sent: still percent-encoded. */
  readonly path: string;
  /** What follows the question mark, as sent; empty without one. */
  readonly search: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Authorization {
  readonly accessKeyId: string;
  /** The scope's day: `20240102`. */
  readonly day: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  /** Hexadecimal. */
  readonly signature: string;
}

const algorithm = "AWS4-HMAC-SHA256";

/** Reads an Authorization header. A text is what is wrong with it, in the services' words. */
export function parseAuthorization(header: string): Authorization | string {
  const [scheme = "", rest = ""] = splitAt(header, " ");
  if (scheme !== algorithm) return `Unsupported AWS 'algorithm': '${scheme}'`;
  const parameters = new Map(rest.split(",").map((part) => splitAt(part.trim(), "=")));
  const missing = ["Credential", "Signature", "SignedHeaders"].filter((name) => !parameters.get(name));
  if (missing.length > 0) {
    return missing.map((name) => `Authorization header requires '${name}' parameter.`).join(" ");
  }
  const scope = (parameters.get("Credential") ?? "").split("/");
  const [accessKeyId = "", day = "", region = "", service = "", end] = scope;
  if (scope.length !== 5 || end !== "aws4_request" || accessKeyId === "" || service === "") {
    return `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '${scope.join("/")}'`;
  }
  const signedHeaders = (parameters.get("SignedHeaders") ?? "").split(";");
  return { accessKeyId, day, region, service, signedHeaders, signature: parameters.get("Signature") ?? "" };
}

function splitAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** What is signed, and the signature that the secret gives it. */
export interface Expected {
  readonly canonicalRequest: string;
  readonly stringToSign: string;
  readonly signature: string;
}

/**
 * The signature that a request should carry.
 * @param time The request's X-Amz-Date, as sent.
 * @param payloadHash The body's sha256 in hexadecimal, or what stands in its place (`UNSIGNED-PAYLOAD`).
 * @param pathEncoding S3 signs the path as it is sent; all others a normalised one, encoded once more.
 */
export function expectedSignature(
  request: SignedRequest,
  authorization: Authorization,
  secret: string,
  time: string,
  payloadHash: string,
  pathEncoding: "once" | "twice",
): Expected {
  const { day, region, service, signedHeaders } = authorization;
  const canonicalRequest = [
    request.method,
    pathEncoding === "once" ? encodedOnce(request.path) : encodedTwice(request.path),
    canonicalQuery(request.search),
    ...signedHeaders.map((name) => `${name}:${headerValue(request.headers[name])}`),
    "",
    signedHeaders.join(";"),
    payloadHash,
  ].join("\n");
  const scope = `${day}/${region}/${service}/aws4_request`;
  const stringToSign = [algorithm, time, scope, sha256(canonicalRequest)].join("\n");
  const signature = hmac(signingKey(secret, day, region, service), stringToSign).toString("hex");
  return { canonicalRequest, stringToSign, signature };
}

export function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

/** A caller's key holds for a day: four hashes less for every call but its first. */
const signingKeys = new Map<string, Buffer>();
const signingKeysKept = 500;

function signingKey(secret: string, day: string, region: string, service: string): Buffer {
  const name = [secret, day, region, service].join("\n");
  const known = signingKeys.get(name);
  if (known) return known;
  const key = [day, region, service, "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${secret}`) as Buffer;
  if (signingKeys.size >= signingKeysKept) signingKeys.clear();
  signingKeys.set(name, key);
  return key;
}

function headerValue(value: string | string[] | undefined): string {
  const text = Array.isArray(value) ? value.join(",") : (value ?? "");
  return text.trim().replace(/\s+/g, " ");
}

function canonicalQuery(search: string): string {
  if (search === "") return "";
  return search
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => splitAt(pair, "=").map((part) => encode(decode(part.replace(/\+/g, "%20")))))
    .sort(([a = "", x = ""], [b = "", y = ""]) => order(a, b) || order(x, y))
    .map((pair) => pair.join("="))
    .join("&");
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function encodedOnce(path: string): string {
  return path
    .split("/")
    .map((segment) => encode(decode(segment)))
    .join("/");
}

function encodedTwice(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "" && segment !== ".") segments.push(encode(segment));
  }
  const end = segments.length > 0 && path.endsWith("/") ? "/" : "";
  return `/${segments.join("/")}${end}`;
}

/** Everything but the unreserved characters of RFC 3986. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** What is no valid encoding stands for itself: the signature then differs, or the path is refused. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
