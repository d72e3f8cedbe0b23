/**
 * A vault as a program of its own, like the one at the other end of a real job's pipe: the store of Elastio's stand-in,
 * which keeps every chunk once. `vault.js FOLDER store` reads a stream, `vault.js FOLDER read ID` gives it back.
 */
import { pipeline } from "node:stream/promises";
import { Vault } from "../../emulator/elastio/vault";

async function main([folder = "", command, id = ""]: readonly string[]): Promise<void> {
  const vault = new Vault(folder);
  if (command === "store") process.stdout.write(JSON.stringify(await vault.store(process.stdin)));
  else await pipeline(vault.read(id), process.stdout);
}

void main(process.argv.slice(2));
