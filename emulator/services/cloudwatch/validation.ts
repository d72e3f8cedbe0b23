/** Limits and paging, in the service's words. */
import { AwsError } from "../../core/definitions";

export function invalid(code: string, message: string, status = 400): AwsError {
  return new AwsError(code, message, status);
}

export function validationError(message: string): AwsError {
  return invalid("ValidationError", message);
}

export function combination(message: string): AwsError {
  return invalid("InvalidParameterCombinationException", message);
}

export function checkLength(member: string, value: string, least: number, most: number): string {
  if (value.length >= least && value.length <= most) return value;
  throw validationError(
    `1 validation error detected: Value at '${member}' failed to satisfy constraint: Member must have length from ${least} to ${most}`,
  );
}

/** A page of a list, and where the next one begins. */
export function pageFrom<T>(
  items: readonly T[],
  token: string | undefined,
  size: number,
  most: number,
): { readonly items: readonly T[]; readonly next: string | undefined } {
  const start = token === undefined ? 0 : Number(token);
  if (!Number.isInteger(start) || start < 0) throw invalid("InvalidNextToken", "The next token is invalid");
  if (!(size >= 1 && size <= most)) throw validationError(`A page has from 1 to ${most} records`);
  const next = start + size < items.length ? String(start + size) : undefined;
  return { items: items.slice(start, start + size), next };
}
