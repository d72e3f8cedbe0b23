/** RDS for PostgreSQL: every DB instance is a real cluster with TLS, whose master is no superuser. */
import model = require("@aws-sdk/client-rds");
import type { Install } from "../../core/definitions";
import { Instances } from "./instances";
import { rdsOperations } from "./operations";
import { resources } from "./resources";
import { RdsStore } from "./store";

export const install: Install = (cloud) => {
  const store = new RdsStore(cloud);
  const instances = new Instances(cloud, store);
  cloud.stores.rds = store;
  cloud.stores.secretsmanager.rotators.set("rds", (secret, version) => instances.rotate(secret, version));
  cloud.faults.breakable("rds.network", ({ instance }) => {
    const { cluster } = store.instance(instance);
    cluster?.freeze();
    return () => cluster?.thaw();
  });
  cloud.onClose(async () => {
    const removals = [...store.instances.values()].map(async (record) => {
      record.ended.abort();
      await record.created.catch(() => undefined);
      await record.cluster?.remove();
    });
    await Promise.all(removals);
  });
  return {
    signingName: "rds",
    protocol: "awsQuery",
    model,
    operations: rdsOperations(cloud, store, instances),
    resources,
    invokes: [],
  };
};
