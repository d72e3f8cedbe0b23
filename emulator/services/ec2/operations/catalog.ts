/** What AWS itself brings: zones, images, instance types. And tags, which belong to everything. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Access, type Cloud, type Operation } from "../../../core/definitions";
import {
  applyFilters,
  ec2Arn,
  ec2Operation,
  isReserved,
  onePage,
  required,
  withoutResource,
  withTags,
  type FilterTable,
} from "../support";
import { zoneId, zones } from "./network";

/** The one image there is: Amazon Linux 2023. Its file system is `emulator/image` over the host's own. */
export const IMAGE_ID = "ami-0a1b2c3d4e5f60718";
export const ROOT_DEVICE = "/dev/xvda";
/** The size of the image's root volume in GiB. */
export const IMAGE_SIZE = 8;
/** AWS's own account for its images. */
const AMAZON = "137112412989";

export const amazonLinux: ec2.Image = {
  ImageId: IMAGE_ID,
  Name: "al2023-ami-2023.9.20251117.1-kernel-6.1-x86_64",
  Description: "Amazon Linux 2023 AMI 2023.9.20251117.1 x86_64 HVM kernel-6.1",
  ImageLocation: "amazon/al2023-ami-2023.9.20251117.1-kernel-6.1-x86_64",
  ImageOwnerAlias: "amazon",
  OwnerId: AMAZON,
  Architecture: "x86_64",
  ImageType: "machine",
  State: "available",
  Public: true,
  PlatformDetails: "Linux/UNIX",
  UsageOperation: "RunInstances",
  RootDeviceName: ROOT_DEVICE,
  RootDeviceType: "ebs",
  VirtualizationType: "hvm",
  Hypervisor: "xen",
  EnaSupport: true,
  SriovNetSupport: "simple",
  ImdsSupport: "v2.0",
  BootMode: "uefi-preferred",
  CreationDate: "2025-11-17T20:43:01.000Z",
  BlockDeviceMappings: [
    {
      DeviceName: ROOT_DEVICE,
      Ebs: {
        SnapshotId: "snap-0a1b2c3d4e5f60718",
        VolumeSize: IMAGE_SIZE,
        VolumeType: "gp3",
        DeleteOnTermination: true,
        Encrypted: false,
      },
    },
  ],
  Tags: [],
};

const imageFilters: FilterTable<ec2.Image> = {
  name: ({ Name }) => Name,
  architecture: ({ Architecture }) => Architecture,
  state: ({ State }) => State,
  "image-id": ({ ImageId }) => ImageId,
  "owner-alias": ({ ImageOwnerAlias }) => ImageOwnerAlias,
  "owner-id": ({ OwnerId }) => OwnerId,
  "root-device-type": ({ RootDeviceType }) => RootDeviceType,
  "virtualization-type": ({ VirtualizationType }) => VirtualizationType,
};

type Zone = ec2.AvailabilityZone & { Tags?: ec2.Tag[] };

const zoneFilters: FilterTable<Zone> = {
  "zone-name": ({ ZoneName }) => ZoneName,
  "zone-id": ({ ZoneId }) => ZoneId,
  "zone-type": ({ ZoneType }) => ZoneType,
  state: ({ State }) => State,
  "region-name": ({ RegionName }) => RegionName,
  "opt-in-status": ({ OptInStatus }) => OptInStatus,
  "group-name": ({ GroupName }) => GroupName,
};

export function catalogOperations(cloud: Cloud): Operation[] {
  const store = cloud.stores.ec2;
  return [
    ec2Operation<ec2.DescribeAvailabilityZonesCommandInput, ec2.DescribeAvailabilityZonesCommandOutput>({
      name: "DescribeAvailabilityZones",
      honours: ["Filters", "ZoneNames"],
      authorize: withoutResource("DescribeAvailabilityZones"),
      handle: ({ Filters, ZoneNames }) => {
        const known = zones(cloud).map((name) => describeZone(cloud, name));
        const named =
          ZoneNames === undefined ? known : known.filter(({ ZoneName = "" }) => ZoneNames.includes(ZoneName));
        return { AvailabilityZones: applyFilters(named, Filters, zoneFilters) };
      },
    }),
    ec2Operation<ec2.DescribeImagesCommandInput, ec2.DescribeImagesCommandOutput>({
      name: "DescribeImages",
      honours: ["ImageIds", "Owners", "Filters", "IncludeDeprecated", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeImages"),
      handle: (input) => {
        for (const id of input.ImageIds ?? []) checkImage(id);
        const owned =
          input.Owners === undefined || input.Owners.some((owner) => owner === "amazon" || owner === AMAZON);
        const { items, NextToken } = onePage(
          applyFilters(owned ? [amazonLinux] : [], input.Filters, imageFilters),
          input,
        );
        return { Images: items, NextToken };
      },
    }),
    ec2Operation<ec2.CreateTagsCommandInput, ec2.CreateTagsCommandOutput>({
      name: "CreateTags",
      honours: ["Resources", "Tags"],
      authorize: ({ Resources = [], Tags = [] }) => Resources.map((id) => onTags(cloud, "CreateTags", id, Tags)),
      handle: ({ Resources, Tags }) => {
        const records = required(Resources, "Resources").map((id) => taggedOrThrow(cloud, id));
        // All or none.
        const tags = records.map((record) => withTags(record.Tags ?? [], required(Tags, "Tags")));
        records.forEach((record, index) => (record.Tags = tags[index]));
        return {};
      },
    }),
    ec2Operation<ec2.DeleteTagsCommandInput, ec2.DeleteTagsCommandOutput>({
      name: "DeleteTags",
      honours: ["Resources", "Tags"],
      authorize: ({ Resources = [], Tags = [] }) => Resources.map((id) => onTags(cloud, "DeleteTags", id, Tags)),
      handle: ({ Resources, Tags }) => {
        if (Tags?.some(({ Key = "" }) => isReserved(Key))) {
          throw new AwsError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use");
        }
        for (const id of required(Resources, "Resources")) {
          const record = taggedOrThrow(cloud, id);
          const matches = (tag: ec2.Tag): boolean =>
            (Tags === undefined && !isReserved(tag.Key ?? "")) ||
            Tags?.some(({ Key, Value }) => Key === tag.Key && (Value ?? tag.Value) === tag.Value) === true;
          record.Tags = (record.Tags ?? []).filter((tag) => !matches(tag));
        }
        return {};
      },
    }),
  ];

  function taggedOrThrow(of: Cloud, id: string): { Tags?: ec2.Tag[] | undefined } {
    const record = of.stores.ec2.tagged(id);
    if (record !== undefined) return record;
    throw new AwsError("InvalidID", `The ID '${id}' is not valid`);
  }

  function onTags(of: Cloud, action: string, id: string, tags: readonly ec2.Tag[]): Access {
    const existing = (store.tagged(id)?.Tags ?? []).flatMap(({ Key = "", Value = "" }) => [
      [`aws:ResourceTag/${Key}`, Value] as const,
      [`ec2:ResourceTag/${Key}`, Value] as const,
    ]);
    const requested = tags.map(({ Key = "", Value = "" }) => [`aws:RequestTag/${Key}`, Value] as const);
    const context = Object.fromEntries([...existing, ...requested]);
    const keys = { "aws:TagKeys": tags.map(({ Key = "" }) => Key) };
    return { action: `ec2:${action}`, resource: ec2Arn(of, typeOfId(id), id), context: { ...context, ...keys } };
  }
}

const TYPES: Readonly<Record<string, string>> = {
  vpc: "vpc",
  subnet: "subnet",
  igw: "internet-gateway",
  eipalloc: "elastic-ip",
  nat: "natgateway",
  rtb: "route-table",
  vpce: "vpc-endpoint",
  sg: "security-group",
  sgr: "security-group-rule",
  i: "instance",
  vol: "volume",
  snap: "snapshot",
  replacevol: "replace-root-volume-task",
};

function typeOfId(id: string): string {
  return TYPES[id.slice(0, id.indexOf("-"))] ?? "*";
}

/** Refuses an image that is not there. */
export function checkImage(id: string): void {
  if (id !== IMAGE_ID) throw new AwsError("InvalidAMIID.NotFound", `The image id '[${id}]' does not exist`);
}

function describeZone(cloud: Cloud, name: string): Zone {
  return {
    ZoneName: name,
    ZoneId: zoneId(cloud, name),
    ZoneType: "availability-zone",
    RegionName: cloud.region,
    GroupName: `${cloud.region}-zg-1`,
    NetworkBorderGroup: cloud.region,
    OptInStatus: "opt-in-not-required",
    State: "available",
    Messages: [],
  };
}
