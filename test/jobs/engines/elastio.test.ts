import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import { ElastioEngine } from "../../../jobs/engines/elastio";
import { copiesOf } from "../../../jobs/instance/instances";
import { deadlineIn, until } from "../../../jobs/time";
import { describe as describeInstance, launch, runCommand, text } from "../../emulator/ec2/support";
import { type EngineWorld, engineContract } from "./contract";
import { EmulatedWorld } from "./emulated";

const soon = () => deadlineIn(60);

let world: EmulatedWorld;
let engine: ElastioEngine;

async function open(): Promise<EngineWorld> {
  world = await EmulatedWorld.open();
  engine = new ElastioEngine(world.job);
  return Object.assign(world, {
    engine,
    storeDamaged: async (bytes: Buffer) => {
      world.emulator.faults.inject({ at: "elastio.job", effect: { kind: "lie" } });
      return (await engine.storeStream("shop", Readable.from([bytes]), {})).recoveryPoint;
    },
    failNextBackup: () => {
      world.emulator.faults.inject({ at: "elastio.job", times: 2, effect: { kind: "fail", message: "no worker" } });
    },
  });
}

/** As the application would, the instance calls another one again and again, at every boot, and notes how that went. */
const caller = (host: string): string => `
cat > /opt/call.sh <<'SH'
notes=/opt/tried.$(cat /proc/sys/kernel/random/uuid)
while sleep 0.05; do (exec 3<>/dev/tcp/${host}/5432) 2>/dev/null && echo yes >> $notes || echo no >> $notes; done
SH
cat > /etc/systemd/system/caller.service <<'UNIT'
[Service]
ExecStart=/bin/bash /opt/call.sh
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now caller`;

const listener = `setsid node -e 'require("net").createServer((socket) => socket.end()).listen(5432)' \
  < /dev/null > /dev/null 2>&1 &`;

/** What the caller has noted on a volume: by boot. */
function notesOn(volumeId: string): Map<string, string> {
  const folder = path.join(world.emulator.cloud.directory, "ec2", "disks", volumeId, "opt");
  const names = readdirSync(folder).filter((name) => name.startsWith("tried."));
  return new Map(names.map((name) => [name, readFileSync(path.join(folder, name), "utf8")]));
}

engineContract("elastio", open, () => {
  it("restores a copy that reaches nothing: it is isolated at first sight, stopped, and then gone", async () => {
    const peer = await launch(world.environment);
    await runCommand(world.environment, text(peer.InstanceId), [listener]);
    await world.run(caller(text(peer.PrivateDnsName)));
    const machine = await world.machine();
    const own = machine.volumes[0]?.volumeId ?? "";
    await until("the instance itself to reach it", soon(), { seconds: 0.05 }, () =>
      Promise.resolve([...notesOn(own).values()].some((notes) => notes.includes("yes")) || undefined),
    );

    const { job } = await engine.backupInstance(machine, {});
    const recoveryPoint = await engine.finishInstanceBackup(job, machine, soon());
    const [root] = await engine.volumes(machine, recoveryPoint, [], soon());
    const [copy] = await copiesOf(world.clients, recoveryPoint);
    const seen = await describeInstance(world.environment, text(copy?.instanceId));
    assert.equal(seen.State?.Name, "stopped");
    assert.deepEqual(
      seen.SecurityGroups?.map(({ GroupId }) => GroupId),
      [world.environment.fenceId],
    );
    const before = notesOn(own);
    const ofCopy = [...notesOn(text(root?.volumeId))].filter(([name]) => !before.has(name));
    assert.ok(ofCopy.every(([, notes]) => !notes.includes("yes")));
    await engine.removeLeftovers(recoveryPoint);
    assert.deepEqual(await copiesOf(world.clients, recoveryPoint), []);
    await world.run("systemctl disable --now caller");
  });

  it("aborts a backup whose run has failed, where its owner asks for it", async () => {
    const hanging = world.emulator.faults.inject({ at: "elastio.job", effect: { kind: "hang" } });
    const machine = await world.machine();
    const { job, abort } = await engine.backupInstance(machine, {});
    await hanging.happened;
    await abort();
    hanging.release();
    await assert.rejects(engine.finishInstanceBackup(job, machine, soon()), /failed|Aborted/);
  });
});
