/** Checks a recovery point without restoring it, for a database that is only restored when a healing needs it. */
import { saying } from "./connection";
import { openArchive } from "./archive";
import { clientFolder, feed } from "./program";
import { openVerified } from "./stage";
import type { DatabaseAccess, StageOptions } from "./types";

/**
 * Reads the recovery point to its end: it is as long as it was, has the same sha256, and pg_restore can read all of it.
 * A table of contents alone does not tell that a dump was cut.
 */
export function checkDump(
  access: DatabaseAccess,
  options: Pick<StageOptions, "deadline" | "protected" | "dump">,
): Promise<void> {
  return saying(access, "check the dump of", async () => {
    const { deadline } = options;
    const folder = await clientFolder(options.protected.serverVersion, deadline);
    const checksum = await openVerified(options);
    const archive = await openArchive(checksum, folder);
    try {
      const environment = { PATH: process.env.PATH ?? "", LC_ALL: "C" };
      await feed({ command: "pg_restore", folder, args: ["--file=/dev/null"], environment, deadline }, archive.stream);
      if (checksum.sum === undefined) throw new Error("the recovery point's stream was not read to its end");
      access.log(
        `the recovery point ${options.protected.recoveryPoint} is whole: ${checksum.sum.bytes} bytes were read`,
      );
    } finally {
      await archive.close();
    }
  });
}
