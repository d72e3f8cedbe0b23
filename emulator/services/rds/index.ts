/** RDS for PostgreSQL: every DB instance is a real cluster with TLS, whose master is no superuser. */
import * as model from "@aws-sdk/client-rds";
import type { Install } from "../../core/definitions";
import { rdsOperations } from "./operations";
import { resources } from "./resources";
import { RdsStore } from "./store";

export const install: Install = (cloud) => {
  const store = new RdsStore(cloud);
  cloud.stores.rds = store;
  cloud.onClose(async () => {
    const removals = [...store.instances.values()].map(async (record) => {
      await record.created.catch(() => undefined);
      await record.cluster?.remove();
    });
    await Promise.all(removals);
  });
  return {
    signingName: "rds",
    protocol: "awsQuery",
    model,
    operations: rdsOperations(cloud, store),
    resources,
    invokes: [],
  };
};
