import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import type { Site } from "./policies";

/** Partition, Region and account of the provider that the given resource uses. */
export function currentSite(parent: pulumi.Resource): pulumi.Output<Site> {
  const identity = aws.getCallerIdentityOutput({}, { parent });
  const region = aws.getRegionOutput({}, { parent });
  return pulumi.all([identity, region]).apply(([caller, { region: name }]) => ({
    // arn:<partition>:sts::<account>:...
    partition: caller.arn.split(":")[1] ?? "aws",
    region: name,
    account: caller.accountId,
  }));
}
