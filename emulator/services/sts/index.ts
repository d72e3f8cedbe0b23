import model = require("@aws-sdk/client-sts");
import { Install } from "../../core/definitions";
import { invokes } from "./invokes";
import { operations } from "./operations";

export const install: Install = () => ({
  signingName: "sts",
  protocol: "awsQuery",
  model,
  operations,
  resources: [],
  invokes,
});
