// Figures and times in the viewer's own locale and zone. The server's text stays where a value is not understood.

const language = document.documentElement.lang;
const own = navigator.languages?.find((tag) => tag.split("-")[0] === language.split("-")[0]);
// Words (months, units) are in the page's language; digits follow the viewer, who may read English in Berlin.
const words = own ?? language;
const digits = navigator.language || language;
const made = new Map();

function format(key, make) {
  if (!made.has(key)) made.set(key, make());
  return made.get(key);
}

const numbers = (options) => format(JSON.stringify(options), () => new Intl.NumberFormat(digits, options));
const inWords = (options) => format(`w${JSON.stringify(options)}`, () => new Intl.NumberFormat(words, options));

export const whole = (value) => numbers({ maximumFractionDigits: 0 }).format(value);
export const compact = (value) => inWords({ notation: "compact", maximumSignificantDigits: 3 }).format(value);
export const money = (value, currency, places = 4) =>
  numbers({ style: "currency", currency, minimumFractionDigits: places, maximumFractionDigits: places }).format(value);

const STEPS = {
  hour: [{ hour: "2-digit", minute: "2-digit" }, { dateStyle: "medium", timeStyle: "short" }],
  day: [{ month: "short", day: "numeric" }, { dateStyle: "full" }],
  month: [{ year: "numeric", month: "short" }, { year: "numeric", month: "long" }],
};

/** A step of time by its beginning in seconds; it is told in the server's zone, which is no zone's offset here. */
export const moment = (seconds, step, long = false) =>
  format(`m${step}${long}`, () => new Intl.DateTimeFormat(words, { ...STEPS[step][long ? 1 : 0], timeZone: "UTC" }))
    .format(seconds * 1000);

const WAYS = {
  int: (data) => numbers({ maximumFractionDigits: 0 }).format(BigInt(data.value)),
  compact: (data) => compact(Number(data.value)),
  percent: (data) => numbers({ style: "percent", maximumFractionDigits: 1 }).format(Number(data.value)),
  change: (data) =>
    numbers({ style: "percent", maximumFractionDigits: 0, signDisplay: "exceptZero" }).format(Number(data.value)),
  ms: (data) => {
    const ms = Number(data.value);
    const long = ms >= 1000;
    return inWords({
      style: "unit", unit: long ? "second" : "millisecond", unitDisplay: "narrow",
      minimumFractionDigits: long ? 1 : 0, maximumFractionDigits: long ? 1 : 0,
    }).format(long ? ms / 1000 : ms);
  },
  // The exact amount is text: more digits than a floating-point number can tell are not lost on the way.
  money: (data) => money(data.value, data.dataset.currency, Number(data.dataset.digits)),
};

const TIMES = {
  second: { dateStyle: "medium", timeStyle: "medium" },
  minute: { dateStyle: "medium", timeStyle: "short" },
};

/** Rewrites every figure and time below `root`. */
export function localize(root) {
  for (const data of root.querySelectorAll("data[data-as]")) {
    const way = WAYS[data.dataset.as];
    if (!way) continue;
    try {
      data.textContent = way(data);
    } catch {
      // A currency that the browser does not know: the server's text is as good.
    }
  }
  for (const time of root.querySelectorAll("time[data-as]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    const style = TIMES[time.dataset.as];
    time.textContent = format(`t${time.dataset.as}`, () => new Intl.DateTimeFormat(words, style)).format(at);
    time.title = time.dateTime;
  }
}
