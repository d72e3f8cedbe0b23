import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/** A running checksum over a stream. */
export interface Checksum {
  update(chunk: Uint8Array): void;
  /** In base64, as S3 writes it. */
  digest(): string;
}

/** By the last part of S3's header `x-amz-checksum-<algorithm>`. Undefined for what is not computed here. */
export function checksumOf(algorithm: string): Checksum | undefined {
  switch (algorithm) {
    case "crc32":
      return crcChecksum((chunk, state) => crc32(chunk, state));
    case "crc32c":
      return crcChecksum(crc32c);
    case "crc64nvme":
      return crc64nvme();
    case "sha1":
    case "sha256":
    case "sha512":
    case "md5":
      return hashChecksum(algorithm);
    default:
      return undefined;
  }
}

function hashChecksum(algorithm: string): Checksum {
  const hash = createHash(algorithm);
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest("base64") };
}

function crcChecksum(step: (chunk: Uint8Array, state: number) => number): Checksum {
  let state = 0;
  return {
    update: (chunk) => {
      state = step(chunk, state);
    },
    digest: () => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(state >>> 0);
      return bytes.toString("base64");
    },
  };
}

/** Castagnoli's polynomial, reflected. */
const crc32cTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

function crc32c(chunk: Uint8Array, state: number): number {
  let crc = ~state;
  for (const byte of chunk) crc = (crc32cTable[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** The reflected NVMe polynomial; two halves, because BigInt is too slow for a stream. */
const crc64Table = Array.from({ length: 256 }, (_, index) => {
  let value = BigInt(index);
  for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ 0x9a6c9329ac4bc9b5n : value >> 1n;
  return { high: Number(value >> 32n), low: Number(value & 0xffffffffn) };
});

function crc64nvme(): Checksum {
  let high = 0xffffffff;
  let low = 0xffffffff;
  return {
    update: (chunk) => {
      for (const byte of chunk) {
        const entry = crc64Table[(low ^ byte) & 0xff] ?? { high: 0, low: 0 };
        low = (((low >>> 8) | (high << 24)) ^ entry.low) >>> 0;
        high = ((high >>> 8) ^ entry.high) >>> 0;
      }
    },
    digest: () => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt32BE(~high >>> 0, 0);
      bytes.writeUInt32BE(~low >>> 0, 4);
      return bytes.toString("base64");
    },
  };
}
