/** CloudWatch's metrics and alarms. Its logs and events are services of their own. */
import model = require("@aws-sdk/client-cloudwatch");
import type { Install } from "../../core/definitions";
import { alarmOperations } from "./alarms";
import { metricOperations } from "./metric-operations";
import { resources } from "./resources";
import { CloudWatchStore } from "./store";

export const install: Install = (cloud) => {
  const store = new CloudWatchStore(cloud);
  cloud.stores.cloudwatch = store;
  cloud.onClose(() => {
    for (const { ended } of store.alarms.values()) ended.abort();
  });
  return {
    signingName: "monitoring",
    // What the clients of 2026 speak; the form protocol of older ones is not.
    protocol: "awsJson1_0",
    model,
    operations: [...alarmOperations(store), ...metricOperations(store)],
    resources,
    invokes: [],
  };
};
