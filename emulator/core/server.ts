import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AwsError, notImplemented, type Principal, type RouteHandler } from "./definitions";
import { asAwsError, type Dispatcher, type InstalledService } from "./dispatcher";
import type { CredentialStore } from "./credentials";
import { jsonRefused } from "./wire/json";
import type { Wire, WireReply, WireRequest } from "./wire/wire";

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
    private readonly credentials: CredentialStore,
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
      const { accessKeyId } = callerOf(wireRequest(request));
      return handler(request, response, this.identify(accessKeyId, request.headers["x-amz-security-token"]));
    }
    throw notImplemented(`the path ${path}`);
  }

  private async answerAws(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = randomUUID();
    const wire = wireRequest(request);
    let service: InstalledService | undefined;
    let reply: WireReply;
    try {
      const caller = callerOf(wire);
      service = this.dispatcher.serviceNamed(caller.service);
      const token = request.headers["x-amz-security-token"] ?? wire.query.get("X-Amz-Security-Token");
      const principal = this.identify(caller.accessKeyId, token, service.wire.refused);
      const { operation, input } = await service.wire.read(service.model, wire);
      const output = await this.dispatcher.dispatch(service, operation, input, principal, requestId);
      reply = service.wire.write(operation, output, requestId);
    } catch (error) {
      const known = asAwsError(error);
      if (!service) return sendJsonError(response, known);
      reply = service.wire.error(known, requestId);
    }
    await send(request, response, reply);
  }

  private identify(
    accessKeyId: string,
    token: string | string[] | undefined,
    refused: Wire["refused"] = jsonRefused,
  ): Principal {
    const issued = this.credentials.find(accessKeyId);
    if (issued === "expired") {
      const { code, status } = refused.expired;
      throw new AwsError(code, "The security token included in the request is expired", status);
    }
    const wrongToken = issued && issued.credentials.sessionToken !== "" && issued.credentials.sessionToken !== token;
    if (!issued || wrongToken) {
      const { code, status } = refused.unknown;
      throw new AwsError(code, "The security token included in the request is invalid.", status);
    }
    return issued.principal;
  }
}

function privatePrefix(prefix: string): string {
  if (!/^\/_[\w-]+\/$/.test(prefix)) throw new Error(`A private route is /_<name>/, not ${prefix}`);
  return prefix;
}

function wireRequest(request: IncomingMessage): WireRequest {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  return {
    method: request.method ?? "GET",
    path: mark === -1 ? url : url.slice(0, mark),
    query: new Map(new URLSearchParams(mark === -1 ? "" : url.slice(mark + 1))),
    headers: request.headers,
    stream: request,
  };
}

/** Who is calling what, by the credential's scope: `KEY/date/region/service/aws4_request`. */
function callerOf(request: WireRequest): { readonly accessKeyId: string; readonly service: string } {
  const header = /Credential=([^,\s]+)/.exec(request.headers.authorization ?? "")?.[1];
  const scope = (header ?? request.query.get("X-Amz-Credential") ?? "").split("/");
  const [accessKeyId, , , service] = scope;
  if (!accessKeyId || !service) {
    throw new AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403);
  }
  return { accessKeyId, service };
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
