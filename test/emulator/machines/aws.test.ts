import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { client, clientSettings } from "../support";

const program = path.resolve("emulator/image/bin/aws");

interface Result {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

describe("The image's aws program", () => {
  let emulator: Emulator;
  let folder: string;

  before(async () => {
    emulator = await startEmulator();
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "aws-test-"));
    const s3 = new S3Client({ ...clientSettings(emulator), forcePathStyle: true });
    await s3.send(new CreateBucketCommand({ Bucket: "files" }));
    const secret = new CreateSecretCommand({ Name: "database", SecretString: '{"password":"p"}' });
    await client(emulator, SecretsManagerClient).send(secret);
  });

  after(async () => {
    fs.rmSync(folder, { recursive: true });
    await emulator.close();
  });

  function aws(args: readonly string[], input?: Buffer): Promise<Result> {
    return new Promise((resolve) => {
      const env = { PATH: process.env.PATH, ...emulator.environment };
      const options = { env, cwd: folder, encoding: "buffer", maxBuffer: 1 << 27 } as const;
      const child = execFile(process.execPath, [program, ...args], options, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr: stderr.toString() }),
      );
      child.stdin?.end(input);
    });
  }

  it("copies a stream of more than one part, and a file under a name that needs escaping", async () => {
    const bytes = randomBytes(17_000_000);
    assert.equal((await aws(["s3", "cp", "-", "s3://files/dumps/a b+c.bin"], bytes)).code, 0);
    const shown = await aws(["s3", "cp", "s3://files/dumps/a b+c.bin", "."]);
    assert.equal(shown.stdout.toString(), "download: s3://files/dumps/a b+c.bin to ./a b+c.bin\n");
    assert.ok(fs.readFileSync(path.join(folder, "a b+c.bin")).equals(bytes));
    assert.equal((await aws(["s3", "cp", "--only-show-errors", "a b+c.bin", "s3://files/again/"])).stdout.length, 0);
    assert.ok((await aws(["s3", "cp", "s3://files/again/a b+c.bin", "-"])).stdout.equals(bytes));
  });

  it("fails when an object is missing, and leaves no file", async () => {
    const { code, stderr } = await aws(["s3", "cp", "s3://files/none", "none"]);
    assert.equal(code, 1);
    assert.match(stderr, /^download failed: s3:\/\/files\/none to none An error occurred \(404\)/);
    assert.equal(fs.existsSync(path.join(folder, "none")), false);
  });

  it("gives a member as text by a query", async () => {
    const args = ["secretsmanager", "get-secret-value", "--secret-id", "database"];
    const { stdout } = await aws([...args, "--query", "SecretString", "--output", "text"]);
    assert.equal(stdout.toString(), '{"password":"p"}\n');
  });

  it("takes values from files", async () => {
    fs.writeFileSync(path.join(folder, "secret.json"), '{"password":"q"}');
    const value = `file://${path.join(folder, "secret.json")}`;
    const args = ["secretsmanager", "create-secret", "--name", "second", "--secret-string", value];
    assert.equal((await aws(args)).code, 0);
    const read = ["secretsmanager", "get-secret-value", "--secret-id", "second", "--query", "SecretString"];
    assert.equal((await aws(read)).stdout.toString(), '"{\\"password\\":\\"q\\"}"\n');
  });

  it("understands shorthand, and calls any operation that the SDK has", async () => {
    const filters = ["--filters", "Name=state,Values=available", "Name=zone-name,Values=us-east-1a,us-east-1b"];
    const args = ["ec2", "describe-availability-zones", ...filters];
    const { stdout } = await aws([...args, "--query", "AvailabilityZones[].[ZoneName,State]", "--output", "text"]);
    assert.equal(stdout.toString(), "us-east-1a\tavailable\nus-east-1b\tavailable\n");
  });

  it("ends with the exit codes of the AWS CLI", async () => {
    const missing = await aws(["secretsmanager", "get-secret-value", "--secret-id", "none"]);
    assert.equal(missing.code, 254);
    assert.match(
      missing.stderr,
      /An error occurred \(ResourceNotFoundException\) when calling the GetSecretValue operation: /,
    );
    assert.equal((await aws(["s3", "sync", ".", "s3://files"])).code, 252);
    assert.equal((await aws(["secretsmanager", "get-secret-value", "--nonsense", "x"])).code, 252);
  });
});
