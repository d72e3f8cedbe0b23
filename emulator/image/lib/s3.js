/** `aws s3 cp` between a file, standard input or output, and an object. */
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { pipeline } = require("node:stream/promises");
const { call, escape, read, ServiceError } = require("./caller");
const { parseArguments, UsageError } = require("./options");

/** Uploads above this size are made in parts of it. */
const PART_BYTES = 8 * 1024 * 1024;
const VALUELESS = ["only-show-errors", "quiet", "no-progress"];
const KNOWN = [...VALUELESS, "sse", "content-type", "region"];

async function s3(args) {
  const { words, options } = parseArguments(args, VALUELESS);
  const [verb, source, target, ...rest] = words;
  if (verb !== "cp") throw new UsageError(`aws s3 ${verb ?? ""}: only cp is known here`);
  if (target === undefined || rest.length > 0) throw new UsageError("aws s3 cp: expected a source and a target");
  const unknown = [...options.keys()].find((name) => !KNOWN.includes(name));
  if (unknown !== undefined) throw new UsageError(`aws s3 cp: the option --${unknown} is not known here`);
  const from = location(source);
  const to = location(target);
  if (from.bucket === undefined && to.bucket === undefined) throw new UsageError("Error: Invalid argument type");
  const verbName = to.bucket === undefined ? "download" : "upload";
  try {
    const shown = await copy(from, to, options);
    const quiet = options.has("quiet") || options.has("only-show-errors") || shown === undefined;
    if (!quiet) process.stdout.write(`${verbName}: ${shown}\n`);
    return 0;
  } catch (error) {
    if (!options.has("quiet")) process.stderr.write(`${verbName} failed: ${source} to ${target} ${error.message}\n`);
    return 1;
  }
}

function location(text) {
  if (!text.startsWith("s3://")) return { file: text };
  const [, bucket, key = ""] = /^s3:\/\/([^/]+)\/?(.*)$/s.exec(text) ?? [];
  if (bucket === undefined) throw new UsageError(`Invalid S3 URI: ${text}`);
  return { bucket, key };
}

function objectPath({ bucket, key }) {
  return `/${bucket}/${key.split("/").map(escape).join("/")}`;
}

/** What is shown when it is done. */
async function copy(from, to, options) {
  if (from.bucket !== undefined && to.bucket !== undefined)
    throw new Error("An object cannot be copied to another here.");
  if (to.bucket === undefined) return download(from, to.file);
  const name = from.file === "-" ? "" : path.basename(from.file);
  const target = to.key === "" || to.key.endsWith("/") ? { ...to, key: to.key + name } : to;
  await upload(from.file, target, uploadHeaders(options));
  return from.file === "-" ? undefined : `${relative(from.file)} to s3://${target.bucket}/${target.key}`;
}

function uploadHeaders(options) {
  const [sse] = options.has("sse") ? [...options.get("sse"), "AES256"] : [];
  const [type] = options.get("content-type") ?? [];
  return {
    ...(sse === undefined ? {} : { "x-amz-server-side-encryption": sse }),
    ...(type === undefined ? {} : { "content-type": type }),
  };
}

function relative(file) {
  const short = path.relative(process.cwd(), file);
  return short.startsWith("..") ? short : `./${short}`;
}

async function download(object, target) {
  const response = await call("s3", "GET", objectPath(object));
  if (response.statusCode !== 200)
    throw await failure(response, response.statusCode === 404 ? "HeadObject" : "GetObject");
  if (target === "-") {
    await pipeline(response, process.stdout, { end: false });
    return undefined;
  }
  const folder = target.endsWith("/") || fs.statSync(target, { throwIfNoEntry: false })?.isDirectory();
  const file = folder ? path.join(target, path.basename(object.key)) : target;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  // Under another name until it is complete, as the AWS CLI does it.
  const partial = `${file}.${process.pid.toString(16).padStart(8, "0")}`;
  try {
    await pipeline(response, fs.createWriteStream(partial));
    fs.renameSync(partial, file);
  } finally {
    fs.rmSync(partial, { force: true });
  }
  return `s3://${object.bucket}/${object.key} to ${relative(file)}`;
}

async function upload(source, object, headers) {
  if (source !== "-" && !fs.statSync(source, { throwIfNoEntry: false })?.isFile()) {
    throw new Error(`The user-provided path ${source} does not exist.`);
  }
  const parts = chunks(source === "-" ? process.stdin : fs.createReadStream(source));
  const first = await parts.next();
  const second = first.done ? first : await parts.next();
  if (second.done) return put(object, first.done ? Buffer.alloc(0) : first.value, headers);
  return uploadParts(object, headers, first.value, second.value, parts);
}

/** The stream in pieces of one part each. */
async function* chunks(stream) {
  let held = [];
  let bytes = 0;
  for await (const data of stream) {
    held.push(data);
    bytes += data.length;
    while (bytes >= PART_BYTES) {
      const all = Buffer.concat(held);
      yield all.subarray(0, PART_BYTES);
      held = [all.subarray(PART_BYTES)];
      bytes -= PART_BYTES;
    }
  }
  if (bytes > 0) yield Buffer.concat(held);
}

async function put(object, body, headers) {
  const sent = { ...headers, "content-length": body.length };
  const response = await call("s3", "PUT", objectPath(object), { headers: sent, body });
  if (response.statusCode !== 200) throw await failure(response, "PutObject");
  response.resume();
}

async function uploadParts(object, headers, first, second, rest) {
  const target = objectPath(object);
  const created = await succeeded(
    call("s3", "POST", target, { query: { uploads: "" }, headers }),
    "CreateMultipartUpload",
  );
  const uploadId = element(created, "UploadId");
  try {
    const tags = [];
    const send = async (body) => {
      const query = { partNumber: String(tags.length + 1), uploadId };
      const options = { query, headers: { "content-length": body.length }, body };
      const response = await call("s3", "PUT", target, options);
      if (response.statusCode !== 200) throw await failure(response, "UploadPart");
      response.resume();
      tags.push(response.headers.etag);
    };
    await send(first);
    await send(second);
    for await (const body of rest) await send(body);
    const list = tags
      .map((tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${tag}</ETag></Part>`)
      .join("");
    const body = `<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`;
    const completing = { query: { uploadId }, headers: { "content-length": Buffer.byteLength(body) }, body };
    const answer = await succeeded(call("s3", "POST", target, completing), "CompleteMultipartUpload");
    // An error may come after the status has been sent.
    if (answer.includes("<Error>")) throw new ServiceError(element(answer, "Code"), element(answer, "Message"), 500);
  } catch (error) {
    (await call("s3", "DELETE", target, { query: { uploadId } })).resume();
    throw error;
  }
}

async function succeeded(calling, operation) {
  const response = await calling;
  if (response.statusCode !== 200) throw await failure(response, operation);
  return (await read(response)).toString("utf8");
}

async function failure(response, operation) {
  const body = (await read(response)).toString("utf8");
  const missing = response.statusCode === 404;
  const code = missing ? "404" : element(body, "Code") || String(response.statusCode);
  const message = missing ? "Not Found" : element(body, "Message");
  return new ServiceError(
    code,
    `An error occurred (${code}) when calling the ${operation} operation: ${message}`,
    response.statusCode,
  );
}

function element(xml, name) {
  const [, text = ""] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? [];
  const entities = { "&quot;": '"', "&apos;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&" };
  return text.replace(/&(quot|apos|lt|gt|amp);/g, (entity) => entities[entity]);
}

module.exports = { s3 };
