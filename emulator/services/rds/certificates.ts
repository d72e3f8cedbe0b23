/**
 * A private certificate authority, and the certificates that it signs: what RDS's own authority is to real databases.
 * X.509 v3 (RFC 5280) with ECDSA P-256 keys, written in DER here: node:crypto makes keys and signs, but has no
 * certificates of its own.
 */
import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";
import * as net from "node:net";

/** A certificate and its private key, PEM. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

const oids = {
  commonName: "2.5.4.3",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  subjectKeyIdentifier: "2.5.29.14",
  authorityKeyIdentifier: "2.5.29.35",
  subjectAltName: "2.5.29.17",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

/** Signs certificates for servers. The authority's key never leaves this object. */
export class CertificateAuthority {
  /** The authority's own certificate, PEM: what clients trust. */
  readonly certificate: string;
  private readonly keys = generateKeyPairSync("ec", { namedCurve: "P-256" });

  constructor(private readonly name: string) {
    this.certificate = this.sign(name, this.keys.publicKey, [
      extension(oids.basicConstraints, true, sequence(boolean(true))),
      // keyCertSign and cRLSign: bits 5 and 6 of one octet.
      extension(oids.keyUsage, true, encode(0x03, Buffer.from([1, 0b00000110]))),
      extension(oids.subjectKeyIdentifier, false, encode(0x04, keyIdentifier(this.keys.publicKey))),
    ]);
  }

  /** Issues a server's certificate for DNS names and IP addresses. The first one is its common name. */
  issue(names: readonly [string, ...string[]]): Certificate {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const certificate = this.sign(names[0].slice(0, 64), publicKey, [
      extension(oids.basicConstraints, true, sequence()),
      extension(oids.extendedKeyUsage, false, sequence(objectIdentifier(oids.serverAuth))),
      extension(oids.subjectAltName, false, sequence(...names.flatMap(alternativeNames))),
      extension(oids.subjectKeyIdentifier, false, encode(0x04, keyIdentifier(publicKey))),
      extension(oids.authorityKeyIdentifier, false, sequence(encode(0x80, keyIdentifier(this.keys.publicKey)))),
    ]);
    return { certificate, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
  }

  private sign(subject: string, publicKey: KeyObject, extensions: Buffer[]): string {
    const algorithm = sequence(objectIdentifier(oids.ecdsaWithSha256));
    const day = 24 * 60 * 60 * 1000;
    const toBeSigned = sequence(
      encode(0xa0, integer(Buffer.from([2]))),
      // Positive, and not starting with a zero octet.
      integer(Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
      algorithm,
      distinguishedName(this.name),
      sequence(time(new Date(Date.now() - day)), time(new Date(Date.now() + 3650 * day))),
      distinguishedName(subject),
      publicKey.export({ type: "spki", format: "der" }),
      encode(0xa3, sequence(...extensions)),
    );
    const signature = sign("sha256", toBeSigned, this.keys.privateKey);
    const der = sequence(toBeSigned, algorithm, encode(0x03, Buffer.concat([Buffer.from([0]), signature])));
    return pem("CERTIFICATE", der);
  }
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

/** One DER element: tag, length, contents. */
function encode(tag: number, contents: Buffer): Buffer {
  const size = contents.length;
  if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), contents]);
  const length = size < 0x100 ? [size] : [size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length, ...length]), contents]);
}

function sequence(...elements: Buffer[]): Buffer {
  return encode(0x30, Buffer.concat(elements));
}

function integer(bytes: Buffer): Buffer {
  return encode(0x02, bytes);
}

function boolean(value: boolean): Buffer {
  return encode(0x01, Buffer.from([value ? 0xff : 0]));
}

function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return encode(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) digits.unshift((rest & 0x7f) | 0x80);
  return digits;
}

/** UTCTime until 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5). */
function time(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050 ? encode(0x17, Buffer.from(text.slice(2))) : encode(0x18, Buffer.from(text));
}

function distinguishedName(commonName: string): Buffer {
  const attribute = sequence(objectIdentifier(oids.commonName), encode(0x0c, Buffer.from(commonName)));
  return sequence(encode(0x31, attribute));
}

function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectIdentifier(oid), ...(critical ? [boolean(true)] : []), encode(0x04, value));
}

/** An address is written as a name too: libpq looks for addresses in certificates from 15 on; before, for names alone. */
function alternativeNames(name: string): Buffer[] {
  const asName = encode(0x82, Buffer.from(name));
  if (!net.isIPv4(name)) return [asName];
  return [encode(0x87, Buffer.from(name.split(".").map(Number))), asName];
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash("sha1")
    .update(key.export({ type: "spki", format: "der" }))
    .digest();
}
