/**
 * Stands in for Elastio: the service behind the `elastio` program (`emulator/image/bin/elastio`). What the program is
 * known to take and to print is in its own file; this is how the two talk, which is nobody's contract.
 *
 * Elastio's program finds its functions by parameters and invokes them, so every call needs `lambda:InvokeFunction` on
 * `function:elastio-*`.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { AwsError, type Cloud, type Principal } from "../core/definitions";
import { globalContext, permissionsOf } from "../core/dispatcher";
import { evaluate } from "../core/iam";
import { InstanceBackups, streamOf } from "./instances";
import { type Job, Jobs } from "./jobs";
import { type RecoveryPoint, RecoveryPoints, type Tags } from "./recovery-points";
import { type StoredStream, Vault } from "./vault";

const PREFIX = "/_elastio/";
const FUNCTION = "elastio-cli-backend";

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
}

type Action = (exchange: Exchange, ...parts: string[]) => Promise<object | undefined> | object | undefined;

/** Serves Elastio's program under `/_elastio/`. */
export function installElastio(cloud: Cloud): void {
  const elastio = new Elastio(cloud);
  cloud.route(PREFIX, (request, response, principal) => elastio.answer(request, response, principal));
}

class Elastio {
  private readonly vault: Vault;
  private readonly points: RecoveryPoints;
  private readonly jobs: Jobs;
  private readonly backups: InstanceBackups;

  constructor(private readonly cloud: Cloud) {
    this.vault = new Vault(path.join(cloud.directory, "elastio"));
    this.points = new RecoveryPoints(cloud);
    this.jobs = new Jobs(cloud);
    this.backups = new InstanceBackups(cloud, this.vault, this.points);
  }

  async answer(request: IncomingMessage, response: ServerResponse, principal: Principal): Promise<void> {
    this.authorize(principal);
    const url = new URL(request.url ?? "/", "http://localhost");
    const [name = "", ...parts] = url.pathname.slice(PREFIX.length).split("/").map(decodeURIComponent);
    const action = this.actions[`${request.method ?? ""} ${name}`];
    if (action === undefined) throw new AwsError("NotImplemented", `NotImplemented: elastio ${name}`, 501);
    const answer = await action({ request, response, url }, ...parts);
    if (answer === undefined) return;
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer));
  }

  private readonly actions: Readonly<Record<string, Action>> = {
    "POST instance-backups": ({ url }) => {
      const instanceId = parameter(url, "instance");
      const tags = tagsIn(url);
      this.backups.check(instanceId);
      const description = `Backup of ${instanceId}`;
      return started(
        this.jobs.start("backup", "elastio:ec2-backup", description, (lie) =>
          this.backups.backup(instanceId, tags, lie),
        ),
      );
    },
    "POST instance-restores": ({ url }) => {
      const point = this.points.get(parameter(url, "rp"));
      if (point.kind !== "EC2")
        throw new AwsError("InvalidRequest", `The recovery point \`${point.id}\` is not of an instance`);
      const description = `Restore of ${point.id}`;
      return started(
        this.jobs.start("restore", "elastio:ec2-restore", description, async (lie) =>
          lie ? point.id : this.backups.restore(point.id),
        ),
      );
    },
    "POST streams": async ({ request, url }) => {
      const name = parameter(url, "name");
      const tags = tagsIn(url);
      const { account, region } = this.cloud;
      let stored: StoredStream | undefined;
      const job = await this.jobs.run("backup", "elastio:stream-backup", `Backup of ${name}`, async (lie) => {
        // Who lies has read it all, and kept nothing.
        const stream = await this.vault.store(lie ? unread(request) : request);
        stored = stream;
        const assetId = `elastio:asset:stream:s:${account}:${region}:${name}`;
        return this.points.add({ kind: "Stream", assetId, tags, stream }).id;
      });
      return {
        job_id: job.id,
        rp_id: job.recoveryPointId,
        abort_token: job.abortToken,
        total_bytes: stored?.bytes,
        new_bytes: stored?.newBytes,
      };
    },
    "GET streams": async ({ response }, id = "") => {
      const stream = streamOf(this.points.get(id));
      response.writeHead(200, { "content-type": "application/octet-stream" });
      await pipeline(this.vault.read(stream), response);
      return undefined;
    },
    "POST aborts": ({ request }, id = "") =>
      describeJob(this.jobs.abort(id, request.headers["x-abort-token"]?.toString())),
    "GET jobs": ({ url }, id) => {
      if (id !== undefined) return describeJob(this.jobs.get(id));
      const kind = url.searchParams.get("kind") ?? undefined;
      return { jobs: this.jobs.active(kind).map(describeJob) };
    },
    "GET recovery-points": ({ url }) => {
      const limit = Number(url.searchParams.get("limit") ?? Infinity);
      const kind = url.searchParams.get("type") ?? undefined;
      return { recovery_points: this.points.list(kind, tagsIn(url)).slice(0, limit).map(describePoint) };
    },
  };

  private authorize(principal: Principal): void {
    const { partition, region, account } = this.cloud;
    const action = "lambda:InvokeFunction";
    const resource = `arn:${partition}:lambda:${region}:${account}:function:${FUNCTION}`;
    const context = globalContext(this.cloud, principal);
    const decision = evaluate({
      principal,
      account,
      action,
      resource,
      context,
      ...permissionsOf(this.cloud, principal),
    });
    if (decision.allowed) return;
    const message = `User: ${principal.arn} is not authorized to perform: ${action} on resource: ${resource} ${decision.reason}`;
    throw new AwsError("AccessDeniedException", message, 403);
  }
}

/** Reads to the end, and gives nothing. */
// eslint-disable-next-line require-yield
async function* unread(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const _data of source);
}

function parameter(url: URL, name: string): string {
  const value = url.searchParams.get(name);
  if (value === null || value === "") throw new AwsError("InvalidRequest", `The parameter ${name} is missing`);
  return value;
}

/** Every `tag` parameter is `name=value`. */
function tagsIn(url: URL): Tags {
  const pairs = url.searchParams.getAll("tag").map((tag) => {
    const at = tag.indexOf("=");
    return at < 0 ? [tag, ""] : [tag.slice(0, at), tag.slice(at + 1)];
  });
  return Object.fromEntries(pairs) as Tags;
}

function started({ id, abortToken, operation }: Job): object {
  return { job_id: id, abort_token: abortToken, operation };
}

function describeJob(job: Job): object {
  return {
    id: job.id,
    kind: job.kind,
    operation: job.operation,
    description: job.description,
    status: job.status,
    attempt: job.attempt,
    created_at: job.created.toISOString(),
    rp_id: job.recoveryPointId ?? null,
    error: job.error ?? null,
  };
}

function describePoint(point: RecoveryPoint): object {
  return {
    id: point.id,
    timestamp: point.created.toISOString(),
    kind: { kind: point.kind },
    asset_snaps: [{ asset_id: point.assetId }],
    tags: point.tags,
  };
}
