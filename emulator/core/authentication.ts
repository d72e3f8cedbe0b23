/** Who sent a request: its keys, its session, its signature and its time are verified before anything else. */
import { AwsError, notImplemented, type Principal } from "./definitions";
import type { CredentialStore } from "./credentials";
import { type Authorization, expectedSignature, parseAuthorization, sha256, type SignedRequest } from "./signature";
import { jsonRefusals, type Refusals } from "./wire/refusals";

/** What distinguishes the services' ways of being signed. */
export interface SignatureRules {
  readonly refused: Refusals;
  /** S3's way: the payload's hash is what the header says (the payload is verified as it streams in), the path is encoded once. */
  readonly streams: boolean;
}

/** Elastio's and other private paths are signed as S3 requests are, whose body may be a stream. */
export const privateRules: SignatureRules = { refused: jsonRefusals, streams: true };

/**
 * The Authorization header of a request.
 * @throws MissingAuthenticationToken, IncompleteSignature. Presigned URLs are NotImplemented.
 */
export function authorizationOf(request: SignedRequest): Authorization {
  const header = request.headers.authorization;
  if (header === undefined) {
    if (/(^|&)X-Amz-Signature=/i.test(request.search)) throw notImplemented("presigned URLs (X-Amz-Signature)");
    throw new AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403);
  }
  const authorization = parseAuthorization(header);
  if (typeof authorization === "string") throw new AwsError("IncompleteSignature", authorization, 400);
  return authorization;
}

/** Services that are the same in all Regions are signed for this one, whatever the caller's Region is. */
const globalServices: readonly string[] = ["iam", "sts"];
const globalRegion = "us-east-1";

export class Authenticator {
  constructor(
    private readonly credentials: CredentialStore,
    private readonly region: string,
    /** Callers live in real time, whatever the emulator's clock says. */
    private readonly now: () => number = Date.now,
  ) {}

  /**
   * The principal whose keys have signed the request.
   * @param body The body as sent, where it was read whole.
   * @throws The service's own error for what does not hold.
   */
  authenticate(
    request: SignedRequest,
    authorization: Authorization,
    body: Uint8Array,
    { refused, streams }: SignatureRules,
  ): Principal {
    const { credentials, principal } = this.issued(authorization, request, refused);
    const time = this.checkTime(request, authorization, refused);
    this.checkScope(authorization, refused);
    if (!authorization.signedHeaders.includes("host")) {
      const message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
      throw refusal(refused.signature, message);
    }
    const payloadHash = streams ? payloadHashOf(request, authorization) : sha256(body);
    const { signature, ...signed } = expectedSignature(
      request,
      authorization,
      credentials.secretAccessKey,
      time,
      payloadHash,
      streams ? "once" : "twice",
    );
    if (signature !== authorization.signature) throw mismatch(authorization, signed, { refused, streams });
    return principal;
  }

  private issued({ accessKeyId }: Authorization, { headers }: SignedRequest, refused: Refusals) {
    const issued = this.credentials.find(accessKeyId);
    if (issued === "expired") throw refusal(refused.expired);
    if (!issued) throw refusal(refused.unknown);
    const { sessionToken } = issued.credentials;
    if (sessionToken !== "" && sessionToken !== headers["x-amz-security-token"]) throw refusal(refused.wrongToken);
    return issued;
  }

  private checkTime({ headers }: SignedRequest, { day }: Authorization, refused: Refusals): string {
    const time = headers["x-amz-date"];
    const [, year, month, date, hour, minute, second] =
      /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(typeof time === "string" ? time : "") ?? [];
    if (typeof time !== "string" || second === undefined) {
      const message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
      throw new AwsError("IncompleteSignature", message, 400);
    }
    if (!time.startsWith(day)) {
      const message = `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${day}' != '${time.slice(0, 8)}', from '${time}'.`;
      throw refusal(refused.signature, message);
    }
    const sent = Date.parse(`${year}-${month}-${date}T${hour}:${minute}:${second}Z`);
    const now = this.now();
    const { message, toleranceMinutes } = refused.skewed;
    if (!(Math.abs(now - sent) <= toleranceMinutes * 60_000)) {
      throw refusal(refused.skewed, message(time, now));
    }
    return time;
  }

  private checkScope({ region, service }: Authorization, refused: Refusals): void {
    const wanted = region === this.region || (globalServices.includes(service) && region === globalRegion);
    if (!wanted) throw refusal(refused.region, refused.region.message(region, this.region));
  }
}

/** What S3 requests say of their payload; the payload itself is compared with it as it streams in. */
function payloadHashOf({ headers }: SignedRequest, { signedHeaders }: Authorization): string {
  const hash = headers["x-amz-content-sha256"];
  if (typeof hash !== "string") {
    throw new AwsError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400);
  }
  if (/^STREAMING-AWS4-/.test(hash)) throw notImplemented(`signed chunks (x-amz-content-sha256: ${hash})`);
  const unsigned = Object.keys(headers).find((name) => name.startsWith("x-amz-") && !signedHeaders.includes(name));
  if (unsigned !== undefined) {
    const message = "There were headers present in the request which were not signed";
    throw new AwsError("AccessDenied", message, 403, { HeadersNotSigned: unsigned });
  }
  return hash;
}

function mismatch(
  authorization: Authorization,
  signed: { readonly canonicalRequest: string; readonly stringToSign: string },
  { refused, streams }: SignatureRules,
): AwsError {
  const members = {
    AWSAccessKeyId: authorization.accessKeyId,
    StringToSign: signed.stringToSign,
    SignatureProvided: authorization.signature,
    CanonicalRequest: signed.canonicalRequest,
  };
  const { code, message, status } = refused.signature;
  return new AwsError(code, message, status, streams ? members : {});
}

function refusal(
  { code, status, ...words }: { readonly code: string; readonly status: number; readonly message: unknown },
  message = String(words.message),
): AwsError {
  return new AwsError(code, message, status);
}
