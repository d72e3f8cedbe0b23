/** What programs ask of the account and the Region: `aws.getCallerIdentity()` and its siblings. */
import { GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import { InvokeDefinition } from "../../core/definitions";
import { text } from "../properties";

const getCallerIdentity: InvokeDefinition = {
  token: "aws:index/getCallerIdentity:getCallerIdentity",
  invoke: async (_args, context) => {
    const { Account, Arn, UserId } = await context.send(new GetCallerIdentityCommand({}));
    return { id: Account, accountId: Account, arn: Arn, userId: UserId };
  },
};

const getRegion: InvokeDefinition = {
  token: "aws:index/getRegion:getRegion",
  invoke: (args, { cloud }) => {
    const { region } = cloud;
    const asked = text(args, "region") ?? text(args, "name") ?? region;
    if (asked !== region)
      return Promise.reject(new Error(`The Region ${asked} is not emulated: there is only ${region}`));
    const description = region === "us-east-1" ? "US East (N. Virginia)" : region;
    return Promise.resolve({
      id: region,
      region,
      // Deprecated in favour of `region`.
      name: region,
      endpoint: `ec2.${region}.amazonaws.com`,
      description,
    });
  },
};

const getPartition: InvokeDefinition = {
  token: "aws:index/getPartition:getPartition",
  invoke: (_args, { cloud }) =>
    Promise.resolve({
      id: cloud.partition,
      partition: cloud.partition,
      dnsSuffix: "amazonaws.com",
      reverseDnsPrefix: "com.amazonaws",
    }),
};

export const invokes: readonly InvokeDefinition[] = [getCallerIdentity, getRegion, getPartition];
