/**
 * Protecting, staging, proving and swapping PostgreSQL databases: all that touches a database server, and nothing else.
 * No AWS, no facts, no decisions: the jobs decide.
 */
export { connect } from "./connection";
export { preflight } from "./preflight";
export { protectDatabase } from "./protect";
export { stageDatabase } from "./stage";
export { proveDatabase } from "./prove";
export { openAdmin } from "./admin";
export type * from "./types";
