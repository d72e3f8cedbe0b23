/** The life of instances: launch, stop, start, reboot, terminate. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Cloud } from "../../../core/definitions";
import { parseCidr } from "../cidr";
import type { Storage } from "../operations/volumes";
import type { Ec2Store, InstanceRecord, MetadataOptions, SubnetRecord, VolumeRecord } from "../store";
import { newId } from "../support";
import type { Fleet } from "./fleet";

/** What one launch needs, checked. */
export interface LaunchSpecification extends MetadataOptions {
  readonly imageId: string;
  readonly instanceType: string;
  readonly subnet: SubnetRecord;
  readonly securityGroupIds: readonly string[];
  readonly publicIp: boolean;
  readonly profile: InstanceRecord["profile"];
  readonly userData: string | undefined;
  readonly disableApiTermination: boolean;
  readonly tags: ec2.Tag[];
  readonly clientToken: string | undefined;
  readonly rootDeviceName: string;
  /** The root volume, and data volumes. */
  readonly volumes: readonly LaunchVolume[];
}

export interface LaunchVolume {
  readonly device: string;
  readonly deleteOnTermination: boolean;
  /** Makes the volume: called once for each instance. */
  readonly make: () => { readonly volume: VolumeRecord; readonly ready: Promise<void> };
}

/** AWS keeps the first four addresses of a subnet and the last. */
const RESERVED = 4;

export class Instances {
  private readonly store: Ec2Store;

  constructor(
    private readonly cloud: Cloud,
    private readonly storage: Storage,
    private readonly fleet: Fleet,
  ) {
    this.store = cloud.stores.ec2;
  }

  /** An instance in state `pending`; it becomes `running` in the background. */
  launch(specification: LaunchSpecification, reservationId: string): InstanceRecord {
    const instance = this.newRecord(specification, reservationId);
    const filled = specification.volumes.map(async ({ device, deleteOnTermination, make }) => {
      const { volume, ready } = make();
      this.storage.attach(instance, volume, device, deleteOnTermination);
      if (device === instance.rootDeviceName) this.store.noteRoot(instance.id, volume.VolumeId);
      await ready;
      volume.State = "in-use";
    });
    const work = this.fleet.change(instance.id, async () => {
      try {
        await Promise.all(filled);
        await this.bootIfPending(instance);
      } catch (error) {
        await this.abandonLaunch(instance, error);
        throw error;
      }
    });
    this.cloud.background(`launch ${instance.id}`, work);
    return instance;
  }

  private newRecord(specification: LaunchSpecification, reservationId: string): InstanceRecord {
    const { subnet } = specification;
    const privateIp = this.freeAddress(subnet);
    const domain = this.cloud.region === "us-east-1" ? "ec2.internal" : `${this.cloud.region}.compute.internal`;
    const privateDnsName = `ip-${privateIp.replaceAll(".", "-")}.${domain}`;
    const now = this.cloud.clock.now();
    const id = newId("i");
    return this.store.instances.add(id, {
      id,
      reservationId,
      imageId: specification.imageId,
      instanceType: specification.instanceType,
      subnetId: subnet.SubnetId,
      vpcId: subnet.VpcId,
      zone: subnet.AvailabilityZone,
      privateIp,
      privateDnsName,
      address: this.cloud.network.allocate(privateDnsName),
      hasPublicIp: specification.publicIp,
      networkInterfaceId: newId("eni"),
      networkAttachmentId: newId("eni-attach"),
      profile: specification.profile,
      profileAssociationTime: now,
      userData: specification.userData,
      rootDeviceName: specification.rootDeviceName,
      devices: new Map(),
      metadataEndpoint: specification.metadataEndpoint,
      metadataTokens: specification.metadataTokens,
      metadataHopLimit: specification.metadataHopLimit,
      clientToken: specification.clientToken,
      launchTime: now,
      state: "pending",
      stateReason: undefined,
      stateTransitionReason: "",
      securityGroupIds: [...specification.securityGroupIds],
      disableApiTermination: specification.disableApiTermination,
      Tags: specification.tags,
    });
  }

  /** Names are made of addresses, and names must be unique over all VPCs, which may have equal ranges. */
  private freeAddress(subnet: SubnetRecord): string {
    const range = parseCidr(subnet.CidrBlock);
    const usable = range.size - RESERVED - 1;
    const used = new Set(this.store.liveInstances().map(({ privateIp }) => privateIp));
    const start = Math.floor(Math.random() * usable);
    for (let step = 0; step < usable; step++) {
      const address = range.address(RESERVED + ((start + step) % usable));
      if (!used.has(address)) return address;
    }
    throw new AwsError(
      "InsufficientFreeAddressesInSubnet",
      `There are not enough free addresses in subnet '${subnet.SubnetId}'.`,
    );
  }

  private async bootIfPending(instance: InstanceRecord): Promise<void> {
    if (instance.state !== "pending") return;
    await this.fleet.boot(instance);
    // A termination may have been asked for while the machine booted; it is next in the queue.
    if (instance.state === "pending") this.setState(instance, "running");
  }

  /** A launch that fails ends the instance, as on AWS. */
  private async abandonLaunch(instance: InstanceRecord, error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    instance.stateReason = { Code: "Server.InternalError", Message: `Server.InternalError: ${message}` };
    await this.endInstance(instance);
  }

  stop(instance: InstanceRecord): void {
    if (instance.state === "stopped" || instance.state === "stopping") return;
    this.requireState(instance, ["running"], "stopped");
    this.setState(instance, "stopping");
    instance.stateReason = {
      Code: "Client.UserInitiatedShutdown",
      Message: "Client.UserInitiatedShutdown: User initiated shutdown",
    };
    this.inBackground("stop", instance, async () => {
      await this.fleet.halt(instance.id);
      if (instance.state === "stopping") this.setState(instance, "stopped");
    });
  }

  start(instance: InstanceRecord): void {
    if (instance.state === "running" || instance.state === "pending") return;
    this.requireState(instance, ["stopped"], "started");
    if (!instance.devices.has(instance.rootDeviceName)) {
      const message = `Invalid value '${instance.id}' for instanceId. Instance does not have a volume attached at root (${instance.rootDeviceName})`;
      throw new AwsError("IncorrectInstanceState", message);
    }
    this.setState(instance, "pending");
    instance.stateReason = undefined;
    instance.launchTime = this.cloud.clock.now();
    this.inBackground("start", instance, () => this.bootIfPending(instance));
  }

  reboot(instance: InstanceRecord): void {
    this.requireState(instance, ["running", "pending"], "rebooted");
    this.inBackground("reboot", instance, async () => {
      if (instance.state === "running") await this.fleet.boot(instance);
    });
  }

  terminate(instance: InstanceRecord): void {
    if (instance.state === "terminated" || instance.state === "shutting-down") return;
    this.setState(instance, "shutting-down");
    instance.stateReason = {
      Code: "Client.UserInitiatedShutdown",
      Message: "Client.UserInitiatedShutdown: User initiated shutdown",
    };
    this.inBackground("terminate", instance, () => this.endInstance(instance));
  }

  private async endInstance(instance: InstanceRecord): Promise<void> {
    await this.fleet.halt(instance.id);
    for (const [device, { deleteOnTermination, volumeId }] of [...instance.devices]) {
      this.storage.detach(instance, device);
      if (deleteOnTermination) await this.storage.deleteVolume(volumeId);
    }
    this.cloud.network.release(instance.privateDnsName);
    this.setState(instance, "terminated");
  }

  private inBackground(verb: string, instance: InstanceRecord, work: () => Promise<void>): void {
    this.cloud.background(`${verb} ${instance.id}`, this.fleet.change(instance.id, work));
  }

  private requireState(instance: InstanceRecord, allowed: readonly string[], verb: string): void {
    if (allowed.includes(instance.state)) return;
    const message = `The instance '${instance.id}' is not in a state from which it can be ${verb}.`;
    throw new AwsError("IncorrectInstanceState", message);
  }

  private setState(instance: InstanceRecord, state: ec2.InstanceStateName): void {
    instance.state = state;
    const stamp = this.cloud.clock.now().toISOString().replace("T", " ").slice(0, 19);
    instance.stateTransitionReason = state === "running" || state === "pending" ? "" : `User initiated (${stamp} GMT)`;
    this.cloud.emit({
      source: "aws.ec2",
      detailType: "EC2 Instance State-change Notification",
      detail: { "instance-id": instance.id, state },
      resources: [`arn:${this.cloud.partition}:ec2:${this.cloud.region}:${this.cloud.account}:instance/${instance.id}`],
    });
  }
}
