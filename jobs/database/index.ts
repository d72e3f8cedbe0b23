/**
 * Protecting, staging, proving and swapping PostgreSQL databases: all that touches a database server, and nothing else.
 * No AWS, no facts, no decisions: the jobs decide.
 */
export { connect } from "./connection";
export { preflight } from "./preflight";
export { protectDatabase } from "./protect";
export { stageDatabase } from "./stage";
export { proveDatabase } from "./prove";
export { checkDump } from "./check";
export { cloneDatabase, discardClone, findClone, protectClone, proveClone } from "./clone";
export { freezeWrites, thawWrites } from "./freeze";
export { closedStaged, dropUnfinished, existingDatabases, temporaryDatabases } from "./leftovers";
export { openAdmin } from "./admin";
export { swapAll, type ServerSwap } from "./barrier";
export {
  databaseSpace,
  deadlineProblem,
  serverSize,
  spaceProblem,
  streamProblem,
  type DatabaseSpace,
  type ServerStorage,
} from "./space";
export type * from "./types";
