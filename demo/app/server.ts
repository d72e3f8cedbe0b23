/** Starts the shop on the instance. */
import * as os from "node:os";
import * as path from "node:path";
import { Database } from "./database";
import { loadRelease } from "./release";
import { createShop } from "./shop";

const port = 8080;

const release = loadRelease(process.env.RELEASE_DIRECTORY ?? path.join(__dirname, "release"));
// The host's own name: its address in the network, and nothing on any other.
createShop(new Database(), release).listen(port, os.hostname(), () => {
  console.log(`release ${release.version} on ${os.hostname()}:${port}`);
});
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
