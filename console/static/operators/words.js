/** How numbers, times and states are said. */

const NUMBER = new Intl.NumberFormat("en");
const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const NONE = "–";

export const count = (number) => NUMBER.format(number);

export function ms(number) {
  if (number === null || number === undefined) return NONE;
  return `${NUMBER.format(Math.round(number))} ms`;
}

/** Cents, and below a dollar as many places as it takes to see anything. */
export function usd(number) {
  if (number === null || number === undefined) return NONE;
  const places = number !== 0 && number < 1 ? 4 : 2;
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: places };
  return `$${number.toLocaleString("en", digits)}`;
}

/** @param {number} at Unix seconds. */
export const moment = (at) => (at ? DATE.format(new Date(at * 1000)) : NONE);

/** How long ago; what is to come counts as now, since clocks differ. */
export function ago(at) {
  if (!at) return NONE;
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - at));
  if (seconds < 5) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h ago`;
  return moment(at);
}

/** How long until then; empty when it has passed. */
export function ahead(at) {
  const seconds = at ? Math.ceil(at - Date.now() / 1000) : 0;
  if (seconds <= 0) return "";
  return seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}

export const plural = (number, one) => `${count(number)} ${number === 1 ? one : `${one}s`}`;

/** Where a rule comes from, with that policy's version as `version` tells it (`base.3+org_x.7`). */
export function origin(from, version) {
  if (from === "settings") return "settings";
  const part = version.split("+").find((name) => name.startsWith(`${from}.`));
  return part ? `${from}, version ${part.slice(from.length + 1)}` : from;
}

/** A rule's condition as it was written; what is no expression as `key: value`. */
export function condition(when) {
  if (typeof when === "string") return when;
  return Object.entries(when)
    .map(([key, value]) => `${key}: ${flow(value)}`)
    .join("\n");
}

/** Where a rule leads. With `else` a conversation keeps its agent unless the rule says otherwise. */
export function leads({ agent, split, semantic, classifier, when, sticky, on_failure: onFailure }) {
  const ways = [];
  if (agent) ways.push(agent);
  if (split) ways.push(`split by ${split.by}: ${shares(split.agents)}`);
  if (semantic) {
    ways.push(`nearest example of ${names(semantic.examples)}; else ${semantic.else}`);
  }
  if (classifier) {
    const { agent: judge, answers, else: otherwise } = classifier;
    ways.push(`${judge} chooses among ${names(answers)}; else ${otherwise}`);
  }
  if (sticky ?? when === "else") ways.push("a conversation keeps its agent");
  if (onFailure) ways.push(`on failure ${onFailure}`);
  return ways.join(" · ");
}

const names = (table) => Object.keys(table).join(", ");

function shares(agents) {
  const all = Object.values(agents).reduce((sum, weight) => sum + weight, 0);
  return Object.entries(agents)
    .map(([agent, weight]) => `${agent} ${Math.round((weight / all) * 1000) / 10}%`)
    .join(", ");
}

/** A value of YAML on one line. */
function flow(value) {
  if (Array.isArray(value)) return value.map(flow).join(", ");
  if (value !== null && typeof value === "object") {
    return Object.entries(value).map(([key, inner]) => `${key} = ${flow(inner)}`).join(", ");
  }
  return String(value);
}
