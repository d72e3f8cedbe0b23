import { Operation } from "../../core/definitions";
import { bucketOperations } from "./bucket-operations";
import { listingOperations } from "./listing";
import { multipartOperations } from "./multipart-operations";
import { objectOperations } from "./object-operations";

export const operations: readonly Operation[] = [
  ...bucketOperations,
  ...objectOperations,
  ...multipartOperations,
  ...listingOperations,
];
