/**
 * What security groups let through. Groups add up; there is no rule that denies. Pure.
 */
import type { SecurityGroupRule } from "@aws-sdk/client-ec2";
import { contains, parseCidr } from "../cidr";

/** The other end of a connection: its groups, and its IPv4 address. */
export interface Peer {
  readonly groups: readonly string[];
  readonly address: string;
}

/** Whether one of the rules lets TCP through to that port, whoever is at the other end. */
export function coversPort(rules: readonly SecurityGroupRule[], port: number): boolean {
  return rules.some((rule) => covers(rule, port));
}

/** Whether one of the rules, all of one direction, lets TCP through to that port between its group and the peer. */
export function letsThrough(rules: readonly SecurityGroupRule[], peer: Peer, port: number): boolean {
  return rules.some((rule) => covers(rule, port) && names(rule, peer));
}

function covers({ IpProtocol, FromPort = -1, ToPort = -1 }: SecurityGroupRule, port: number): boolean {
  if (IpProtocol === "-1") return true;
  return (IpProtocol === "tcp" || IpProtocol === "6") && FromPort <= port && port <= ToPort;
}

function names({ CidrIpv4, ReferencedGroupInfo }: SecurityGroupRule, { groups, address }: Peer): boolean {
  if (CidrIpv4 !== undefined) return contains(parseCidr(CidrIpv4), parseCidr(`${address}/32`));
  return ReferencedGroupInfo?.GroupId !== undefined && groups.includes(ReferencedGroupInfo.GroupId);
}
