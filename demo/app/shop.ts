/**
 * The shop: a small web service on the database. What it answers is decided by the release beside it, so a release is
 * a set of files that a deploy replaces.
 *
 * | request | answer |
 * |---|---|
 * | `GET /` | a page with figures of the database and the release's version |
 * | `GET /health` | 200 when the release can read and write the database, else 500 |
 * | `POST /orders` | 201 and the new order's id |
 */
import * as http from "node:http";
import type { Database } from "./database";
import type { Release } from "./release";

type Answer = readonly [status: number, contentType: string, body: string];
type Handler = (database: Database, release: Release) => Promise<Answer>;

const routes: Readonly<Record<string, Handler>> = {
  "GET /": async (database, release) => {
    const figures = await database.run((query) => release.queries.figures(query));
    return [200, "text/html; charset=utf-8", page(release.version, figures)];
  },
  "GET /health": async (database, release) => {
    await database.run((query) => release.queries.health(query));
    return json(200, { status: "ok", version: release.version });
  },
  "POST /orders": async (database, release) => {
    const order = await database.run((query) => release.queries.order(query));
    return json(201, { ...order, version: release.version });
  },
};

function json(status: number, value: object): Answer {
  return [status, "application/json", `${JSON.stringify(value)}\n`];
}

function page(version: string, figures: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(figures).map(
    ([name, value]) => `<tr><td>${escape(name)}</td><td>${escape(value)}</td></tr>`,
  );
  return `<!doctype html>
<title>Shop</title>
<h1>Shop</h1>
<p>Release ${escape(version)}</p>
<table>
${rows.join("\n")}
</table>
`;
}

function escape(value: unknown): string {
  return String(value).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

async function answer(request: http.IncomingMessage, database: Database, release: Release): Promise<Answer> {
  const route = `${request.method ?? "GET"} ${new URL(request.url ?? "/", "http://shop").pathname}`;
  const handler = routes[route];
  if (handler === undefined) return json(404, { error: `there is no ${route}` });
  try {
    return await handler(database, release);
  } catch (error) {
    console.error(`${route}: ${(error as Error).message}`);
    // What the database said is for the log, not for visitors.
    return json(500, { error: "the database cannot answer", version: release.version });
  }
}

/** The service, not listening yet. */
export function createShop(database: Database, release: Release): http.Server {
  return http.createServer((request, response) => {
    request.resume();
    void answer(request, database, release).then(([status, contentType, body]) => {
      response.writeHead(status, { "content-type": contentType, "cache-control": "no-store" }).end(body);
    });
  });
}
