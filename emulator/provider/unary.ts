/** gRPC's unary calls, answered by functions. */
import type * as grpc from "@grpc/grpc-js";

/** @param failureOf - what the caller is told of an error */
export function answering(failureOf: (error: unknown) => Partial<grpc.ServiceError>) {
  return <Request, Response>(
      handle: (request: Request) => Response | Promise<Response>,
    ): grpc.handleUnaryCall<Request, Response> =>
    (call, callback) => {
      Promise.resolve()
        .then(() => handle(call.request))
        .then(
          (response) => callback(null, response),
          (error: unknown) => callback(failureOf(error)),
        );
    };
}
