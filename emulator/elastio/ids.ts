/** Ids as Elastio's: a prefix and a ULID, in lower case. */
import { randomBytes } from "node:crypto";

const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";
const TIME_DIGITS = 10;
const RANDOM_DIGITS = 16;

/** `rp-01gdg3gx592wcdpwfjjmz135ws`: 48 bits of time, 80 random ones, in base 32. */
export function ulid(prefix: "j" | "rp", now: Date): string {
  let time = now.getTime();
  let digits = "";
  for (let index = 0; index < TIME_DIGITS; index++) {
    digits = digit(time % DIGITS.length) + digits;
    time = Math.floor(time / DIGITS.length);
  }
  const random = [...randomBytes(RANDOM_DIGITS)].map((byte) => digit(byte % DIGITS.length)).join("");
  return `${prefix}-${digits}${random}`;
}

function digit(value: number): string {
  return DIGITS.charAt(value);
}
