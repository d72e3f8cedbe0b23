import model = require("@aws-sdk/client-s3");
import { Install } from "../../core/definitions";
import { operations } from "./operations";
import { resources } from "./resources";
import { S3Store } from "./store";

export const install: Install = (cloud) => {
  cloud.stores.s3 = new S3Store(cloud);
  return { signingName: "s3", protocol: "restXml", model, operations, resources, invokes: [] };
};
