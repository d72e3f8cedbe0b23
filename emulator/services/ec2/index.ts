/**
 * EC2: the network, instances that really run, volumes and snapshots that really hold their files, and the replacement
 * of a root volume.
 */
import model = require("@aws-sdk/client-ec2");
import * as path from "node:path";
import type { Install } from "../../core/definitions";
import { attachmentOperations } from "./operations/attachments";
import { catalogOperations } from "./operations/catalog";
import { instanceOperations } from "./operations/instances";
import { networkOperations } from "./operations/network";
import { rootVolumeOperations } from "./operations/root-volumes";
import { securityGroupOperations } from "./operations/security-groups";
import { Storage, volumeOperations } from "./operations/volumes";
import { instanceResources } from "./resources/instance";
import { networkInvokes, networkResources } from "./resources/network";
import { securityGroupResources } from "./resources/security-groups";
import { Disks } from "./runtime/disks";
import { Fleet } from "./runtime/fleet";
import { Instances } from "./runtime/instances";
import { Ec2Store } from "./store";

export const install: Install = (cloud) => {
  const store = new Ec2Store();
  cloud.stores.ec2 = store;
  const disks = new Disks(path.join(cloud.directory, "ec2", "disks"));
  const fleet = new Fleet(cloud, disks, path.join(cloud.directory, "ec2", "instances"));
  const storage = new Storage(cloud, disks);
  const instances = new Instances(cloud, storage, fleet);
  store.runtime = { disks, fleet, storage, instances };
  return {
    signingName: "ec2",
    protocol: "ec2Query",
    model,
    operations: [
      ...networkOperations(cloud),
      ...securityGroupOperations(cloud),
      ...catalogOperations(cloud),
      ...instanceOperations(cloud, storage, instances),
      ...volumeOperations(cloud, storage, fleet),
      ...attachmentOperations(cloud, storage, fleet),
      ...rootVolumeOperations(cloud, storage, fleet),
    ],
    resources: [...networkResources, ...securityGroupResources, ...instanceResources],
    invokes: networkInvokes,
  };
};
