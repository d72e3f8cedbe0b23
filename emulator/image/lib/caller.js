/**
 * Requests to AWS_ENDPOINT_URL as whoever this process is. The credentials come from where the SDKs look for them: the
 * environment, a container's endpoint, the instance's metadata. Plain Node, because these programs run many times in
 * a deployment, and an SDK takes longer to load than a call takes.
 */
"use strict";
const { createHash, createHmac } = require("node:crypto");
const http = require("node:http");
const https = require("node:https");

const TOKEN_TTL_SECONDS = 300;
const ATTEMPTS = 3;

/** What went wrong, in the service's own words. */
class ServiceError extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

function region() {
  return process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION ?? "us-east-1";
}

function endpoint() {
  const url = process.env.AWS_ENDPOINT_URL;
  if (url === undefined || url === "") throw new Error("AWS_ENDPOINT_URL is not set");
  return url;
}

async function credentials() {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = process.env;
  if (id !== undefined && secret !== undefined) return { id, secret, token };
  const container = process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI;
  if (container !== undefined) {
    return fetched(
      await text("GET", container, { authorization: process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN ?? "" }),
    );
  }
  const metadata = process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT;
  if (metadata !== undefined) return instanceCredentials(metadata);
  throw new Error("Unable to locate credentials.");
}

async function instanceCredentials(metadata) {
  const ttl = { "x-aws-ec2-metadata-token-ttl-seconds": String(TOKEN_TTL_SECONDS) };
  const headers = { "x-aws-ec2-metadata-token": await text("PUT", `${metadata}/latest/api/token`, ttl) };
  const base = `${metadata}/latest/meta-data/iam/security-credentials/`;
  return fetched(await text("GET", `${base}${await text("GET", base, headers)}`, headers));
}

function fetched(document) {
  const { AccessKeyId: id, SecretAccessKey: secret, Token: token } = JSON.parse(document);
  if (id === undefined) throw new Error("Unable to locate credentials.");
  return { id, secret, token };
}

async function text(method, url, headers) {
  const response = await exchange(method, new URL(url), headers);
  const body = await read(response);
  if (response.statusCode !== 200)
    throw new Error(`Unable to locate credentials: ${url} answered ${response.statusCode}`);
  return body.toString("utf8");
}

function exchange(method, url, headers, body) {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(url, { method, headers }, resolve);
    request.once("error", reject);
    if (body === undefined || Buffer.isBuffer(body) || typeof body === "string") return request.end(body);
    body.once("error", (error) => request.destroy(error));
    body.pipe(request);
  });
}

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/**
 * Sends one signed request and gives the response, whatever its status.
 * A body that is a stream can be sent only once; any other request is repeated when the service is busy.
 */
async function call(service, method, path, { query = {}, headers = {}, body } = {}) {
  const url = new URL(path, endpoint());
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const caller = await credentials();
  const again = body === undefined || Buffer.isBuffer(body) || typeof body === "string";
  for (let attempt = 1; ; attempt++) {
    const response = await exchange(
      method,
      url,
      signed(service, method, url, headers, payloadHash(body), caller),
      body,
    );
    const busy = response.statusCode === 429 || response.statusCode >= 500;
    if (!busy || response.statusCode === 501 || !again || attempt === ATTEMPTS) return response;
    response.resume();
    await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt));
  }
}

/** A stream cannot be hashed before it is sent: S3 takes it unsigned. */
function payloadHash(body = "") {
  const whole = Buffer.isBuffer(body) || typeof body === "string";
  return whole ? createHash("sha256").update(body).digest("hex") : "UNSIGNED-PAYLOAD";
}

/** Signature version 4. */
function signed(service, method, url, headers, hash, { id, secret, token }) {
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${stamp.slice(0, 8)}/${region()}/${service}/aws4_request`;
  const all = {
    ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)])),
    host: url.host,
    "x-amz-content-sha256": hash,
    "x-amz-date": stamp,
    ...(token === undefined || token === "" ? {} : { "x-amz-security-token": token }),
  };
  const names = Object.keys(all).sort();
  const listed = names.join(";");
  const sorted = [...url.searchParams].map(([name, value]) => `${escape(name)}=${escape(value)}`).sort();
  const lines = names.map((name) => `${name}:${all[name].trim()}\n`).join("");
  const canonical = [method, url.pathname, sorted.join("&"), lines, listed, hash].join("\n");
  const digest = createHash("sha256").update(canonical).digest("hex");
  const key = scope
    .split("/")
    .reduce((previous, part) => createHmac("sha256", previous).update(part).digest(), `AWS4${secret}`);
  const signature = createHmac("sha256", key).update(`AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${digest}`).digest("hex");
  const authorization = `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${listed}, Signature=${signature}`;
  return { ...all, authorization };
}

function escape(value) {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

module.exports = { call, read, region, escape, ServiceError };
