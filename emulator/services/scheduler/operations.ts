import {
  CreateScheduleCommandInput,
  CreateScheduleCommandOutput,
  DeleteScheduleCommandInput,
  DeleteScheduleCommandOutput,
  GetScheduleCommandInput,
  GetScheduleCommandOutput,
  UpdateScheduleCommandInput,
  UpdateScheduleCommandOutput,
} from "@aws-sdk/client-scheduler";
import { Access, AwsError, Call, notImplemented, Operation, operation } from "../../core/definitions";
import { checkRetryPolicy } from "../events/invocation";
import { scheduleExpression } from "./schedule-expression";
import { checkTarget, Schedule, ScheduleStore } from "./store";

const scheduleMembers = [
  "Name",
  "GroupName",
  "ScheduleExpression",
  "ScheduleExpressionTimezone",
  "StartDate",
  "EndDate",
  "Description",
  "State",
  "Target.Arn",
  "Target.RoleArn",
  "Target.Input",
  "Target.RetryPolicy",
  "FlexibleTimeWindow",
  "ActionAfterCompletion",
  "ClientToken",
];

const createSchedule = operation<CreateScheduleCommandInput, CreateScheduleCommandOutput>({
  name: "CreateSchedule",
  honours: scheduleMembers,
  authorize: (input, call) => [...onSchedule(call, input.Name, "CreateSchedule"), ...passRole(input)],
  handle: (input, call) => {
    const store = storeOf(call);
    defaultGroup(input.GroupName);
    const existing = store.schedules.get(input.Name ?? "");
    // A client that repeats its request, because the answer was lost, has created it once.
    if (existing?.token !== undefined && existing.token === input.ClientToken) return { ScheduleArn: existing.arn };
    if (existing) throw new AwsError("ConflictException", `Schedule ${existing.name} already exists.`, 409);
    const schedule = readSchedule(input, call, undefined);
    store.set(schedule);
    return { ScheduleArn: schedule.arn };
  },
});

const updateSchedule = operation<UpdateScheduleCommandInput, UpdateScheduleCommandOutput>({
  name: "UpdateSchedule",
  honours: scheduleMembers,
  authorize: (input, call) => [...onSchedule(call, input.Name, "UpdateSchedule"), ...passRole(input)],
  handle: (input, call) => {
    const store = storeOf(call);
    defaultGroup(input.GroupName);
    // What is left out goes back to its default (UpdateSchedule).
    const schedule = readSchedule(input, call, store.schedule(input.Name));
    store.set(schedule);
    return { ScheduleArn: schedule.arn };
  },
});

const getSchedule = operation<GetScheduleCommandInput, GetScheduleCommandOutput>({
  name: "GetSchedule",
  honours: ["Name", "GroupName"],
  authorize: (input, call) => onSchedule(call, input.Name, "GetSchedule"),
  handle: (input, call) => {
    defaultGroup(input.GroupName);
    const schedule = storeOf(call).schedule(input.Name);
    return {
      Arn: schedule.arn,
      Name: schedule.name,
      GroupName: "default",
      ScheduleExpression: schedule.expression,
      ScheduleExpressionTimezone: "UTC",
      StartDate: schedule.startDate,
      EndDate: schedule.endDate,
      Description: schedule.description,
      State: schedule.state,
      CreationDate: schedule.created,
      LastModificationDate: schedule.modified,
      Target: schedule.target,
      FlexibleTimeWindow: schedule.window,
      ActionAfterCompletion: schedule.actionAfterCompletion,
    };
  },
});

const deleteSchedule = operation<DeleteScheduleCommandInput, DeleteScheduleCommandOutput>({
  name: "DeleteSchedule",
  honours: ["Name", "GroupName", "ClientToken"],
  authorize: (input, call) => onSchedule(call, input.Name, "DeleteSchedule"),
  handle: (input, call) => {
    defaultGroup(input.GroupName);
    const store = storeOf(call);
    store.remove(store.schedule(input.Name));
    return {};
  },
});

export const operations: readonly Operation[] = [createSchedule, updateSchedule, getSchedule, deleteSchedule];

function storeOf(call: Call): ScheduleStore {
  return call.cloud.stores.scheduler;
}

function onSchedule(call: Call, name: string | undefined, action: string): readonly Access[] {
  return [{ action: `scheduler:${action}`, resource: storeOf(call).arnOf(name ?? "") }];
}

function passRole(input: Pick<CreateScheduleCommandInput, "Target">): readonly Access[] {
  const context = { "iam:PassedToService": "scheduler.amazonaws.com" };
  return [{ action: "iam:PassRole", resource: input.Target?.RoleArn ?? "", context }];
}

function defaultGroup(name: string | undefined): void {
  if (name !== undefined && name !== "default")
    throw new AwsError("ResourceNotFoundException", `Schedule group ${name} does not exist.`, 404);
}

function readSchedule(input: CreateScheduleCommandInput, call: Call, before: Schedule | undefined): Schedule {
  const store = storeOf(call);
  const now = call.cloud.clock.now();
  const name = validName(input.Name);
  const expression = input.ScheduleExpression ?? "";
  const zone = input.ScheduleExpressionTimezone ?? "UTC";
  if (zone !== "UTC") throw notImplemented(`ScheduleExpressionTimezone ${zone}`);
  const target = input.Target;
  if (!target) throw invalid("Target is required.");
  checkTarget(target);
  checkRetryPolicy(target.RetryPolicy ?? {});
  if ((input.Description ?? "").length > 512) throw invalid("Description must have at most 512 characters.");
  checkRole(store, target.RoleArn);
  const { StartDate: startDate, EndDate: endDate } = input;
  if (startDate && endDate && endDate <= startDate) throw invalid("The EndDate must be after the StartDate.");
  return {
    name,
    arn: store.arnOf(name),
    token: before === undefined ? input.ClientToken : before.token,
    created: before?.created ?? now,
    modified: now,
    expression,
    recurrence: scheduleExpression(expression),
    state: input.State ?? "ENABLED",
    description: input.Description,
    startDate,
    endDate,
    window: validWindow(input.FlexibleTimeWindow),
    target,
    actionAfterCompletion: input.ActionAfterCompletion ?? "NONE",
    ended: new AbortController(),
  };
}

/** The service tries the role when it is given one. */
function checkRole(store: ScheduleStore, roleArn: string | undefined): void {
  try {
    store.session(roleArn);
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    throw invalid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.");
  }
}

function validWindow(window: CreateScheduleCommandInput["FlexibleTimeWindow"]) {
  if (window?.Mode === "FLEXIBLE" && window.MaximumWindowInMinutes === undefined)
    throw invalid("MaximumWindowInMinutes is required when FlexibleTimeWindow Mode is FLEXIBLE.");
  if (window?.Mode === "OFF" && window.MaximumWindowInMinutes !== undefined)
    throw invalid("MaximumWindowInMinutes must not be specified when FlexibleTimeWindow Mode is OFF.");
  const minutes = window?.MaximumWindowInMinutes;
  if (minutes !== undefined && !(minutes >= 1 && minutes <= 1440))
    throw invalid("MaximumWindowInMinutes must be between 1 and 1440.");
  if (!window?.Mode) throw invalid("FlexibleTimeWindow.Mode is required.");
  return window;
}

function validName(name: string | undefined): string {
  if (name !== undefined && /^[0-9a-zA-Z-_.]{1,64}$/.test(name)) return name;
  throw invalid(
    `1 validation error detected: Value '${name ?? ""}' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [0-9a-zA-Z-_.]+`,
  );
}

function invalid(message: string): AwsError {
  return new AwsError("ValidationException", message, 400);
}
