/** `rate(...)`, `cron(...)` and `at(...)` ("Schedule types on EventBridge Scheduler"), in UTC. */
import { AwsError, notImplemented } from "../../core/definitions";

export interface Recurrence {
  /** The first occurrence after this time, of a schedule that began at `start`. */
  next(after: Date, start: Date): Date | undefined;
  readonly once: boolean;
}

const units: Readonly<Record<string, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/** @throws ValidationException */
export function scheduleExpression(text: string): Recurrence {
  const match = /^(rate|cron|at)\((.*)\)$/.exec(text);
  const recurrence = match && parsers[match[1] ?? ""]?.(match[2] ?? "");
  if (!recurrence) throw new AwsError("ValidationException", `Invalid Schedule Expression ${text}.`, 400);
  return recurrence;
}

const parsers: Readonly<Record<string, (text: string) => Recurrence | undefined>> = { rate, cron, at };

function rate(text: string): Recurrence | undefined {
  const match = /^([1-9]\d*) (minute|hour|day)s?$/.exec(text);
  if (!match) return undefined;
  const interval = Number(match[1]) * (units[match[2] ?? ""] ?? 0);
  return {
    once: false,
    // "If you do not provide a StartDate for a rate-based schedule, your schedule starts invoking immediately."
    next: (after, start) => {
      const passed = Math.floor((after.getTime() - start.getTime()) / interval) + 1;
      return new Date(start.getTime() + Math.max(passed, 0) * interval);
    },
  };
}

function at(text: string): Recurrence | undefined {
  const time = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$/.test(text) ? new Date(`${text}Z`) : undefined;
  if (!time || Number.isNaN(time.getTime())) return undefined;
  return { once: true, next: (after) => (time > after ? time : undefined) };
}

interface CronField {
  readonly from: number;
  readonly to: number;
  readonly names?: readonly string[];
}

const months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const fields: readonly CronField[] = [
  { from: 0, to: 59 },
  { from: 0, to: 23 },
  { from: 1, to: 31 },
  { from: 1, to: 12, names: months },
  { from: 1, to: 7, names: days },
  { from: 1970, to: 2199 },
];

function cron(text: string): Recurrence | undefined {
  const parts = text.trim().split(/\s+/);
  if (parts.length !== fields.length) return undefined;
  // One of day-of-month and day-of-week must be `?`.
  if ((parts[2] === "?") === (parts[4] === "?")) return undefined;
  const sets = parts.map((part, index) => cronField(part, fields[index]));
  const [minutes, hours, monthDays, monthNumbers, weekDays, years] = sets;
  if (!minutes || !hours || !monthDays || !monthNumbers || !weekDays || !years) return undefined;
  const isDay = (day: Date): boolean =>
    years.has(day.getUTCFullYear()) &&
    monthNumbers.has(day.getUTCMonth() + 1) &&
    monthDays.has(day.getUTCDate()) &&
    weekDays.has(day.getUTCDay() + 1);
  return { once: false, next: (after) => nextTime(after, isDay, hours, minutes, Math.max(...years)) };
}

function nextTime(
  after: Date,
  isDay: (day: Date) => boolean,
  hours: ReadonlySet<number>,
  minutes: ReadonlySet<number>,
  lastYear: number,
): Date | undefined {
  const day = new Date(Date.UTC(after.getUTCFullYear(), after.getUTCMonth(), after.getUTCDate()));
  for (; day.getUTCFullYear() <= lastYear; day.setUTCDate(day.getUTCDate() + 1)) {
    if (!isDay(day)) continue;
    for (const hour of ascending(hours))
      for (const minute of ascending(minutes)) {
        const time = new Date(day.getTime() + hour * 3_600_000 + minute * 60_000);
        if (time > after) return time;
      }
  }
  return undefined;
}

function cronField(text: string, field: CronField | undefined): ReadonlySet<number> | undefined {
  if (!field) return undefined;
  const values = new Set<number>();
  for (const item of text.split(",")) {
    if (/^(L|L?W|\w+[LW]|\w+#\d)$/i.test(item) && cronNumber(item, field) === undefined)
      throw notImplemented(`the cron field ${item}`);
    const match = /^(\*|\?|\w+)(?:-(\w+))?(?:\/(\d+))?$/.exec(item);
    const any = match?.[1] === "*" || match?.[1] === "?";
    const from = any ? field.from : cronNumber(match?.[1], field);
    const open = any || match?.[3] !== undefined;
    const to = match?.[2] === undefined ? (open ? field.to : from) : cronNumber(match[2], field);
    const step = Number(match?.[3] ?? 1);
    if (from === undefined || to === undefined || from > to || step < 1) return undefined;
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return values;
}

function cronNumber(text: string | undefined, { from, to, names }: CronField): number | undefined {
  const named = names?.indexOf((text ?? "").toUpperCase()) ?? -1;
  const value = named >= 0 ? named + 1 : /^\d+$/.test(text ?? "") ? Number(text) : NaN;
  return value >= from && value <= to ? value : undefined;
}

function ascending(values: ReadonlySet<number>): readonly number[] {
  return [...values].sort((a, b) => a - b);
}
