/** What other stacks import. */
export {
  CommandProject,
  type BuildNetwork,
  type CommandProjectArgs,
  type ComputeType,
  type ProjectSource,
} from "./command-project";
export { DemoEnvironment, type DemoEnvironmentArgs, type DemoFiles } from "./demo-environment";
export { DemoNetwork, type DemoNetworkArgs } from "./demo-network";
export { demoProgram, releaseKey, type DemoConfig, type DemoOutputs } from "./demo-program";
export { InvalidArgumentsError } from "./errors";
export { defaultDeadlines, defaultSoak, type Deadlines, type Engine, type Soak } from "./plan";
export type { PolicyDocument, Statement } from "./policies";
export { PrivateBucket, type PrivateBucketArgs } from "./private-bucket";
export { Protection, type JobProjects } from "./protection";
export type {
  ProtectedDatabase,
  ProtectedInstance,
  ProtectedPooler,
  ProtectionArgs,
  ProtectionProbe,
} from "./protection-args";
export { admitCommand, runVariables, toolkitArtifact, type Action, type Stage } from "./stages";
export {
  ProtectedPipeline,
  releaseArtifact,
  type DeployArgs,
  type ProtectedPipelineArgs,
  type ReleaseSource,
} from "./protected-pipeline";
export { RecoveryStore, type RecoveryStoreArgs } from "./recovery-store";
