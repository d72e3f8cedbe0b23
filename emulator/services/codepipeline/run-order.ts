import type { ActionDeclaration } from "@aws-sdk/client-codepipeline";

/** The actions that run together, in the order of the groups. */
export function runOrderGroups(actions: readonly ActionDeclaration[]): ActionDeclaration[][] {
  const orders = [...new Set(actions.map(({ runOrder = 1 }) => runOrder))].sort((a, b) => a - b);
  return orders.map((order) => actions.filter(({ runOrder = 1 }) => runOrder === order));
}
