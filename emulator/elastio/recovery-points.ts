/** Recovery points: what the vault holds, and of what. */
import type { Tag } from "@aws-sdk/client-ec2";
import { AwsError, type Cloud } from "../core/definitions";
import type { InstanceRecord, VolumeRecord } from "../services/ec2/store";
import { ulid } from "./ids";
import type { StoredStream } from "./vault";

export type Tags = Readonly<Record<string, string>>;

interface Shared {
  readonly id: string;
  readonly created: Date;
  /** For example `elastio:asset:aws-ec2:i:123456789012:us-east-1:i-0123456789abcdef0`. */
  readonly assetId: string;
  readonly tags: Tags;
}

export interface StreamPoint extends Shared {
  readonly kind: "Stream";
  readonly stream: StoredStream;
}

/** A volume with its contents as a tar archive. */
export interface StoredVolume {
  readonly device: string;
  readonly deleteOnTermination: boolean;
  readonly volume: VolumeRecord;
  readonly contents: StoredStream;
}

export interface InstancePoint extends Shared {
  readonly kind: "EC2";
  readonly instance: InstanceRecord;
  readonly volumes: readonly StoredVolume[];
}

export type RecoveryPoint = StreamPoint | InstancePoint;

type Unnamed<P> = P extends RecoveryPoint ? Omit<P, "id" | "created"> : never;

export class RecoveryPoints {
  private readonly points = new Map<string, RecoveryPoint>();

  constructor(private readonly cloud: Cloud) {}

  add(point: Unnamed<RecoveryPoint>): RecoveryPoint {
    const created = this.cloud.clock.now();
    const named = { ...point, id: ulid("rp", created), created };
    this.points.set(named.id, named);
    return named;
  }

  get(id: string): RecoveryPoint {
    const point = this.points.get(id);
    if (point !== undefined) return point;
    throw new AwsError("NotFound", `The recovery point \`${id}\` was not found`, 404);
  }

  /** Newest first. */
  list(kind: string | undefined, tags: Tags): RecoveryPoint[] {
    const matches = (point: RecoveryPoint): boolean =>
      (kind === undefined || point.kind.toLowerCase() === kind.toLowerCase()) &&
      Object.entries(tags).every(([name, value]) => point.tags[name] === value);
    return [...this.points.values()].filter(matches).reverse();
  }
}

/** How Elastio marks what a restore made. */
export function restoredTags({ id, assetId }: RecoveryPoint): Tag[] {
  return [
    { Key: "elastio:restored-from-rp", Value: id },
    { Key: "elastio:restored-from-asset", Value: assetId },
  ];
}
