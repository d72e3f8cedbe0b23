/** Security groups and their rules. `runtime/firewall.ts` tells what they do. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Cloud, type Operation } from "../../../core/definitions";
import { parseCidr } from "../cidr";
import type { Ec2Store, SecurityGroupRecord } from "../store";
import {
  applyFilters,
  ec2Arn,
  ec2Operation,
  newId,
  onNewResource,
  onePage,
  onResource,
  required,
  tagsFor,
  withoutResource,
  type FilterTable,
} from "../support";

const groupFilters: FilterTable<SecurityGroupRecord> = {
  "group-id": ({ GroupId }) => GroupId,
  "group-name": ({ GroupName }) => GroupName,
  "vpc-id": ({ VpcId }) => VpcId,
  description: ({ Description }) => Description,
};

const ruleFilters: FilterTable<ec2.SecurityGroupRule> = {
  "group-id": ({ GroupId }) => GroupId,
  "security-group-rule-id": ({ SecurityGroupRuleId }) => SecurityGroupRuleId,
};

type Authorization = Pick<
  ec2.AuthorizeSecurityGroupIngressCommandInput,
  "GroupId" | "IpPermissions" | "TagSpecifications"
>;
type Revocation = Pick<
  ec2.RevokeSecurityGroupIngressCommandInput,
  "GroupId" | "IpPermissions" | "SecurityGroupRuleIds"
>;

export function securityGroupOperations(cloud: Cloud): Operation[] {
  const store = cloud.stores.ec2;
  const onGroup = (action: string, id: string) =>
    onResource(cloud, action, "security-group", id, store.securityGroups.find(id));
  const authorizeRules = (action: string) => (input: Authorization) => [
    onGroup(action, input.GroupId ?? ""),
    ...onNewResource(cloud, action, "security-group-rule", input.TagSpecifications),
  ];
  const addRules = (
    input: Authorization,
    egress: boolean,
  ): { Return: boolean; SecurityGroupRules: ec2.SecurityGroupRule[] } => {
    const group = store.securityGroups.get(required(input.GroupId, "GroupId"));
    const wanted = rulesIn(cloud, group.GroupId, input.IpPermissions, egress);
    if (wanted.length === 0)
      throw new AwsError("MissingParameter", "The request must contain the parameter ipPermissions");
    for (const rule of wanted) refuseDuplicate(store, rule);
    const tags = tagsFor("security-group-rule", input.TagSpecifications) ?? [];
    const added = wanted.map((rule) => addRule(cloud, store, { ...rule, Tags: tags }));
    return { Return: true, SecurityGroupRules: added };
  };
  const removeRules = (input: Revocation, egress: boolean): { Return: boolean } => {
    const group = store.securityGroups.get(required(input.GroupId, "GroupId"));
    const named = (input.SecurityGroupRuleIds ?? []).map((id) => store.rules.get(id));
    const described = rulesIn(cloud, group.GroupId, input.IpPermissions, egress).map((rule) => existing(store, rule));
    if (described.includes(undefined)) {
      throw new AwsError("InvalidPermission.NotFound", "The specified rule does not exist in this security group.");
    }
    for (const rule of [...named, ...described]) store.rules.delete(rule?.SecurityGroupRuleId ?? "");
    return { Return: true };
  };
  return [
    ec2Operation<ec2.CreateSecurityGroupCommandInput, ec2.CreateSecurityGroupCommandOutput>({
      name: "CreateSecurityGroup",
      honours: ["GroupName", "Description", "VpcId", "TagSpecifications"],
      authorize: ({ VpcId = "", TagSpecifications }) => [
        onResource(cloud, "CreateSecurityGroup", "vpc", VpcId, store.vpcs.find(VpcId)),
        ...onNewResource(cloud, "CreateSecurityGroup", "security-group", TagSpecifications),
      ],
      handle: (input) => {
        const tags = tagsFor("security-group", input.TagSpecifications) ?? [];
        const group = newGroup(cloud, store, input, tags);
        return { GroupId: group.GroupId, SecurityGroupArn: group.SecurityGroupArn, Tags: tags };
      },
    }),
    ec2Operation<ec2.DescribeSecurityGroupsCommandInput, ec2.DescribeSecurityGroupsCommandOutput>({
      name: "DescribeSecurityGroups",
      honours: ["GroupIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeSecurityGroups"),
      handle: (input) => {
        const found = applyFilters(store.securityGroups.select(input.GroupIds), input.Filters, groupFilters);
        const { items, NextToken } = onePage(found, input);
        return { SecurityGroups: items.map((group) => describeGroup(store, group)), NextToken };
      },
    }),
    ec2Operation<ec2.DeleteSecurityGroupCommandInput, ec2.DeleteSecurityGroupCommandOutput>({
      name: "DeleteSecurityGroup",
      honours: ["GroupId"],
      authorize: ({ GroupId = "" }) => [onGroup("DeleteSecurityGroup", GroupId)],
      handle: ({ GroupId }) => deleteGroup(store, required(GroupId, "GroupId")),
    }),
    ec2Operation<ec2.DescribeSecurityGroupRulesCommandInput, ec2.DescribeSecurityGroupRulesCommandOutput>({
      name: "DescribeSecurityGroupRules",
      honours: ["SecurityGroupRuleIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeSecurityGroupRules"),
      handle: (input) => {
        const found = applyFilters(store.rules.select(input.SecurityGroupRuleIds), input.Filters, ruleFilters);
        const { items, NextToken } = onePage(found, input);
        return { SecurityGroupRules: items, NextToken };
      },
    }),
    ec2Operation<ec2.AuthorizeSecurityGroupIngressCommandInput, ec2.AuthorizeSecurityGroupIngressCommandOutput>({
      name: "AuthorizeSecurityGroupIngress",
      honours: ["GroupId", "IpPermissions", "TagSpecifications"],
      authorize: authorizeRules("AuthorizeSecurityGroupIngress"),
      handle: (input) => addRules(input, false),
    }),
    ec2Operation<ec2.AuthorizeSecurityGroupEgressCommandInput, ec2.AuthorizeSecurityGroupEgressCommandOutput>({
      name: "AuthorizeSecurityGroupEgress",
      honours: ["GroupId", "IpPermissions", "TagSpecifications"],
      authorize: authorizeRules("AuthorizeSecurityGroupEgress"),
      handle: (input) => addRules(input, true),
    }),
    ec2Operation<ec2.RevokeSecurityGroupIngressCommandInput, ec2.RevokeSecurityGroupIngressCommandOutput>({
      name: "RevokeSecurityGroupIngress",
      honours: ["GroupId", "IpPermissions", "SecurityGroupRuleIds"],
      authorize: ({ GroupId = "" }) => [onGroup("RevokeSecurityGroupIngress", GroupId)],
      handle: (input) => removeRules(input, false),
    }),
    ec2Operation<ec2.RevokeSecurityGroupEgressCommandInput, ec2.RevokeSecurityGroupEgressCommandOutput>({
      name: "RevokeSecurityGroupEgress",
      honours: ["GroupId", "IpPermissions", "SecurityGroupRuleIds"],
      authorize: ({ GroupId = "" }) => [onGroup("RevokeSecurityGroupEgress", GroupId)],
      handle: (input) => removeRules(input, true),
    }),
  ];
}

/** A new group; like every group of a VPC, it starts with a rule that lets everything out. */
export function newGroup(
  cloud: Cloud,
  store: Ec2Store,
  input: { GroupName?: string | undefined; Description?: string | undefined; VpcId?: string | undefined },
  tags: ec2.Tag[],
): SecurityGroupRecord {
  const name = required(input.GroupName, "GroupName");
  const vpc = store.vpcs.get(required(input.VpcId, "VpcId"));
  checkGroupName(name, required(input.Description, "GroupDescription"));
  if (store.securityGroups.all().some((group) => group.VpcId === vpc.VpcId && group.GroupName === name)) {
    const message = `The security group '${name}' already exists for VPC '${vpc.VpcId}'`;
    throw new AwsError("InvalidGroup.Duplicate", message);
  }
  const id = newId("sg");
  const group = store.securityGroups.add(id, {
    GroupId: id,
    GroupName: name,
    Description: input.Description,
    VpcId: vpc.VpcId,
    OwnerId: cloud.account,
    SecurityGroupArn: ec2Arn(cloud, "security-group", id),
    Tags: tags,
  });
  addRule(cloud, store, {
    GroupId: id,
    IsEgress: true,
    IpProtocol: "-1",
    FromPort: -1,
    ToPort: -1,
    CidrIpv4: "0.0.0.0/0",
  });
  return group;
}

function checkGroupName(name: string, description: string): void {
  const allowed = /^[a-zA-Z0-9 ._\-:/()#,@[\]+=&;{}!$*]{1,255}$/;
  for (const [parameter, value] of [
    ["groupName", name],
    ["groupDescription", description],
  ] as const) {
    if (allowed.test(value)) continue;
    const message = `Value (${value}) for parameter ${parameter} is invalid. Character sets beyond ASCII are not supported.`;
    throw new AwsError("InvalidParameterValue", message);
  }
  if (name.startsWith("sg-")) {
    throw new AwsError(
      "InvalidParameterValue",
      `Value (${name}) for parameter groupName is invalid. Group names may not be in the format sg-*.`,
    );
  }
}

function addRule(cloud: Cloud, store: Ec2Store, rule: ec2.SecurityGroupRule): ec2.SecurityGroupRule {
  const id = newId("sgr");
  const arn = ec2Arn(cloud, "security-group-rule", id);
  return store.rules.add(id, {
    SecurityGroupRuleId: id,
    SecurityGroupRuleArn: arn,
    GroupOwnerId: cloud.account,
    ...rule,
    Tags: rule.Tags ?? [],
  });
}

/** One rule per range or group that the permissions name. */
function rulesIn(
  cloud: Cloud,
  groupId: string,
  permissions: readonly ec2.IpPermission[] | undefined,
  egress: boolean,
): ec2.SecurityGroupRule[] {
  return (permissions ?? []).flatMap((permission) => {
    const { IpProtocol, FromPort, ToPort } = permission;
    const everything = IpProtocol === "-1";
    const shared = {
      GroupId: groupId,
      IsEgress: egress,
      IpProtocol: required(IpProtocol, "ipPermissions.1.ipProtocol"),
      FromPort: everything ? -1 : required(FromPort, "ipPermissions.1.fromPort"),
      ToPort: everything ? -1 : required(ToPort, "ipPermissions.1.toPort"),
    };
    const ranges = (permission.IpRanges ?? []).map(({ CidrIp, Description }) => ({
      ...shared,
      CidrIpv4: parseCidr(required(CidrIp, "cidrIp")).text,
      Description,
    }));
    const ranges6 = (permission.Ipv6Ranges ?? []).map(({ CidrIpv6, Description }) => ({
      ...shared,
      CidrIpv6,
      Description,
    }));
    const groups = (permission.UserIdGroupPairs ?? []).map(({ GroupId, Description }) => ({
      ...shared,
      ReferencedGroupInfo: {
        GroupId: cloud.stores.ec2.securityGroups.get(required(GroupId, "groupId")).GroupId,
        UserId: cloud.account,
      },
      Description,
    }));
    const lists = (permission.PrefixListIds ?? []).map(({ PrefixListId, Description }) => ({
      ...shared,
      PrefixListId,
      Description,
    }));
    return [...ranges, ...ranges6, ...groups, ...lists];
  });
}

function ruleKey(rule: ec2.SecurityGroupRule): string {
  const peer = rule.CidrIpv4 ?? rule.CidrIpv6 ?? rule.PrefixListId ?? rule.ReferencedGroupInfo?.GroupId;
  return [rule.GroupId, rule.IsEgress, rule.IpProtocol, rule.FromPort, rule.ToPort, peer].join(" ");
}

function existing(store: Ec2Store, rule: ec2.SecurityGroupRule): ec2.SecurityGroupRule | undefined {
  const key = ruleKey(rule);
  return store.rulesOf(rule.GroupId ?? "").find((other) => ruleKey(other) === key);
}

function refuseDuplicate(store: Ec2Store, rule: ec2.SecurityGroupRule): void {
  if (existing(store, rule) === undefined) return;
  const peer = rule.CidrIpv4 ?? rule.CidrIpv6 ?? rule.PrefixListId ?? rule.ReferencedGroupInfo?.GroupId ?? "";
  const message = `the specified rule "peer: ${peer}, ${rule.IpProtocol}, from port: ${rule.FromPort}, to port: ${rule.ToPort}, ALLOW" already exists`;
  throw new AwsError("InvalidPermission.Duplicate", message);
}

function describeGroup(store: Ec2Store, group: SecurityGroupRecord): ec2.SecurityGroup {
  const rules = store.rulesOf(group.GroupId);
  const permissions = (egress: boolean): ec2.IpPermission[] =>
    rules.filter(({ IsEgress }) => IsEgress === egress).map((rule) => describePermission(rule));
  return { ...group, IpPermissions: permissions(false), IpPermissionsEgress: permissions(true) };
}

function describePermission(rule: ec2.SecurityGroupRule): ec2.IpPermission {
  const { CidrIpv4, CidrIpv6, PrefixListId, ReferencedGroupInfo, Description } = rule;
  const ports = rule.IpProtocol === "-1" ? {} : { FromPort: rule.FromPort, ToPort: rule.ToPort };
  return {
    IpProtocol: rule.IpProtocol,
    ...ports,
    IpRanges: CidrIpv4 === undefined ? [] : [{ CidrIp: CidrIpv4, Description }],
    Ipv6Ranges: CidrIpv6 === undefined ? [] : [{ CidrIpv6, Description }],
    PrefixListIds: PrefixListId === undefined ? [] : [{ PrefixListId, Description }],
    UserIdGroupPairs:
      ReferencedGroupInfo === undefined
        ? []
        : [{ GroupId: ReferencedGroupInfo.GroupId, UserId: ReferencedGroupInfo.UserId, Description }],
  };
}

function deleteGroup(store: Ec2Store, id: string): { Return: boolean; GroupId: string } {
  const group = store.securityGroups.get(id);
  if (group.GroupName === "default") {
    throw new AwsError("CannotDelete", `the specified group: "${id}" name: "default" cannot be deleted by a user`);
  }
  const used = store.liveInstances().some(({ securityGroupIds }) => securityGroupIds.includes(id));
  const foreign = store.rules.all().filter((rule) => rule.ReferencedGroupInfo?.GroupId === id && rule.GroupId !== id);
  if (used || foreign.length > 0) {
    throw new AwsError("DependencyViolation", `resource ${id} has a dependent object`);
  }
  for (const rule of store.rulesOf(id)) store.rules.delete(rule.SecurityGroupRuleId ?? "");
  store.securityGroups.delete(id);
  return { Return: true, GroupId: id };
}
