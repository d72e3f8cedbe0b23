/** With which errors the services of each protocol refuse a request whose keys or signature do not hold. */

export interface Refusal {
  readonly code: string;
  readonly status: number;
}

type RefusalWith<Message> = Refusal & { readonly message: Message };

export interface Refusals {
  /** The session's time is over. */
  readonly expired: RefusalWith<string>;
  /** No such access key. */
  readonly unknown: RefusalWith<string>;
  /** The session token is not the key's. */
  readonly wrongToken: RefusalWith<string>;
  readonly signature: RefusalWith<string>;
  /** The request's time is too far from now (milliseconds). */
  readonly skewed: RefusalWith<(time: string, now: number) => string> & { readonly toleranceMinutes: number };
  /** Signed for another Region. */
  readonly region: RefusalWith<(given: string, expected: string) => string>;
}

const notMatching =
  "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key " +
  "and signing method. Consult the service documentation for details.";
const invalidToken = "The security token included in the request is invalid.";
const expiredToken = "The security token included in the request is expired";
const signatureMinutes = 5;

function tooOldOrNew(time: string, now: number): string {
  const sent = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  const late = sent < now;
  const limit = stamp(now + (late ? -1 : 1) * signatureMinutes * 60_000);
  const how = late ? "Signature expired" : "Signature not yet current";
  const than = late ? "is now earlier than" : "is still later than";
  return `${how}: ${time} ${than} ${limit} (${stamp(now)} ${late ? "-" : "+"} ${signatureMinutes} min.)`;
}

function stamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/[-:]|\.\d+/g, "");
}

interface Codes {
  readonly expired: Refusal;
  readonly unknown: Refusal;
  readonly signature: Refusal;
}

function commonRefusals({ expired, unknown, signature }: Codes): Refusals {
  return {
    expired: { ...expired, message: expiredToken },
    unknown: { ...unknown, message: invalidToken },
    wrongToken: { ...unknown, message: invalidToken },
    signature: { ...signature, message: notMatching },
    skewed: { ...signature, message: tooOldOrNew, toleranceMinutes: signatureMinutes },
    region: { ...signature, message: (given) => `Credential should be scoped to a valid region, not '${given}'. ` },
  };
}

function jsonCodes(status: number): Codes {
  return {
    expired: { code: "ExpiredTokenException", status },
    unknown: { code: "UnrecognizedClientException", status },
    signature: { code: "InvalidSignatureException", status },
  };
}

export const jsonRefusals = commonRefusals(jsonCodes(400));

export const restJsonRefusals = commonRefusals(jsonCodes(403));

export const queryRefusals = commonRefusals({
  expired: { code: "ExpiredToken", status: 403 },
  unknown: { code: "InvalidClientTokenId", status: 403 },
  signature: { code: "SignatureDoesNotMatch", status: 403 },
});

const authFailure = {
  code: "AuthFailure",
  status: 401,
  message: "AWS was not able to validate the provided access credentials",
};

export const ec2Refusals: Refusals = {
  expired: { code: "RequestExpired", status: 400, message: "Request has expired." },
  unknown: authFailure,
  wrongToken: authFailure,
  signature: authFailure,
  skewed: { code: "RequestExpired", status: 400, message: () => "Request has expired.", toleranceMinutes: 5 },
  region: { ...authFailure, message: (given) => `Credential should be scoped to a valid region, not '${given}'.` },
};

/** "Error responses", Amazon S3 API Reference. */
export const s3Refusals: Refusals = {
  expired: { code: "ExpiredToken", status: 400, message: "The provided token has expired." },
  unknown: {
    code: "InvalidAccessKeyId",
    status: 403,
    message: "The AWS Access Key Id you provided does not exist in our records.",
  },
  wrongToken: {
    code: "InvalidToken",
    status: 400,
    message: "The provided token is malformed or otherwise invalid.",
  },
  signature: {
    code: "SignatureDoesNotMatch",
    status: 403,
    message:
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
  },
  skewed: {
    code: "RequestTimeTooSkewed",
    status: 403,
    message: () => "The difference between the request time and the current time is too large.",
    toleranceMinutes: 15,
  },
  region: {
    code: "AuthorizationHeaderMalformed",
    status: 400,
    message: (given, expected) =>
      `The authorization header is malformed; the region '${given}' is wrong; expecting '${expected}'`,
  },
};
