/** The `aws:scheduler/schedule` resource type. */
import {
  CreateScheduleCommand,
  DeleteScheduleCommand,
  FlexibleTimeWindow,
  GetScheduleCommand,
  GetScheduleCommandOutput,
  Target,
  UpdateScheduleCommand,
} from "@aws-sdk/client-scheduler";
import { Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, block, compact, required, text, unless } from "../properties";

const gone = ["ResourceNotFoundException"];

const schedule: ResourceDefinition = {
  type: "aws:scheduler/schedule:Schedule",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_scheduler_schedule: name, Forces new resource",
      autoname: { maxLength: 64 },
    },
    groupName: { replaceOn: "terraform-provider-aws, aws_scheduler_schedule: group_name, Forces new resource" },
    scheduleExpression: {},
    scheduleExpressionTimezone: {},
    startDate: {},
    endDate: {},
    description: {},
    state: {},
    flexibleTimeWindow: {},
    target: {},
    actionAfterCompletion: {},
  },
  create: async (inputs, context) => {
    const created = await context.send(new CreateScheduleCommand(scheduleInput(inputs)));
    return scheduleState(inputs, created.ScheduleArn, context);
  },
  read: async (id, state, context) => {
    const name = id.slice(id.indexOf("/") + 1);
    const found = await unless(gone, context.send(new GetScheduleCommand({ Name: name })));
    return found && scheduleState({ ...state, ...scheduleProperties(state, found) }, found.Arn, context);
  },
  update: async (_id, news, _olds, context) => {
    const updated = await context.send(new UpdateScheduleCommand(scheduleInput(news)));
    return scheduleState(news, updated.ScheduleArn, context);
  },
  delete: async (id, _state, context) => {
    const name = id.slice(id.indexOf("/") + 1);
    await unless(gone, context.send(new DeleteScheduleCommand({ Name: name })));
  },
};

function scheduleInput(inputs: Properties) {
  const window = block(inputs, "flexibleTimeWindow") ?? {};
  const [start, end] = [text(inputs, "startDate"), text(inputs, "endDate")];
  return {
    Name: required(inputs, "name"),
    GroupName: text(inputs, "groupName"),
    ScheduleExpression: required(inputs, "scheduleExpression"),
    ScheduleExpressionTimezone: text(inputs, "scheduleExpressionTimezone"),
    StartDate: start === undefined ? undefined : new Date(start),
    EndDate: end === undefined ? undefined : new Date(end),
    Description: text(inputs, "description"),
    State: text(inputs, "state") as "ENABLED" | undefined,
    FlexibleTimeWindow: {
      Mode: required(window, "mode") as FlexibleTimeWindow["Mode"],
      MaximumWindowInMinutes: amount(window, "maximumWindowInMinutes"),
    },
    Target: targetInput(block(inputs, "target") ?? {}),
    ActionAfterCompletion: text(inputs, "actionAfterCompletion") as "NONE" | undefined,
  };
}

const targetMembers = ["arn", "roleArn", "input", "retryPolicy"];

function targetInput(target: Properties): Target {
  const other = Object.keys(target).find((name) => !targetMembers.includes(name));
  if (other !== undefined) throw new Error(`NotImplemented: aws:scheduler/schedule:Schedule target.${other}`);
  const retry = block(target, "retryPolicy");
  return {
    Arn: required(target, "arn"),
    RoleArn: required(target, "roleArn"),
    Input: text(target, "input"),
    ...(retry && {
      RetryPolicy: {
        MaximumEventAgeInSeconds: amount(retry, "maximumEventAgeInSeconds"),
        MaximumRetryAttempts: amount(retry, "maximumRetryAttempts"),
      },
    }),
  };
}

function scheduleProperties(state: Properties, found: GetScheduleCommandOutput): Properties {
  const { FlexibleTimeWindow: window, Target: target } = found;
  const retry = target?.RetryPolicy;
  return {
    name: found.Name,
    groupName: found.GroupName,
    scheduleExpression: found.ScheduleExpression,
    scheduleExpressionTimezone: found.ScheduleExpressionTimezone,
    startDate: dateOf(state.startDate, found.StartDate),
    endDate: dateOf(state.endDate, found.EndDate),
    actionAfterCompletion: found.ActionAfterCompletion,
    ...(state.state !== undefined || found.State !== "ENABLED" ? { state: found.State } : {}),
    description: found.Description,
    flexibleTimeWindow: compact({ mode: window?.Mode, maximumWindowInMinutes: window?.MaximumWindowInMinutes }),
    target: compact({
      arn: target?.Arn,
      roleArn: target?.RoleArn,
      input: target?.Input,
      retryPolicy:
        retry &&
        compact({
          maximumEventAgeInSeconds: retry.MaximumEventAgeInSeconds,
          maximumRetryAttempts: retry.MaximumRetryAttempts,
        }),
    }),
  };
}

/** A date as the program wrote it, as long as it means the same. */
function dateOf(written: unknown, actual: Date | undefined): unknown {
  const same = typeof written === "string" && new Date(written).getTime() === actual?.getTime();
  return same ? written : actual?.toISOString();
}

function scheduleState(state: Properties, arn: string | undefined, { cloud }: ResourceContext) {
  return {
    id: `default/${required(state, "name")}`,
    outputs: {
      groupName: "default",
      scheduleExpressionTimezone: "UTC",
      state: "ENABLED",
      actionAfterCompletion: "NONE",
      ...state,
      arn,
      region: cloud.region,
    },
  };
}

export const resources: readonly ResourceDefinition[] = [schedule];
