import type { DatabaseAccess, Finding } from "./types";
export function preflight(_access: DatabaseAccess): Promise<Finding[]> {
  throw new Error("not yet");
}
