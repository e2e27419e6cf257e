// Usage: node sign.mjs SEED COUNT
//
// Prints COUNT lines {"body", "signingKey", "signature"} for generated webhook bodies: the text
// as RelayBox's service writes it (JSON.stringify), or the same value written in another way.
import { sign } from "./relaybox.mjs";

const [seed, count] = process.argv.slice(2).map(Number);

// mulberry32: small, seeded, and good enough to vary test data with.
let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const below = (n) => Math.floor(random() * n);
const pick = (values) => values[below(values.length)];

function anyDouble() {
  const view = new DataView(new ArrayBuffer(8));
  for (;;) {
    view.setUint32(0, below(2 ** 32));
    view.setUint32(4, below(2 ** 32));
    const value = view.getFloat64(0);
    if (Number.isFinite(value)) return value;
  }
}

const NUMBERS = [
  0, -0, 1, -1, 0.1, 0.30000000000000004, 1e-5, 1.5e-5, 9.999e-6, 1e-6, 9.5e-7, 1e-7, 5e-324,
  2.2250738585072014e-308, 1.7976931348623157e308, 1e15, 1e16, 1e20, 1e21, 1.5e21, 1e22,
  123456789012345680000, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, 2 ** 63, 2 ** 64, -(2 ** 53), -1e21,
  4503599627370495.5, 333333333.3333333, 1729602908.913,
];
const number = () =>
  pick([
    () => pick(NUMBERS),
    anyDouble,
    () => below(2 ** 31) - 2 ** 30,
    () => (random() - 0.5) * 10 ** (below(40) - 20),
    () => Math.round(random() * 2 ** 53) * 2 ** below(20),
  ])();

const CHARACTERS = [
  "a", "Z", "0", " ", '"', "\\", "/", "\u0000", "\b", "\t", "\n", "\f", "\r", "\u001f", "\u007f",
  "\u0080", "é", "ö", "€", "\u2028", "\u2029", "日", "\ue000", "\ufb33", "\uff0c", "\uffff", "😀",
  "𝒳", "\u{10ffff}", "\ud800", "\udbff", "\udc00", "\udfff",
];
function text() {
  let value = "";
  for (let n = below(8); n > 0; n--) value += pick(CHARACTERS);
  return value;
}
const key = () => (below(4) ? text() : pick(["__proto__", "constructor", "toString", "10", "9"]));

function value(depth) {
  const kind = below(depth > 0 ? 8 : 4);
  if (kind === 0) return pick([null, true, false]);
  if (kind < 3) return number();
  if (kind === 3) return text();
  if (kind < 6) return Array.from({ length: below(5) }, () => value(depth - 1));
  const members = Array.from({ length: below(7) }, () => [key(), value(depth - 1)]);
  return Object.fromEntries(members); // defines "__proto__" like any other member
}

function nested(levels) {
  let inner = value(1);
  for (let n = 0; n < levels; n++) inner = n % 2 ? [inner] : { "😀": inner, "\uff0c": n };
  return inner;
}

const hex = (code) => pick([code, code.toUpperCase()]);
const escaped = (unit) => `\\u${hex(unit.charCodeAt(0).toString(16).padStart(4, "0"))}`;
const writeString = (string) =>
  `"${Array.from({ length: string.length }, (_, n) =>
    below(2) || /["\\\u0000-\u001f\ud800-\udfff]/.test(string[n]) ? escaped(string[n]) : string[n],
  ).join("")}"`;

// The same double in other words: all digits of an integer, a trailing zero, an exponent.
function writeNumber(number) {
  if (Object.is(number, -0)) return pick(["-0", "-0.0", "-0e5"]);
  const spellings = [String(number), number.toExponential(), number.toExponential(25)];
  if (Number.isInteger(number)) spellings.push(BigInt(number).toString());
  if (Number.isSafeInteger(number)) spellings.push(`${number}.0`, `${number}E0`);
  return pick(spellings);
}

const space = () => pick(["", "", " ", "\n", "\r\n\t"]);
function write(value) {
  if (typeof value === "string") return writeString(value);
  if (typeof value === "number") return writeNumber(value);
  if (Array.isArray(value)) {
    return `[${space()}${value.map(write).join(`${space()},`)}${space()}]`;
  }
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value)
    .sort(() => random() - 0.5)
    .map((key) => `${space()}${writeString(key)}${space()}:${space()}${write(value[key])}`);
  return `{${members.join(",")}${space()}}`;
}

for (let n = 0; n < count; n++) {
  const payload = {
    id: `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`,
    event: pick(["room:publish", "presence:join", "auth:signin", "order:paid"]),
    data: n % 25 === 24 ? nested((7 * n) % 500) : value(5),
    session: below(3) ? { appPid: text(), user: { id: text(), more: value(2) } } : null,
    timestamp: new Date(below(2 ** 41)).toISOString(),
  };
  const signingKey = pick(["21d45d1d4dff46f13cd4478ba08395d9", "ключ", "k".repeat(200), "🔑"]);
  const body = n % 2 ? write(payload) : JSON.stringify(payload);
  // What is signed is what a parser makes of the text: JSON.stringify turns -0 into 0.
  const line = { body, signingKey, signature: sign(JSON.parse(body), signingKey) };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
