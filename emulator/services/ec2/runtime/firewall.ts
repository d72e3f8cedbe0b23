/**
 * Security groups, enforced. Every instance has a gate; this is what its gatekeeper knows: it may connect to AWS, to
 * databases and to other instances as its groups' egress and their groups' ingress allow.
 *
 * What is told apart, and what is not:
 * - From an instance, and from a build that has a gate: by groups, addresses and ports, for every new connection.
 *   A connection that stands is not ended by a change, as on AWS ("Security group connection tracking").
 * - From the host itself (the driver, a browser, builds without a gate) to an instance: by port alone.
 * - A program that listens at all addresses (0.0.0.0) cannot do so on a port on which the instance may reach another
 *   one: the gate listens there for it. One that listens at the instance's own address can.
 * - A database without security groups, and AWS's own endpoints but for their port 443, have nothing that is enforced.
 *   Network ACLs are not emulated, and routes only for builds.
 */
import type { SecurityGroupRule } from "@aws-sdk/client-ec2";
import type { Cloud } from "../../../core/definitions";
import type { Gatekeeper, Place } from "../../../machines/gate";
import { METADATA_ADDRESS } from "../../../machines/namespaces";
import { parseCidr } from "../cidr";
import type { Ec2Store, InstanceRecord } from "../store";
import { coversPort, letsThrough, type Peer } from "./rules";

/** An address of AWS's, for rules that name ranges: TEST-NET-3 of RFC 5737, which is in nobody's VPC. */
const AWS_ADDRESS = "203.0.113.1";
const HTTPS = 443;

/** Something that listens in the VPC. */
interface Listener extends Place {
  readonly peer: Peer;
}

/** The ports on which programs of a running instance listen. */
export type PortsOf = (instanceId: string) => readonly number[];

export class Firewall {
  private readonly store: Ec2Store;

  constructor(
    private readonly cloud: Cloud,
    private readonly portsOf: PortsOf,
  ) {
    this.store = cloud.stores.ec2;
  }

  /** For the machine of an instance, whose metadata are served at that place. */
  forInstance(instance: InstanceRecord, metadata: Place): Gatekeeper {
    const own = { ...metadata, as: { address: METADATA_ADDRESS, port: 80 } };
    return {
      address: instance.address,
      // What it reaches of its own, it reaches without a gate.
      reachable: () => [
        own,
        ...this.reachableFrom(peerOf(instance)).filter(({ address }) => address !== instance.address),
      ],
      admits: (port) => coversPort(this.rules(instance.securityGroupIds, false), port),
    };
  }

  /**
   * For a build with these groups. A build that may reach every database needs no gate, and is faster without;
   * `undefined` then.
   */
  forBuild(groups: readonly string[], subnetIds: readonly string[]): Gatekeeper | undefined {
    const subnet = this.store.subnets.find(subnetIds[0]);
    const peer = { groups, address: subnet === undefined ? AWS_ADDRESS : parseCidr(subnet.CidrBlock).address(4) };
    if (this.databases().every((database) => this.connects(peer, database)) && this.reachesAws(groups))
      return undefined;
    return { reachable: () => this.reachableFrom(peer), admits: () => false };
  }

  /** Whether the groups let their members call AWS. */
  reachesAws(groups: readonly string[]): boolean {
    const rules = this.rules(groups, true);
    const throughEndpoint = rules.some(({ PrefixListId }) => PrefixListId !== undefined) && coversPort(rules, HTTPS);
    return throughEndpoint || letsThrough(rules, { groups: [], address: AWS_ADDRESS }, HTTPS);
  }

  private reachableFrom(peer: Peer): Place[] {
    const listeners = [...this.databases(), ...this.instances()].filter((listener) => this.connects(peer, listener));
    const { hostname, port } = new URL(this.cloud.endpoint);
    const aws = this.reachesAws(peer.groups) ? [{ address: hostname, port: Number(port) }] : [];
    return [...aws, ...listeners.map((listener) => ({ address: listener.address, port: listener.port }))];
  }

  private connects(from: Peer, to: Listener): boolean {
    const leaves = letsThrough(this.rules(from.groups, true), to.peer, to.port);
    return leaves && (to.peer.groups.length === 0 || letsThrough(this.rules(to.peer.groups, false), from, to.port));
  }

  private instances(): Listener[] {
    return this.store
      .liveInstances()
      .flatMap((instance) =>
        this.portsOf(instance.id).map((port) => ({ address: instance.address, port, peer: peerOf(instance) })),
      );
  }

  private databases(): Listener[] {
    const hosts = this.cloud.network.hosts();
    const records = [...(this.cloud.stores.rds?.instances.values() ?? [])];
    return records.flatMap(({ description, hostname }) => {
      const [address, port] = [hosts[hostname], description.Endpoint?.Port];
      if (address === undefined || port === undefined) return [];
      const groups = (description.VpcSecurityGroups ?? []).map(({ VpcSecurityGroupId = "" }) => VpcSecurityGroupId);
      return [{ address, port, peer: { groups, address: this.addressInside(description.DBSubnetGroup?.VpcId) } }];
    });
  }

  /** Databases have no address of their own here; rules that name ranges see one of their VPC. */
  private addressInside(vpcId: string | undefined): string {
    const vpc = this.store.vpcs.find(vpcId);
    return vpc === undefined ? AWS_ADDRESS : parseCidr(vpc.CidrBlock).address(4);
  }

  private rules(groups: readonly string[], egress: boolean): SecurityGroupRule[] {
    return groups.flatMap((id) => this.store.rulesOf(id)).filter(({ IsEgress }) => IsEgress === egress);
  }
}

function peerOf({ securityGroupIds, privateIp }: InstanceRecord): Peer {
  return { groups: securityGroupIds, address: privateIp };
}
