/** IPv4 ranges in CIDR notation. */
import { AwsError } from "../../core/definitions";

export interface Cidr {
  /** In canonical form: the host bits are zero. */
  readonly text: string;
  readonly prefix: number;
  readonly first: number;
  readonly size: number;
  /** The nth address of the range. */
  address(index: number): string;
}

export function parseCidr(text: string): Cidr {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const [, a = 256, b = 256, c = 256, d = 256, prefix = 33] = (match ?? []).map(Number);
  if ([a, b, c, d].some((octet) => octet > 255) || prefix > 32) {
    const message = `Value (${text}) for parameter cidrBlock is invalid. This is not a valid CIDR block.`;
    throw new AwsError("InvalidParameterValue", message);
  }
  const size = 2 ** (32 - prefix);
  const address = ((a * 256 + b) * 256 + c) * 256 + d;
  const first = Math.floor(address / size) * size;
  return { text: `${dotted(first)}/${prefix}`, prefix, first, size, address: (index) => dotted(first + index) };
}

/** Whether the inner range lies within the outer one. */
export function contains(outer: Cidr, inner: Cidr): boolean {
  return inner.first >= outer.first && inner.first + inner.size <= outer.first + outer.size;
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}
