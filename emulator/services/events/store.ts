import { randomUUID } from "node:crypto";
import { Target } from "@aws-sdk/client-eventbridge";
import { AwsError, Cloud, CloudEvent } from "../../core/definitions";
import { EventTest } from "./event-pattern";
import { targetInput } from "./input-transformer";
import { buildInput, projectOf, startBuild, withRetries } from "./invocation";

declare module "../../core/definitions" {
  interface Stores {
    events: EventStore;
  }
}

export interface Rule {
  readonly name: string;
  readonly arn: string;
  pattern: string;
  matches: EventTest;
  state: "ENABLED" | "DISABLED";
  description: string | undefined;
  tags: readonly { readonly Key: string; readonly Value: string }[];
  readonly targets: Map<string, Target>;
}

/** The rules of the default event bus, and their work. */
export class EventStore {
  readonly rules = new Map<string, Rule>();

  constructor(private readonly cloud: Cloud) {}

  /** @throws ResourceNotFoundException */
  rule(name: string | undefined): Rule {
    const rule = this.rules.get(name ?? "");
    if (!rule)
      throw new AwsError("ResourceNotFoundException", `Rule ${name ?? ""} does not exist on EventBus default.`, 400);
    return rule;
  }

  ruleByArn(arn: string | undefined): Rule {
    return this.rule(arn?.slice(arn.lastIndexOf("/") + 1));
  }

  arnOf(name: string): string {
    return `arn:aws:events:${this.cloud.region}:${this.cloud.account}:rule/${name}`;
  }

  /** Invokes the targets of every rule that matches. */
  deliver(event: CloudEvent): void {
    const now = this.cloud.clock.now();
    const envelope = this.envelope(event, now);
    for (const rule of this.rules.values()) {
      if (rule.state !== "ENABLED" || !rule.matches(envelope)) continue;
      for (const target of rule.targets.values())
        this.cloud.background(
          `rule ${rule.name}, target ${target.Id ?? ""}`,
          this.deliverTo(rule, target, event, envelope, now),
        );
    }
  }

  /** "At least once", and not always at once: a fault says when it is otherwise. */
  private async deliverTo(
    rule: Rule,
    target: Target,
    event: CloudEvent,
    envelope: Readonly<Record<string, unknown>>,
    at: Date,
  ): Promise<void> {
    const { source, detailType, detail } = event;
    const facts = { rule: rule.name, target: target.Id ?? "", source, detailType, detail };
    const fault = this.cloud.faults.at("events.delivery", facts);
    if (fault?.kind === "late") await this.cloud.clock.sleep(fault.milliseconds);
    await this.invoke(rule, target, envelope, at);
    if (fault?.kind === "twice") await this.invoke(rule, target, envelope, at);
  }

  private async invoke(rule: Rule, target: Target, event: Readonly<Record<string, unknown>>, at: Date): Promise<void> {
    const project = projectOf(target.Arn) ?? "";
    const { InputTransformer, Input, InputPath } = target;
    // Without an input CodeBuild is given the event itself, which has nothing that StartBuild takes.
    const bare = Input === undefined && InputPath === undefined && !InputTransformer;
    const input = bare ? {} : buildInput(targetInput(target, event, rule, at));
    await withRetries(this.cloud, target.RetryPolicy ?? {}, async () => {
      const session = this.cloud.assumeRole(
        target.RoleArn ?? "",
        randomUUID().replaceAll("-", ""),
        "events.amazonaws.com",
        {
          "aws:SourceArn": rule.arn,
          "aws:SourceAccount": this.cloud.account,
        },
      );
      await startBuild(this.cloud, session, project, input);
    });
  }

  /** "Events in Amazon EventBridge: structure". */
  private envelope(event: CloudEvent, now: Date): Readonly<Record<string, unknown>> {
    const envelope = {
      version: "0",
      id: randomUUID(),
      "detail-type": event.detailType,
      source: event.source,
      account: this.cloud.account,
      time: now.toISOString().replace(/\.\d+Z$/, "Z"),
      region: this.cloud.region,
      resources: event.resources ?? [],
      detail: event.detail,
    };
    // As it travels: dates become texts, undefined members vanish.
    return JSON.parse(JSON.stringify(envelope)) as Readonly<Record<string, unknown>>;
  }
}
