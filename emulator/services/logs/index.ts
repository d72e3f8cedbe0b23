import model = require("@aws-sdk/client-cloudwatch-logs");
import { Install } from "../../core/definitions";
import { operations } from "./operations";
import { resources } from "./resources";
import { LogStore } from "./store";

export const install: Install = (cloud) => {
  cloud.stores.logs = new LogStore(cloud);
  return { signingName: "logs", protocol: "awsJson1_1", model, operations, resources, invokes: [] };
};
