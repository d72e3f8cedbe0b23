import * as pulumi from "@pulumi/pulumi";

/**
 * The part of a component's arguments that is known when the program runs, to show in the state. Children wait for
 * their component's inputs: with an output among them, everything in a component would wait for what only one of its
 * children needs (a bucket for a database that takes ten minutes).
 */
export function knownInputs(args: object): pulumi.Inputs {
  return known(args) as pulumi.Inputs;
}

function known(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return typeof value === "function" ? undefined : value;
  if (pulumi.Output.isInstance(value) || value instanceof Promise || pulumi.Resource.isInstance(value))
    return undefined;
  if (Array.isArray(value)) return value.map(known).filter((each) => each !== undefined);
  const members = Object.entries(value).map(([name, member]) => [name, known(member)] as const);
  return Object.fromEntries(members.filter(([, member]) => member !== undefined));
}
