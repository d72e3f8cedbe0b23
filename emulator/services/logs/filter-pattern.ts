/** Filter patterns for unstructured events ("Filter pattern syntax"): terms, `"phrases"`, `?any` and `-none`. */
import { AwsError, notImplemented } from "../../core/definitions";

/** Whether a message matches. An empty pattern matches everything. */
export function filterPattern(pattern: string): (message: string) => boolean {
  const trimmed = pattern.trim();
  if (/^[{[%]/.test(trimmed)) throw notImplemented("FilterLogEvents.filterPattern with JSON, columns or expressions");
  const terms = [...trimmed.matchAll(/([?-]?)(?:"((?:[^"\\]|\\.)*)"|(\S+))/g)].map(([, sign, phrase, word]) => ({
    sign,
    text: phrase === undefined ? (word ?? "") : phrase.replace(/\\(.)/g, "$1"),
  }));
  const bare = terms.find(({ text }) => text === "" || text.includes('"'));
  if (bare) throw new AwsError("InvalidParameterException", "Invalid filter pattern", 400);
  const all = terms.filter(({ sign }) => sign === "").map(({ text }) => text);
  const any = terms.filter(({ sign }) => sign === "?").map(({ text }) => text);
  const none = terms.filter(({ sign }) => sign === "-").map(({ text }) => text);
  return (message) =>
    all.every((text) => message.includes(text)) &&
    (any.length === 0 || any.some((text) => message.includes(text))) &&
    !none.some((text) => message.includes(text));
}
