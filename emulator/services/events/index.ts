import model = require("@aws-sdk/client-eventbridge");
import { Install } from "../../core/definitions";
import { operations } from "./operations";
import { resources } from "./resources";
import { EventStore } from "./store";

export const install: Install = (cloud) => {
  const store = new EventStore(cloud);
  cloud.stores.events = store;
  cloud.listen((event) => store.deliver(event));
  return { signingName: "events", protocol: "awsJson1_1", model, operations, resources, invokes: [] };
};
