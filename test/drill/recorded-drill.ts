/**
 * Runs one drill and validates the input of every AWS call in it against AWS's own models. Prints one JSON object:
 * `{passed, calls, operations, violations}`. A process of its own, because a drill takes over its environment.
 */
import { Interruption } from "../../automation/drill/interruption";
import { runDrill } from "../../automation/drill/drill";
import { scenarioOf } from "../../automation/drill/scenario";
import { readSetup } from "../../automation/setup";
import { violations } from "../support/aws-models";

async function main(engine: "elastio" | "aws"): Promise<void> {
  const interruption = new Interruption(() => undefined);
  const found = new Set<string>();
  const operations = new Set<string>();
  let count = 0;
  const report = await runDrill({
    engine,
    scenario: scenarioOf({ engine }),
    keep: false,
    setup: readSetup(),
    screen: { show: () => undefined, say: () => undefined, close: () => undefined },
    interruption,
    goOn: async () => undefined,
    onReport: async () => undefined,
    shown: () => "",
    onCalls: (calls) => {
      count = calls.length;
      for (const { service, operation, input, error } of calls) {
        operations.add(`${service} ${operation}`);
        // What was refused for its input was found already.
        if (error?.code === "ValidationException") found.add(`${service} ${operation}: ${error.message}`);
        for (const each of violations(service, operation, input)) found.add(each);
      }
    },
  });
  interruption.close();
  const result = { passed: report.passed, calls: count, operations: operations.size, violations: [...found] };
  process.stdout.write(JSON.stringify(result));
}

void main(process.argv[2] === "aws" ? "aws" : "elastio");
