/** Security groups, with rules of their own or with rules as resources. */
import ec2 = require("@aws-sdk/client-ec2");
import type {
  InputRule,
  Properties,
  ResourceContext,
  ResourceDefinition,
  ResourceState,
} from "../../../core/definitions";
import { amount, blocks, compact, flag, required, text, unless } from "../../properties";
import { listChanges, resourceState, tagSpecification, texts, updateTags } from "./support";

type Direction = "ingress" | "egress";

function replaces(argument: string): InputRule {
  return { replaceOn: `terraform-provider-aws, aws_security_group: ${argument}, Forces new resource` };
}

const securityGroup: ResourceDefinition = {
  type: "aws:ec2/securityGroup:SecurityGroup",
  inputs: {
    name: { ...replaces("name"), autoname: { maxLength: 255 } },
    description: { ...replaces("description"), default: "Managed by Pulumi" },
    vpcId: replaces("vpc_id"),
    ingress: {},
    egress: {},
    revokeRulesOnDelete: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const { GroupId = "" } = await context.send(
      new ec2.CreateSecurityGroupCommand({
        GroupName: required(inputs, "name"),
        Description: required(inputs, "description"),
        VpcId: required(inputs, "vpcId"),
        TagSpecifications: tagSpecification("security-group", inputs),
      }),
    );
    context.made(GroupId);
    // The provider takes away the rule that AWS gives to every new group.
    await revoke(GroupId, "egress", [{ IpProtocol: "-1", IpRanges: [{ CidrIp: "0.0.0.0/0" }] }], context);
    for (const direction of ["ingress", "egress"] as const) {
      await authorize(GroupId, direction, permissions(GroupId, blocks(inputs, direction)), context);
    }
    return groupState(GroupId, inputs, context);
  },
  read: (id, state, context) => unless(["InvalidGroup.NotFound"], groupState(id, state, context)),
  update: async (id, news, olds, context) => {
    for (const direction of ["ingress", "egress"] as const) {
      // Rules that the program never mentioned, such as those of rule resources, are not this resource's.
      if (news[direction] !== undefined) await changeRules(id, direction, news, olds, context);
    }
    await updateTags(id, news, olds, context);
    return groupState(id, news, context);
  },
  delete: async (id, state, context) => {
    if (flag(state, "revokeRulesOnDelete") === true) {
      const found = await unless(["InvalidGroup.NotFound"], describeGroup(id, context));
      await revoke(id, "ingress", found?.IpPermissions ?? [], context);
      await revoke(id, "egress", found?.IpPermissionsEgress ?? [], context);
    }
    await unless(["InvalidGroup.NotFound"], context.send(new ec2.DeleteSecurityGroupCommand({ GroupId: id })));
  },
};

async function changeRules(
  id: string,
  direction: Direction,
  news: Properties,
  olds: Properties,
  context: ResourceContext,
): Promise<void> {
  const before = permissions(id, blocks(olds, direction));
  const after = permissions(id, blocks(news, direction));
  const { added, removed } = listChanges(before.map(permissionKey), after.map(permissionKey));
  await revoke(
    id,
    direction,
    before.filter((rule) => removed.includes(permissionKey(rule))),
    context,
  );
  await authorize(
    id,
    direction,
    after.filter((rule) => added.includes(permissionKey(rule))),
    context,
  );
}

async function authorize(
  GroupId: string,
  direction: Direction,
  IpPermissions: ec2.IpPermission[],
  context: ResourceContext,
): Promise<void> {
  if (IpPermissions.length === 0) return;
  const request = { GroupId, IpPermissions };
  if (direction === "ingress") await context.send(new ec2.AuthorizeSecurityGroupIngressCommand(request));
  else await context.send(new ec2.AuthorizeSecurityGroupEgressCommand(request));
}

async function revoke(
  GroupId: string,
  direction: Direction,
  IpPermissions: ec2.IpPermission[],
  context: ResourceContext,
): Promise<void> {
  if (IpPermissions.length === 0) return;
  const request = { GroupId, IpPermissions };
  if (direction === "ingress") await context.send(new ec2.RevokeSecurityGroupIngressCommand(request));
  else await context.send(new ec2.RevokeSecurityGroupEgressCommand(request));
}

/** One permission per peer, so that sets of rules can be compared. */
function permissions(groupId: string, rules: readonly Properties[]): ec2.IpPermission[] {
  return rules.flatMap((rule) => {
    const IpProtocol = required(rule, "protocol") === "all" ? "-1" : required(rule, "protocol");
    const ports = IpProtocol === "-1" ? {} : { FromPort: amount(rule, "fromPort"), ToPort: amount(rule, "toPort") };
    const shared = { IpProtocol, ...ports };
    const Description = text(rule, "description") || undefined;
    const groups = [...texts(rule, "securityGroups"), ...(flag(rule, "self") === true ? [groupId] : [])];
    return [
      ...texts(rule, "cidrBlocks").map((CidrIp) => ({ ...shared, IpRanges: [{ CidrIp, Description }] })),
      ...texts(rule, "ipv6CidrBlocks").map((CidrIpv6) => ({ ...shared, Ipv6Ranges: [{ CidrIpv6, Description }] })),
      ...texts(rule, "prefixListIds").map((PrefixListId) => ({
        ...shared,
        PrefixListIds: [{ PrefixListId, Description }],
      })),
      ...groups.map((GroupId) => ({ ...shared, UserIdGroupPairs: [{ GroupId, Description }] })),
    ];
  });
}

function permissionKey(permission: ec2.IpPermission): string {
  const peers = [
    ...(permission.IpRanges ?? []).map(({ CidrIp, Description }) => [CidrIp, Description]),
    ...(permission.Ipv6Ranges ?? []).map(({ CidrIpv6, Description }) => [CidrIpv6, Description]),
    ...(permission.PrefixListIds ?? []).map(({ PrefixListId, Description }) => [PrefixListId, Description]),
    ...(permission.UserIdGroupPairs ?? []).map(({ GroupId, Description }) => [GroupId, Description]),
  ];
  return JSON.stringify([permission.IpProtocol, permission.FromPort, permission.ToPort, peers]);
}

async function describeGroup(id: string, context: ResourceContext): Promise<ec2.SecurityGroup | undefined> {
  const { SecurityGroups = [] } = await context.send(new ec2.DescribeSecurityGroupsCommand({ GroupIds: [id] }));
  return SecurityGroups[0];
}

async function groupState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const found = (await describeGroup(id, context)) ?? {};
  const described = {
    name: found.GroupName,
    description: found.Description,
    vpcId: found.VpcId,
    ingress: ruleBlocks(id, "ingress", given, found.IpPermissions ?? []),
    egress: ruleBlocks(id, "egress", given, found.IpPermissionsEgress ?? []),
    namePrefix: "",
    revokeRulesOnDelete: flag(given, "revokeRulesOnDelete") ?? false,
  };
  return resourceState(context, { id, type: "security-group", tags: found.Tags }, given, described);
}

/** The rules as the program wrote them, as long as EC2 has just these; otherwise as EC2 tells them. */
function ruleBlocks(
  id: string,
  direction: Direction,
  given: Properties,
  actual: readonly ec2.IpPermission[],
): readonly Properties[] {
  const written = blocks(given, direction);
  const wanted = permissions(id, written).map(permissionKey);
  const { added, removed } = listChanges(actual.map(permissionKey), wanted);
  if (added.length + removed.length === 0) return written;
  return actual.map((permission) => {
    const { IpRanges = [], Ipv6Ranges = [], PrefixListIds = [], UserIdGroupPairs = [] } = permission;
    const groups = UserIdGroupPairs.map(({ GroupId }) => GroupId);
    const peers = [...IpRanges, ...Ipv6Ranges, ...PrefixListIds, ...UserIdGroupPairs];
    return {
      protocol: permission.IpProtocol,
      fromPort: permission.FromPort ?? 0,
      toPort: permission.ToPort ?? 0,
      cidrBlocks: IpRanges.map(({ CidrIp }) => CidrIp),
      ipv6CidrBlocks: Ipv6Ranges.map(({ CidrIpv6 }) => CidrIpv6),
      prefixListIds: PrefixListIds.map(({ PrefixListId }) => PrefixListId),
      securityGroups: groups.filter((group) => group !== id),
      self: groups.includes(id),
      description: peers.find(({ Description }) => Description !== undefined)?.Description ?? "",
    };
  });
}

const RULE_INPUTS = [
  "ipProtocol",
  "fromPort",
  "toPort",
  "cidrIpv4",
  "cidrIpv6",
  "prefixListId",
  "referencedSecurityGroupId",
];

function ruleResource(type: string, resource: string, direction: Direction): ResourceDefinition {
  const notFound = ["InvalidSecurityGroupRuleId.NotFound"];
  const inputs: Record<string, InputRule> = {
    securityGroupId: { replaceOn: `terraform-provider-aws, ${resource}: security_group_id, Forces new resource` },
    description: { fixed: "ModifySecurityGroupRules" },
    tags: {},
  };
  for (const name of RULE_INPUTS) inputs[name] = { fixed: "ModifySecurityGroupRules" };
  return {
    type,
    inputs,
    create: async (given, context) => {
      const request = {
        GroupId: required(given, "securityGroupId"),
        IpPermissions: [rulePermission(given)],
        TagSpecifications: tagSpecification("security-group-rule", given),
      };
      const { SecurityGroupRules = [] } =
        direction === "ingress"
          ? await context.send(new ec2.AuthorizeSecurityGroupIngressCommand(request))
          : await context.send(new ec2.AuthorizeSecurityGroupEgressCommand(request));
      const id = SecurityGroupRules[0]?.SecurityGroupRuleId ?? "";
      context.made(id);
      return ruleState(id, given, context);
    },
    read: (id, state, context) => unless(notFound, ruleState(id, state, context)),
    update: async (id, news, olds, context) => {
      await updateTags(id, news, olds, context);
      return ruleState(id, news, context);
    },
    delete: async (id, state, context) => {
      const request = { GroupId: required(state, "securityGroupId"), SecurityGroupRuleIds: [id] };
      const done =
        direction === "ingress"
          ? context.send(new ec2.RevokeSecurityGroupIngressCommand(request))
          : context.send(new ec2.RevokeSecurityGroupEgressCommand(request));
      await unless([...notFound, "InvalidGroup.NotFound"], done as Promise<unknown>);
    },
  };
}

function rulePermission(given: Properties): ec2.IpPermission {
  const Description = text(given, "description");
  const [v4, v6] = [text(given, "cidrIpv4"), text(given, "cidrIpv6")];
  const [list, group] = [text(given, "prefixListId"), text(given, "referencedSecurityGroupId")];
  return {
    IpProtocol: required(given, "ipProtocol"),
    FromPort: amount(given, "fromPort"),
    ToPort: amount(given, "toPort"),
    ...(v4 === undefined ? {} : { IpRanges: [{ CidrIp: v4, Description }] }),
    ...(v6 === undefined ? {} : { Ipv6Ranges: [{ CidrIpv6: v6, Description }] }),
    ...(list === undefined ? {} : { PrefixListIds: [{ PrefixListId: list, Description }] }),
    ...(group === undefined ? {} : { UserIdGroupPairs: [{ GroupId: group, Description }] }),
  };
}

async function ruleState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const command = new ec2.DescribeSecurityGroupRulesCommand({ SecurityGroupRuleIds: [id] });
  const { SecurityGroupRules = [] } = await context.send(command);
  const [found = {}] = SecurityGroupRules;
  const everything = found.IpProtocol === "-1";
  const described = compact({
    securityGroupId: found.GroupId,
    securityGroupRuleId: id,
    ipProtocol: found.IpProtocol,
    fromPort: everything ? undefined : found.FromPort,
    toPort: everything ? undefined : found.ToPort,
    cidrIpv4: found.CidrIpv4,
    cidrIpv6: found.CidrIpv6,
    prefixListId: found.PrefixListId,
    referencedSecurityGroupId: found.ReferencedGroupInfo?.GroupId,
    description: found.Description,
  });
  return resourceState(context, { id, type: "security-group-rule", tags: found.Tags }, given, described);
}

export const securityGroupResources: readonly ResourceDefinition[] = [
  securityGroup,
  ruleResource(
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws_vpc_security_group_ingress_rule",
    "ingress",
  ),
  ruleResource(
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    "aws_vpc_security_group_egress_rule",
    "egress",
  ),
];
