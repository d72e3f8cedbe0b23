/** The checksum algorithms that S3 keeps with an object ("Checking object integrity"). */

export const checksumAlgorithms = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const;
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number];

/** In base64, under the member names of requests and replies, for example `ChecksumCRC32`. */
export type Checksums = { [A in ChecksumAlgorithm as `Checksum${A}`]?: string | undefined };

export function isChecksumAlgorithm(name: string | undefined): name is ChecksumAlgorithm {
  return checksumAlgorithms.some((known) => known === name);
}
