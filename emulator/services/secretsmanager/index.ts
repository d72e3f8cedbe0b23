import model = require("@aws-sdk/client-secrets-manager");
import { Install } from "../../core/definitions";
import { operations } from "./operations";
import { invokes, resources } from "./resources";
import { SecretStore } from "./store";

export const install: Install = (cloud) => {
  cloud.stores.secretsmanager = new SecretStore(cloud);
  return { signingName: "secretsmanager", protocol: "awsJson1_1", model, operations, resources, invokes };
};
