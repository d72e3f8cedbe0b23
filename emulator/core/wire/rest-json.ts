import type { OperationModel } from "../model";
import { jsonError, rateExceeded, readJsonBody, readStruct, validationException, writeStruct } from "./json";
import { restJsonRefusals } from "./refusals";
import { findRestOperation, placeOf, readBindings, writeBindings } from "./rest";
import type { Wire } from "./wire";

/** restJson1: members in path and query, the others in a JSON body. */
export function restJson(): Wire {
  const headers = (requestId: string): Record<string, string> => ({
    "content-type": "application/json",
    "x-amzn-requestid": requestId,
  });
  return {
    read(model, request) {
      const { operation, labels } = findRestOperation(model, request);
      const bound = readBindings(operation, labels, request);
      const body = operation.input.isUnitSchema()
        ? {}
        : readStruct(operation.input, readJsonBody(request), operation.name);
      return { operation, input: { ...body, ...bound } };
    },
    write(operation, output, requestId) {
      const bound = writeBindings(operation, output);
      const body = operation.output.isUnitSchema() ? {} : writeStruct(operation.output, bodyMembers(operation, output));
      return {
        status: bound.status ?? operation.http?.status ?? 200,
        headers: { ...headers(requestId), ...bound.headers },
        body: JSON.stringify(body),
      };
    },
    error: (error, requestId) => jsonError(error, headers(requestId)),
    missingMember: validationException,
    denied: { code: "AccessDeniedException", status: 403 },
    throttled: { ...rateExceeded, status: 429 },
    refused: restJsonRefusals,
    streams: false,
  };
}

function bodyMembers(operation: OperationModel, output: Record<string, unknown>): Record<string, unknown> {
  const bodyNames = [...operation.output.structIterator()]
    .filter(([, member]) => placeOf(member) === "body")
    .map(([name]) => name);
  return Object.fromEntries(bodyNames.map((name) => [name, output[name]]));
}
