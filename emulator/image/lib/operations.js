/** `aws <service> <operation> --member value`: any operation that the SDK has. */
"use strict";
const { call, read, ServiceError } = require("./caller");
const { memberName, parseArguments, single, UsageError, valueOf } = require("./options");

const GLOBAL = ["query", "output", "region", "cli-input-json", "no-cli-pager", "no-paginate"];
const strings = { list: "string" };

/**
 * Services with a JSON protocol, whose commonest inputs are known here: these calls need no SDK, which takes longer to
 * load than they take. An option that is not in the table sends the call the long way.
 */
const QUICK = {
  secretsmanager: {
    target: "secretsmanager",
    version: "1.1",
    members: {
      SecretId: "string",
      SecretString: "string",
      VersionId: "string",
      VersionStage: "string",
      ClientRequestToken: "string",
    },
  },
  ssm: {
    target: "AmazonSSM",
    version: "1.1",
    members: {
      CommandId: "string",
      InstanceId: "string",
      InstanceIds: strings,
      DocumentName: "string",
      Parameters: { map: strings },
      Comment: "string",
      TimeoutSeconds: "number",
      Name: "string",
      Names: strings,
      WithDecryption: "boolean",
    },
  },
};

const MODULES = {
  s3api: "s3",
  logs: "cloudwatch-logs",
  cloudwatch: "cloudwatch",
  events: "eventbridge",
  secretsmanager: "secrets-manager",
};

const WAITER_PERIOD_MS = 250;
const WAITER_DEADLINE_MS = 100_000;

async function operations(args) {
  const { words, options } = parseArguments(args);
  const [service, verb, subject] = words;
  if (verb === undefined) throw new UsageError("usage: aws <service> <operation> [--member value]");
  if (verb === "wait") return waitFor(service, subject, options);
  if (words.length > 2) throw new UsageError(`Unknown options: ${words.slice(2).join(", ")}`);
  const output = await send(service, verb, options);
  print(output, single(options, "query"), single(options, "output") ?? process.env.AWS_DEFAULT_OUTPUT ?? "json");
  return 0;
}

function send(service, verb, options) {
  const name = verb
    .split("-")
    .map((part) => part[0].toUpperCase() + part.slice(1))
    .join("");
  const members = [...options.keys()].filter((option) => !GLOBAL.includes(option));
  const quick = QUICK[service];
  const known = quick !== undefined && !options.has("cli-input-json");
  if (known && members.every((option) => memberName(option, Object.keys(quick.members)) !== undefined)) {
    return sendQuickly(service, name, quick, inputOf(options, members, quick.members));
  }
  return sendBySdk(service, name, options, members);
}

function inputOf(options, members, types) {
  const entries = members.map((option) => {
    const member = memberName(option, Object.keys(types));
    if (member === undefined) throw new UsageError(`Unknown options: --${option}`);
    return [member, valueOf(options.get(option), types[member], option)];
  });
  return Object.fromEntries(entries);
}

async function sendQuickly(service, name, { target, version }, input) {
  const body = Buffer.from(JSON.stringify(input));
  const headers = {
    "content-type": `application/x-amz-json-${version}`,
    "x-amz-target": `${target}.${name}`,
    "content-length": body.length,
  };
  const response = await call(service, "POST", "/", { headers, body });
  const text = (await read(response)).toString("utf8");
  const answer = text === "" ? {} : JSON.parse(text);
  if (response.statusCode === 200) return answer;
  const code = String(answer.__type ?? answer.code ?? response.statusCode)
    .split("#")
    .at(-1);
  throw operationError(name, code, answer.message ?? answer.Message ?? "");
}

async function sendBySdk(service, name, options, members) {
  let sdk;
  try {
    sdk = require(`@aws-sdk/client-${MODULES[service] ?? service}`);
  } catch {
    throw new UsageError(`The service ${service} is not known here`);
  }
  const schema = sdk[`${name}$`];
  const Command = sdk[`${name}Command`];
  if (schema === undefined || Command === undefined)
    throw new UsageError(`The operation ${service} ${name} is not known here`);
  const { NormalizedSchema } = require("@smithy/core/schema");
  const types = typeOf(NormalizedSchema.of(schema[4])).structure;
  const json = single(options, "cli-input-json");
  const given = json === undefined ? {} : valueOf([json], { structure: types }, "cli-input-json");
  const Client = Object.entries(sdk).find(([key]) => key.endsWith("Client") && key !== "__Client")[1];
  const client = new Client({ forcePathStyle: true });
  try {
    const output = await client.send(new Command({ ...given, ...inputOf(options, members, types) }));
    delete output.$metadata;
    if (typeof output.Body?.transformToString === "function") output.Body = await output.Body.transformToString();
    return output;
  } catch (error) {
    if (error.$metadata === undefined) throw error;
    throw operationError(name, error.Code ?? error.name, error.message);
  } finally {
    client.destroy();
  }
}

/** The type of an SDK's schema, in the words of `valueOf`. Recursive shapes end where they begin again. */
function typeOf(schema, above = []) {
  if (schema.isNumericSchema() || schema.isBigIntegerSchema()) return "number";
  if (schema.isBooleanSchema()) return "boolean";
  const shape = schema.getSchema();
  if (above.includes(shape) || above.length > 8) return { structure: {} };
  const inside = [...above, shape];
  if (schema.isListSchema()) return { list: typeOf(schema.getValueSchema(), inside) };
  if (schema.isMapSchema()) return { map: typeOf(schema.getValueSchema(), inside) };
  if (!schema.isStructSchema()) return "string";
  const members = [...schema.structIterator()].map(([name, member]) => [name, typeOf(member, inside)]);
  return { structure: Object.fromEntries(members) };
}

function operationError(operation, code, message) {
  return new ServiceError(code, `An error occurred (${code}) when calling the ${operation} operation: ${message}`);
}

/** The one waiter that deployments use. Asks more often than the AWS CLI does. */
async function waitFor(service, subject, options) {
  if (service !== "ssm" || subject !== "command-executed")
    throw new UsageError(`The waiter ${service} ${subject} is not known here`);
  for (const end = Date.now() + WAITER_DEADLINE_MS; Date.now() < end;) {
    const status = await send("ssm", "get-command-invocation", options).then(
      ({ Status }) => Status,
      (error) => {
        if (error.code === "InvocationDoesNotExist") return "Pending";
        throw error;
      },
    );
    if (status === "Success") return 0;
    if (["Cancelled", "TimedOut", "Failed", "Cancelling"].includes(status)) {
      const reason = `For expression "Status" we matched expected path: "${status}"`;
      throw new ServiceError(
        "Waiter",
        `Waiter CommandExecuted failed: Waiter encountered a terminal failure state: ${reason}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, WAITER_PERIOD_MS));
  }
  throw new ServiceError("Waiter", "Waiter CommandExecuted failed: Max attempts exceeded");
}

function print(output, query, format) {
  const chosen = query === undefined ? output : require("jmespath").search(output, query);
  if (format === "text")
    return process.stdout.write(
      textLines(chosen)
        .map((line) => `${line}\n`)
        .join(""),
    );
  if (format !== "json") throw new UsageError(`The output format ${format} is not known here (only json and text)`);
  if (query === undefined && Object.keys(chosen).length === 0) return undefined;
  return process.stdout.write(`${JSON.stringify(chosen ?? null, jsonValue, 4)}\n`);
}

function jsonValue(_key, value) {
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}

/** A list of scalars on one line, anything nested on lines of its own. */
function textLines(value) {
  if (value === null || value === undefined) return ["None"];
  if (value instanceof Date) return [value.toISOString()];
  if (typeof value === "boolean") return [value ? "True" : "False"];
  if (typeof value !== "object") return [String(value)];
  const items = Array.isArray(value)
    ? value
    : Object.keys(value)
        .sort()
        .map((key) => value[key]);
  const isScalar = (item) => item === null || typeof item !== "object";
  const scalars = items.filter(isScalar).flatMap(textLines);
  const nested = items.filter((item) => !isScalar(item)).flatMap(textLines);
  return [...(scalars.length > 0 ? [scalars.join("\t")] : []), ...nested];
}

module.exports = { operations };
