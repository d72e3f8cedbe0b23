import { randomInt } from "node:crypto";
import { AwsError } from "../../core/definitions";

const alphabets = {
  lower: "abcdefghijklmnopqrstuvwxyz",
  upper: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
  digits: "0123456789",
  // "ExcludePunctuation" lists them.
  punctuation: "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
  space: " ",
};

export interface PasswordRules {
  readonly length?: number | undefined;
  readonly excludeCharacters?: string | undefined;
  readonly excludeLowercase?: boolean | undefined;
  readonly excludeUppercase?: boolean | undefined;
  readonly excludeNumbers?: boolean | undefined;
  readonly excludePunctuation?: boolean | undefined;
  readonly includeSpace?: boolean | undefined;
  readonly requireEachIncludedType?: boolean | undefined;
}

/** A random password, as GetRandomPassword makes it. */
export function randomPassword(rules: PasswordRules = {}): string {
  const length = rules.length ?? 32;
  const types = [
    rules.excludeLowercase ? "" : alphabets.lower,
    rules.excludeUppercase ? "" : alphabets.upper,
    rules.excludeNumbers ? "" : alphabets.digits,
    rules.excludePunctuation ? "" : alphabets.punctuation,
    rules.includeSpace ? alphabets.space : "",
  ]
    .map((alphabet) => [...alphabet].filter((each) => !rules.excludeCharacters?.includes(each)))
    .filter((alphabet) => alphabet.length > 0);
  const each = (rules.requireEachIncludedType ?? true) ? types : [];
  if (types.length === 0 || length < Math.max(each.length, 1) || length > 4096)
    throw new AwsError(
      "InvalidParameterException",
      "The password can't be generated from the given length and exclusions.",
      400,
    );
  const all = types.flat();
  const characters = [...each.map(pick), ...Array.from({ length: length - each.length }, () => pick(all))];
  return shuffled(characters).join("");
}

function pick(alphabet: readonly string[]): string {
  return alphabet[randomInt(alphabet.length)] ?? "";
}

function shuffled(characters: string[]): readonly string[] {
  for (let last = characters.length - 1; last > 0; last--) {
    const other = randomInt(last + 1);
    [characters[last], characters[other]] = [characters[other] ?? "", characters[last] ?? ""];
  }
  return characters;
}
