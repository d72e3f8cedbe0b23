import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Authenticator, authorizationOf, privateRules } from "./authentication";
import { AwsError, notImplemented, type RouteHandler } from "./definitions";
import { asAwsError, type Dispatcher, type InstalledService } from "./dispatcher";
import type { SignedRequest } from "./signature";
import type { WireReply, WireRequest } from "./wire/wire";

/** A route that finds out by itself who is calling. */
export type OpenRouteHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** One HTTP server for all services, on 127.0.0.1 only. */
export class EmulatorServer {
  private readonly server: Server;
  private readonly routes = new Map<string, RouteHandler>();
  private readonly openRoutes = new Map<string, OpenRouteHandler>();
  private readonly answering = new Set<Promise<void>>();

  constructor(
    private readonly dispatcher: Dispatcher,
    private readonly authenticator: Authenticator,
  ) {
    // Uploads take as long as they take: the jobs have deadlines of their own.
    this.server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 }, (request, response) => {
      const answer = this.answer(request, response);
      this.answering.add(answer);
      void answer.finally(() => this.answering.delete(answer));
    });
  }

  /** Returns the port. A port of 0 takes a free one. */
  async listen(port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, "127.0.0.1", () => resolve());
    });
    return (this.server.address() as AddressInfo).port;
  }

  route(prefix: string, handler: RouteHandler): void {
    this.routes.set(privatePrefix(prefix), handler);
  }

  openRoute(prefix: string, handler: OpenRouteHandler): void {
    this.openRoutes.set(privatePrefix(prefix), handler);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
    await Promise.allSettled(this.answering);
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (request.url?.startsWith("/_")) await this.answerPrivate(request, response);
      else await this.answerAws(request, response);
    } catch (error) {
      // The caller has gone, or the reply broke off: there is nobody left to tell.
      if (!response.headersSent) sendJsonError(response, asAwsError(error));
      else response.destroy();
    }
  }

  private async answerPrivate(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    for (const [prefix, handler] of this.openRoutes) {
      if (path.startsWith(prefix)) return handler(request, response);
    }
    for (const [prefix, handler] of this.routes) {
      if (!path.startsWith(prefix)) continue;
      const signed = signedRequest(request);
      const principal = this.authenticator.authenticate(signed, authorizationOf(signed), noBody, privateRules);
      return handler(request, response, principal);
    }
    throw notImplemented(`the path ${path}`);
  }

  private async answerAws(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = randomUUID();
    let service: InstalledService | undefined;
    let reply: WireReply;
    try {
      const signed = signedRequest(request);
      const authorization = authorizationOf(signed);
      service = this.dispatcher.serviceNamed(authorization.service);
      const { wire } = service;
      const body = wire.streams ? request : await wholeBody(request);
      const principal = this.authenticator.authenticate(
        signed,
        authorization,
        Buffer.isBuffer(body) ? body : noBody,
        wire,
      );
      const { operation, input } = await wire.read(service.model, wireRequest(signed, body));
      const gone = (): Promise<void> =>
        response.closed ? Promise.resolve() : new Promise((resolve) => response.once("close", resolve));
      const output = await this.dispatcher.dispatch(service, operation, input, principal, { requestId, gone });
      reply = service.wire.write(operation, output, requestId);
    } catch (error) {
      const known = asAwsError(error);
      if (!service) return sendJsonError(response, known);
      reply = service.wire.error(known, requestId);
    }
    await send(request, response, reply);
  }
}

function privatePrefix(prefix: string): string {
  if (!/^\/_[\w-]+\/$/.test(prefix)) throw new Error(`A private route is /_<name>/, not ${prefix}`);
  return prefix;
}

const noBody = Buffer.alloc(0);
/** Larger than the largest request of any service that is not streamed (PutLogEvents: 1 MiB). */
const longestBody = 8 << 20;

async function wholeBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longestBody) throw new AwsError("RequestEntityTooLarge", "The request is too large.", 413);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? (chunks[0] ?? noBody) : Buffer.concat(chunks);
}

function signedRequest(request: IncomingMessage): SignedRequest {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  return {
    method: request.method ?? "GET",
    path: mark === -1 ? url : url.slice(0, mark),
    search: mark === -1 ? "" : url.slice(mark + 1),
    headers: request.headers,
  };
}

function wireRequest({ method, path, search, headers }: SignedRequest, body: WireRequest["body"]): WireRequest {
  return { method, path, query: new Map(new URLSearchParams(search)), headers, body };
}

function sendJsonError(response: ServerResponse, error: AwsError): void {
  response.writeHead(error.status, { "content-type": "application/json", "x-amzn-errortype": error.code });
  response.end(JSON.stringify({ __type: error.code, code: error.code, message: error.message }));
}

async function send(request: IncomingMessage, response: ServerResponse, reply: WireReply): Promise<void> {
  const { body } = reply;
  const stream = body instanceof Readable;
  const headers: Record<string, string> = { ...reply.headers };
  if (!stream && headers["content-length"] === undefined) headers["content-length"] = String(Buffer.byteLength(body));
  // A caller that is still sending would not see the answer if the connection broke off: what it sends is dropped.
  if (!request.complete) request.resume();
  response.writeHead(reply.status, headers);
  if (request.method === "HEAD" || reply.status === 304) {
    if (stream) body.destroy();
    response.end();
    return;
  }
  if (stream) await pipeline(body, response);
  else response.end(body);
}
