/** Prints every operation of the emulator as `service Operation`: what `scripts/extract-models.py` reads. */
import type { EmbeddedCloud } from "../../emulator/core/cloud";
import { startEmulator } from "../../emulator/emulator";

async function main(): Promise<void> {
  const emulator = await startEmulator();
  for (const { service } of (emulator.cloud as unknown as EmbeddedCloud).dispatcher.services) {
    for (const { name } of service.operations) process.stdout.write(`${service.signingName} ${name}\n`);
  }
  await emulator.close();
}

void main();
