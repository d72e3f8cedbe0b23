/** CloudWatch alarms that must be OK. */
import type { Clients } from "../clients";
import { Failure } from "../failure";

/**
 * The alarms that are not OK. Not enough data is: many alarms have data only while something is wrong.
 *
 * @throws Failure when CloudWatch does not know one of them: an alarm that is not there guards nothing
 */
export async function unwellAlarms(clients: Clients, names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return [];
  const { DescribeAlarmsCommand } = await import("@aws-sdk/client-cloudwatch");
  const client = await clients.cloudwatch();
  const states = new Map<string, string>();
  let token: string | undefined;
  do {
    const page = await client.send(
      new DescribeAlarmsCommand({
        AlarmNames: [...names],
        AlarmTypes: ["MetricAlarm", "CompositeAlarm"],
        ...(token === undefined ? {} : { NextToken: token }),
      }),
    );
    for (const { AlarmName, StateValue } of [...(page.MetricAlarms ?? []), ...(page.CompositeAlarms ?? [])]) {
      states.set(AlarmName ?? "", StateValue ?? "");
    }
    token = page.NextToken;
  } while (token !== undefined && token !== "");
  const missing = names.filter((name) => !states.has(name));
  if (missing.length > 0) throw new Failure(`CloudWatch knows no alarm ${missing.join(", ")}`);
  return names.filter((name) => !["OK", "INSUFFICIENT_DATA"].includes(states.get(name) ?? ""));
}
