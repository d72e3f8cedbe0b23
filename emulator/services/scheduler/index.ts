import model = require("@aws-sdk/client-scheduler");
import { Install } from "../../core/definitions";
import { operations } from "./operations";
import { resources } from "./resources";
import { ScheduleStore } from "./store";

export const install: Install = (cloud) => {
  const store = new ScheduleStore(cloud);
  cloud.stores.scheduler = store;
  cloud.onClose(() => {
    for (const schedule of store.schedules.values()) schedule.ended.abort();
  });
  return { signingName: "scheduler", protocol: "restJson1", model, operations, resources, invokes: [] };
};
