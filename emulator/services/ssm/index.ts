/** Systems Manager: parameters, and Run Command on instances. */
import model = require("@aws-sdk/client-ssm");
import type { Install } from "../../core/definitions";
import { parameterInvokes, parameterOperations, parameterResources } from "./parameters";
import { runCommandOperations } from "./run-command";

export const install: Install = (cloud) => ({
  signingName: "ssm",
  protocol: "awsJson1_1",
  model,
  operations: [...parameterOperations(cloud), ...runCommandOperations(cloud)],
  resources: parameterResources,
  invokes: parameterInvokes,
});
