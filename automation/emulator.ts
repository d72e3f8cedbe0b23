/** The command `emulator`: the embedded AWS for a shell. */
import { startEmulator } from "../emulator/emulator";
import { Refusal } from "./refusal";
import { readSetup } from "./setup";

/** Starts it, prints export lines, and stays until a signal. */
export async function runEmulator(port: number): Promise<number> {
  process.env.PROTECTED_PIPELINE_POSTGRES_BIN ??= readSetup().postgresBin;
  const emulator = await startEmulator({ port }).catch((error: unknown) => {
    throw inUse(error)
      ? new Refusal(`port ${port} of 127.0.0.1 is in use: give another, or none for a free one.`)
      : error;
  });
  for (const [name, value] of Object.entries(emulator.environment)) process.stdout.write(`export ${name}=${value}\n`);
  process.stderr.write("The embedded AWS is running. Press Ctrl-C to end it.\n");
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
  await emulator.close();
  return 0;
}

function inUse(error: unknown): boolean {
  const causes = [error, error instanceof Error ? error.cause : undefined];
  return causes.some((cause) => cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE");
}
