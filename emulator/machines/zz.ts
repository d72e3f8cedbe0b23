import { bootMachine, checkNamespaces } from "/work/main/emulator/machines/namespaces";
import * as fs from "node:fs"; import * as os from "node:os";
(async () => {
  console.log("check", await checkNamespaces());
  for (const network of [true, false]) {
  const directory = fs.mkdtempSync(os.tmpdir() + "/mm-");
  const t = performance.now();
  const m = await bootMachine({ hostname: "ip-10-0-1-23.ec2.internal", directory, hosts: { "ip-10-0-1-23.ec2.internal": "127.9.9.9" }, network, environment: { FOO: "bar" } });
  console.log("boot ms", performance.now() - t);
  const sh = async (c: string) => { const t = performance.now(); const p = m.run({ command: ["/bin/bash", "-c", c] }); let o = ""; p.stdout.on("data", (d) => o += d); p.stderr.on("data", (d) => o += d); const e = await p.exit; await new Promise(r=>setTimeout(r,20)); console.log(c, "=>", e, (performance.now() - t).toFixed(), "\n" + o); };
  await sh("id; hostname; env; pwd; ls -la / /etc | head -60; cat /etc/hosts; ps aux; mount | grep -v /etc; getent hosts ip-10-0-1-23.ec2.internal; cat /etc/os-release | head -2");
  await sh("touch /usr/x; touch /opt/ok && echo wrote; echo x > /tmp/f; echo 1 > /proc/sys/vm/swappiness; node --version; psql --version; curl -sS -m 2 http://127.0.0.1:1 ");
  const p = m.run({ command: ["bash", "-c", "trap 'echo got; exit 7' TERM; sleep 100 & wait"] });
  p.stdout.on("data", (d) => console.log("out", String(d)));
  setTimeout(() => p.kill("SIGTERM"), 100);
  console.log("term", await p.exit);
  const q = m.run({ command: ["sleep", "100"] }); q.kill("SIGKILL"); console.log("kill", await q.exit);
  const r = m.run({ command: ["bash", "-c", "sleep 1000 & disown; setsid sleep 1001 & sleep 1002"] });
  setTimeout(() => m.stop(), 100);
  console.log("stopped", await r.exit);
  await m.stop();
  fs.rmSync(directory, { recursive: true });
  }
})();
