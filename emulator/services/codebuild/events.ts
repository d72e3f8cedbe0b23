/**
 * The events of builds, in the form of "Build notifications input format reference", AWS CodeBuild User Guide.
 */
import type { Build, BuildPhase } from "@aws-sdk/client-codebuild";
import type { Cloud } from "../../core/definitions";

export function emitBuildState(cloud: Cloud, build: Build): void {
  emit(cloud, build, "CodeBuild Build State Change", {
    "build-status": build.buildStatus,
    "current-phase": build.currentPhase,
    "current-phase-context": "[]",
  });
}

export function emitPhaseChange(cloud: Cloud, build: Build, phase: BuildPhase): void {
  emit(cloud, build, "CodeBuild Build Phase Change", {
    "completed-phase": phase.phaseType,
    "completed-phase-status": phase.phaseStatus,
    "completed-phase-duration-seconds": phase.durationInSeconds,
    "completed-phase-start": eventTime(phase.startTime),
    "completed-phase-end": eventTime(phase.endTime),
    "completed-phase-context": shownContexts(phase),
  });
}

function emit(cloud: Cloud, build: Build, detailType: string, detail: object): void {
  cloud.emit({
    source: "aws.codebuild",
    detailType,
    resources: build.arn === undefined ? [] : [build.arn],
    detail: {
      ...detail,
      "project-name": build.projectName,
      "build-id": build.arn,
      "additional-information": additionalInformation(build),
      version: "1",
    },
  });
}

function additionalInformation(build: Build): object {
  return {
    artifact: { location: build.artifacts?.location ?? "" },
    "build-complete": build.buildComplete,
    "build-number": build.buildNumber,
    "build-start-time": eventTime(build.startTime),
    environment: {
      image: build.environment?.image,
      "privileged-mode": build.environment?.privilegedMode,
      "compute-type": build.environment?.computeType,
      type: build.environment?.type,
      "environment-variables": build.environment?.environmentVariables ?? [],
    },
    initiator: build.initiator,
    logs: {
      "group-name": build.logs?.groupName,
      "stream-name": build.logs?.streamName,
      "deep-link": build.logs?.deepLink,
    },
    phases: (build.phases ?? []).map(eventPhase),
    source: { location: build.source?.location ?? "", type: build.source?.type },
    ...(build.sourceVersion && { "source-version": build.sourceVersion }),
    "timeout-in-minutes": build.timeoutInMinutes,
  };
}

function eventPhase(phase: BuildPhase): object {
  return {
    "phase-type": phase.phaseType,
    "phase-status": phase.phaseStatus,
    "phase-context": (phase.contexts ?? []).map(({ statusCode, message }) => `${statusCode}: ${message}`),
    "start-time": eventTime(phase.startTime),
    "end-time": eventTime(phase.endTime),
    "duration-in-seconds": phase.durationInSeconds,
  };
}

function shownContexts({ contexts = [] }: BuildPhase): string {
  return `[${contexts.map(({ statusCode, message }) => `${statusCode}: ${message}`).join(", ")}]`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `Sep 1, 2017 4:12:29 PM`. By hand: `Intl` takes long for each, and an event has two dozens of them. */
export function eventTime(time: Date | undefined): string | undefined {
  if (time === undefined) return undefined;
  const hours = time.getUTCHours();
  const day = `${MONTHS[time.getUTCMonth()]} ${time.getUTCDate()}, ${time.getUTCFullYear()}`;
  const clock = [hours % 12 || 12, two(time.getUTCMinutes()), two(time.getUTCSeconds())].join(":");
  return `${day} ${clock} ${hours < 12 ? "AM" : "PM"}`;
}

function two(amount: number): string {
  return String(amount).padStart(2, "0");
}
