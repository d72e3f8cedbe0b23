import type { Cloud, Principal, ResourceContext } from "../core/definitions";
import { CommandRunner, commandResource } from "./command";
import { ProviderServer } from "./provider";
import type { InstalledService } from "../core/dispatcher";

export interface Providers {
  /** Ports on 127.0.0.1. */
  readonly ports: { readonly aws: number; readonly command: number };
}

/** Versions of the packages that the providers answer for, as the project declares them. */
const versions = { aws: "7.48.0", command: "1.2.1" };

/** Starts the providers `aws` and `command` for one cloud. They end with it. */
export async function startProviders(
  cloud: Cloud,
  principal: Principal,
  services: readonly InstalledService[],
  environment: () => Readonly<Record<string, string>>,
): Promise<Providers> {
  const context: Omit<ResourceContext, "made"> = {
    cloud,
    principal,
    send: (command) => cloud.send(principal, command),
  };
  const aws = new ProviderServer({
    name: "aws",
    version: versions.aws,
    resources: services.flatMap(({ service }) => service.resources),
    invokes: services.flatMap(({ service }) => service.invokes),
    context,
    configuration: awsConfiguration(cloud),
  });
  const runner = new CommandRunner(environment);
  const command = new ProviderServer({
    name: "command",
    version: versions.command,
    resources: [commandResource(runner)],
    invokes: [],
    context,
    configuration: {},
    cancel: () => runner.cancel(),
  });
  cloud.onClose(async () => {
    await runner.close();
    aws.close();
    command.close();
  });
  const [awsPort, commandPort] = await Promise.all([aws.listen(), command.listen()]);
  return { ports: { aws: awsPort, command: commandPort } };
}

type Rule = (value: string) => string | undefined;

/** The settings of the aws provider that mean something here, or that only say where the real one would look. */
function awsConfiguration(cloud: Cloud): Readonly<Record<string, Rule>> {
  const irrelevant: Rule = () => undefined;
  return {
    region: (region) =>
      region === cloud.region ? undefined : `The emulator has the Region ${cloud.region} only, not ${region}`,
    allowedAccountIds: (list) =>
      list.includes(cloud.account) ? undefined : `The emulator's account is ${cloud.account}, which is not allowed`,
    skipCredentialsValidation: irrelevant,
    skipMetadataApiCheck: irrelevant,
    skipRegionValidation: irrelevant,
    skipRequestingAccountId: irrelevant,
  };
}
