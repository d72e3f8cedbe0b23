import model = require("@aws-sdk/client-iam");
import { Install } from "../../core/definitions";
import { operations } from "./operations";
import { resources } from "./resources";
import { IamStore } from "./store";

export const install: Install = (cloud) => {
  cloud.stores.iam = new IamStore();
  return { signingName: "iam", protocol: "awsQuery", model, operations, resources, invokes: [] };
};
