/**
 * Seeds the demo's database: runs `seed.sh` on the instance by SSM, the only machine that reaches the database, and
 * waits for its end. A part of `pulumi up`. Settings come by environment; nothing of them is secret.
 */
import { GetCommandInvocationCommand, SendCommandCommand, SSMClient } from "@aws-sdk/client-ssm";
import { readFileSync } from "node:fs";

const deadline = Date.now() + 30 * 60_000;
const passedOn = [
  "AWS_REGION",
  "SEED_LOCATION",
  "MASTER_SECRET_ARN",
  "APPLICATION_SECRET_ARN",
  "PGHOST",
  "PGPORT",
  "PGDATABASE",
];
/** The instance has not registered with SSM yet, or the command is not known everywhere yet. */
const notYet: ReadonlySet<string> = new Set(["InvalidInstanceId", "InvocationDoesNotExist"]);
const running: ReadonlySet<string> = new Set(["Pending", "InProgress", "Delayed"]);

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`the seeding needs the environment variable ${name}`);
  return value;
}

/** Repeats a look until it gives something, with pauses of about a tenth of the time that has passed. */
async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let pause = 100; ; pause = Math.min(pause * 1.1, 5_000)) {
    const found = await look().catch((error: Error) => {
      if (notYet.has(error.name)) return undefined;
      throw error;
    });
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within 30 minutes`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** SSM's agent runs commands with sh. The script is bash, and goes into a file so that it can read standard input. */
function asFile(text: string): string[] {
  return [
    "seed=$(mktemp)",
    `cat > "$seed" <<'END_OF_SEED'\n${text}\nEND_OF_SEED`,
    'bash "$seed"; status=$?',
    'rm -f "$seed"; exit $status',
  ];
}

async function main(): Promise<void> {
  const ssm = new SSMClient({});
  const instance = setting("INSTANCE_ID");
  const exports = passedOn.map((name) => `export ${name}='${setting(name).replaceAll("'", `'\\''`)}'`);
  const send = new SendCommandCommand({
    InstanceIds: [instance],
    DocumentName: "AWS-RunShellScript",
    Comment: "Seeds the database",
    Parameters: {
      commands: [...exports, ...asFile(readFileSync(setting("SEED_SCRIPT"), "utf8"))],
      executionTimeout: ["1800"],
    },
  });
  const sent = await until(`${instance} to be managed by SSM`, () => ssm.send(send));
  const id = { CommandId: sent.Command?.CommandId, InstanceId: instance };
  const done = await until(`the seeding on ${instance}`, async () => {
    const answer = await ssm.send(new GetCommandInvocationCommand(id));
    return running.has(answer.Status ?? "Pending") ? undefined : answer;
  });
  for (const [stream, text] of [
    [process.stdout, done.StandardOutputContent],
    [process.stderr, done.StandardErrorContent],
  ] as const) {
    if (text !== undefined && text !== "") stream.write(`${text.trimEnd()}\n`);
  }
  if (done.Status !== "Success") throw new Error(`the seeding on ${instance} ended as ${done.Status}`);
}

main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
