import type { Install } from "../core/definitions";
import { install as cloudwatch } from "./cloudwatch";
import { install as codebuild } from "./codebuild";
import { install as codepipeline } from "./codepipeline";
import { install as ec2 } from "./ec2";
import { install as events } from "./events";
import { install as iam } from "./iam";
import { install as logs } from "./logs";
import { install as rds } from "./rds";
import { install as s3 } from "./s3";
import { install as scheduler } from "./scheduler";
import { install as secretsmanager } from "./secretsmanager";
import { install as ssm } from "./ssm";
import { install as sts } from "./sts";

/** The services, in the order in which they are installed: whoever needs another one's store comes after it. */
export const installs: readonly Install[] = [
  iam,
  sts,
  s3,
  secretsmanager,
  ssm,
  logs,
  cloudwatch,
  events,
  scheduler,
  ec2,
  rds,
  codebuild,
  codepipeline,
];
