import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { CertificateAuthority } from "../../../emulator/services/rds/certificates";
import { connect } from "../../../jobs/database";
import { programEnvironment } from "../../../jobs/database/connection";
import { clientFolder, output } from "../../../jobs/database/program";
import { master, soon, startServer, type TestServer } from "./cluster";

describe("a connection of a job", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer();
  });
  after(() => server.close());

  it("shows the job and the run to the server, over TLS", async () => {
    const client = await connect(server.access({ job: "protect" }));
    const { rows } = await client.query(
      `SELECT application_name AS name, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE pid = pg_backend_pid()`,
    );
    await client.end();
    assert.deepEqual(rows, [{ name: "protected-pipeline:protect:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", ssl: true }]);
  });

  it("waits for a rotation: it reads the secret again while the server refuses it", async () => {
    const answers = ["old password", "old password", master.password];
    const read: string[] = [];
    const credentials = async () => {
      const password = answers[Math.min(read.length, answers.length - 1)] ?? "";
      read.push(password);
      return { user: master.user, password };
    };
    const client = await connect(server.access({ credentials }));
    await client.end();
    assert.deepEqual(read, answers);
  });

  it("reads the secret again when what the server took before is refused", async () => {
    let current: string = master.password;
    const access = server.access({ credentials: async () => ({ user: master.user, password: current }) });
    await (await connect(access)).end();
    await server.sql("ALTER ROLE master PASSWORD 'another one'");
    current = "another one";
    try {
      await (await connect(access)).end();
    } finally {
      await server.cluster.administer(`ALTER ROLE master PASSWORD '${master.password.replaceAll("'", "''")}'`);
    }
  });

  it("refuses a server whose certificate another authority has signed", async () => {
    const caFile = `${server.caFile}.other`;
    fs.writeFileSync(caFile, new CertificateAuthority("other").certificate);
    await assert.rejects(
      connect(server.access({ caFile })),
      /cannot connect to database "shop" at .*(certificate|verify)/,
    );
  });

  it("refuses a server whose certificate is another name's", async () => {
    const access = server.access();
    const target = { ...access.target, host: otherName(access.target.host) };
    await assert.rejects(connect({ ...access, target }), /cannot connect to database "shop" .*does not match cert/);
  });

  it("of PostgreSQL's own programs refuses another authority, and another name, as well", async () => {
    const access = server.access();
    const environment = await programEnvironment(access, "shop");
    const folder = await clientFolder(server.version, soon());
    const dump = (changes: Record<string, string>) =>
      output({
        command: "pg_dump",
        folder,
        args: ["-s"],
        environment: { ...environment, ...changes },
        deadline: soon(),
      });
    await dump({});
    const other = `${server.caFile}.other`;
    fs.writeFileSync(other, new CertificateAuthority("other").certificate);
    await assert.rejects(dump({ PGSSLROOTCERT: other }), /certificate verify failed/);
    const elsewhere = { PGHOST: "other.test", PGHOSTADDR: access.target.host };
    await assert.rejects(dump(elsewhere), /does not match host name "other\.test"/);
  });

  it("outlives the time-outs that a database has for its users [finding 45]", async () => {
    const names = ["idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout"];
    const known = await server.sql(`SELECT name FROM pg_settings WHERE name IN ('${names.join("', '")}')`);
    assert.ok(known.length > 0);
    // The last of them also bounds the log-in itself, before a job could say anything.
    for (const { name } of known) await server.sql(`ALTER DATABASE shop SET ${String(name)} = '300ms'`, "postgres");
    const client = await connect(server.access());
    try {
      await client.query("BEGIN");
      await server.sql("SELECT pg_sleep(0.5)", "postgres");
      await client.query("COMMIT");
    } finally {
      await client.end();
      await server.sql("ALTER DATABASE shop RESET ALL", "postgres");
    }
  });

  it("says which database, on which server, it could not reach", async () => {
    await assert.rejects(
      connect(server.access(), "nowhere"),
      /"nowhere" at 127\..*:5432: database "nowhere" does not exist/,
    );
  });
});

/** The same address, in a notation that is resolved like a name: no certificate is for it. */
function otherName(address: string): string {
  return String(address.split(".").reduce((number, byte) => number * 256 + Number(byte), 0));
}
