// What alerts are called, how they look and which comes first: IEC 60601-1-8's colours, each with a shape, the
// mark and words, so that no meaning hangs on colour alone.
import { make, write } from "./elements.js";

const SHAPES = { high: "▲", medium: "◆", low: "●" };
const URGENCY = { high: 0, medium: 1, low: 2 };

export const isActive = (alert) => alert.state.startsWith("active");
export const isSuppressed = (alert) => alert.state.endsWith("suppressed");
/** Whether the signal calls for somebody. */
export const calls = (alert) => alert.state.endsWith("unacknowledged");

/** The smaller the more urgent: what calls before what somebody saw, the ECG before technical, then priority. */
export function rank(alert) {
  return (calls(alert) ? 0 : 100) + (alert.isTechnical ? 10 : 0) + 2 * URGENCY[alert.priority] + (isActive(alert) ? 0 : 1);
}

export const byUrgency = (a, b) => rank(a) - rank(b) || (a.raisedAt < b.raisedAt ? -1 : 1);

export function stateWords(alert) {
  const words = [isActive(alert) ? "going on" : "over"];
  if (isSuppressed(alert)) words.push(`suppressed until ${clock(alert.suppressedUntil)}`);
  else words.push(calls(alert) ? "nobody has looked" : "acknowledged");
  if (alert.assignee) words.push(`assigned to ${alert.assignee}`);
  return words.join(", ");
}

/** A sign that can be given another alert later. */
export function sign() {
  const shape = make("span", { class: "shape", "aria-hidden": "true" });
  const mark = make("span", { class: "mark" });
  const words = make("span", { class: "words" });
  const box = make("span", { class: "sign" }, shape, mark, words);
  return { box, show: (alert) => showIn(box, shape, mark, words, alert) };
}

function showIn(box, shape, mark, words, alert) {
  if (!alert) {
    box.className = "sign none";
    for (const node of [shape, mark, words]) write(node, "");
    return;
  }
  const look = alert.isTechnical ? "technical" : alert.priority;
  box.className = `sign ${calls(alert) ? `${look} calls` : "quiet"}`;
  write(shape, alert.isTechnical ? "■" : SHAPES[alert.priority]);
  write(mark, alert.mark);
  write(words, alert.title);
}

export const clock = (text) => (text ? when(text).slice(11) : "–");

/** A day and time as everybody reads it the same: 2026-11-27 08:15:30, by the clock of whoever reads. */
const FORMAT = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
export const when = (time) => FORMAT.format(new Date(time));

export function ago(seconds) {
  if (seconds < 0) return "0 s";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}
