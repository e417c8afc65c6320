// One patient: the ECG live or at any time, measured by calipers; what happened; trends over minutes or months.
import { ACTIONS, perform } from "./actions.js";
import { clock, sign, when } from "./alerts.js";
import { ask } from "./api.js";
import { byId, make, onceAFrame, say, write } from "./elements.js";
import { Live } from "./live.js";
import { Events } from "./patient-events.js";
import { Samples } from "./samples.js";
import { begin } from "./shell.js";
import { Strip } from "./strip.js";
import { Trends, resolutionFor } from "./trends.js";
import { WardStore } from "./ward-store.js";

const MINUTE = 60000;
const HOUR = 60 * MINUTE;
const KEYS = [
  ["← →", "a second back, on; with calipers: one sample"], ["PgUp PgDn", "a page back, on"],
  ["a", "acknowledge the most urgent alert"], ["[ ]", "the event before, the next"], ["l", "live"], ["w", "sweep"], ["h", "hold"],
  ["c", "calipers"], ["r", "calipers on two beats"], ["t", "the other leg of the calipers"], ["Esc", "take the calipers away"],
  ["+ −", "trends: closer, farther"], ["?", "these keys"],
];

const session = await begin();
// Behind the #: the pseudonym, and with an @ the time that is to be looked at.
const [named, at] = decodeURIComponent(location.hash.slice(1)).split("@");
const patient = named || session.patient || "";
addEventListener("hashchange", () => location.reload());
if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(patient)) location.assign("/");
write(byId("name"), patient);
document.title = `${patient} · Einthoven`;

const store = new WardStore();
const nowMs = () => store.nowMs();
const samples = new Samples(patient, nowMs, (error) => {
  if (error) say(error.status === undefined ? "The service does not answer." : error.message, true);
  strip.arrived(samples.newestMs);
  strip.touch();
  later();
});
const strip = new Strip(byId("strip"), samples, { nowMs, onChange: () => later() });
const trends = new Trends(byId("trends"), patient, { onPick: (ms) => strip.review(ms), onNews: trendsCame });
const events = new Events(patient, (one) => {
  const onset = Date.parse(one.onset);
  strip.review(onset + Math.min(strip.spanMs / 2 - 1000, strip.spanMs / 4));
  if (onset < trends.fromMs || onset > trends.untilMs) trends.show(onset - trends.spanMs / 2, onset + trends.spanMs / 2);
});
let measure = "free";
const later = onceAFrame(draw);

function draw() {
  for (const mode of ["scroll", "sweep"]) byId(mode).setAttribute("aria-pressed", strip.mode === mode);
  byId("hold").setAttribute("aria-pressed", !strip.isLive);
  const from = strip.isLive ? strip.playedMs - strip.spanMs : strip.fromMs;
  write(byId("shown"), strip.isLive
    ? `${(strip.delayMs / 1000).toFixed(0)} s behind`
    : `${when(from)}, ${(strip.spanMs / 1000).toFixed(1)} s`);
  drawMeasure();
  drawMeans(from + strip.spanMs / 2);
  trends.selected = strip.isLive ? null : from + strip.spanMs / 2;
  trends.draw();
}

function drawMeasure() {
  const reading = strip.reading();
  byId("note").hidden = !reading;
  if (!reading) return write(byId("measure"), "Press on the paper and draw to measure.");
  const rate = reading.rate && (measure === "RR" || measure === "free") ? `, ${Math.round(reading.rate)} /min` : "";
  const amplitude = reading.millivolts === null || measure !== "free" ? "" : `, ${reading.millivolts.toFixed(2)} mV`;
  const corrected = measure === "QT" ? qtc(reading.ms) : "";
  return write(byId("measure"), `${measure === "free" ? "" : `${measure} `}${reading.ms} ms${rate}${amplitude}${corrected}`);
}

/** Fridericia: QT / cube root of RR in s, with the RR of the beats in sight. */
function qtc(ms) {
  const { beats } = samples.between(strip.fromMs, strip.fromMs + strip.spanMs);
  const inSight = beats.filter((beat) => beat.atMs >= strip.fromMs && beat.atMs <= strip.fromMs + strip.spanMs);
  if (inSight.length < 2) return "";
  const rrS = (inSight.at(-1).atMs - inSight[0].atMs) / 1000 / (inSight.length - 1);
  return `, QTc ${Math.round(ms / Math.cbrt(rrS))} ms`;
}

let meansOf = "";
/** What the program measured on the mean beat of that minute. */
async function drawMeans(ms) {
  const minute = Math.floor(ms / 60000) * 60000;
  if (strip.isLive || meansOf === String(minute)) {
    if (strip.isLive) { meansOf = ""; write(byId("means"), ""); }
    return;
  }
  meansOf = String(minute);
  const [from, until] = [minute, minute + 60000].map((at) => new Date(at).toISOString());
  const found = await ask(`/v1/patients/${encodeURIComponent(patient)}/trends?from=${from}&until=${until}&resolution=1m`).catch(() => null);
  if (meansOf !== String(minute) || !found) return;
  const word = (name, column) => (column[0] ? `${name} ${Math.round(column[0])}` : null);
  const { intervals, heartRate } = found;
  const words = [word("rate", heartRate.mean), word("QRS", intervals.qrsMs), word("QT", intervals.qtMs), word("QTc", intervals.qtcMs)].filter(Boolean);
  write(byId("means"), words.length ? `Program, this minute: ${words.join(", ")}` : "");
}

function trendsCame(error) {
  if (error) return say(error.message, true);
  write(byId("span"), `${when(trends.fromMs)} to ${when(trends.untilMs)}, by ${resolutionFor(trends.spanMs)}`);
  drawTable();
  events.load(trends.fromMs, trends.untilMs).catch((reason) => say(reason.message, true));
}

const number = (value) => (value === null || value === undefined ? "–" : String(Math.round(value)));
function drawTable() {
  if (!byId("table-box").open) return;
  const heads = ["Begins", "Rate", "Least", "Greatest", "SDNN, ms", "RMSSD, ms", "All waves, s", "QRS only, s", "Unreadable, s", "Rhythms, s"];
  byId("table").replaceChildren(
    make("thead", {}, make("tr", {}, ...heads.map((one) => make("th", { scope: "col" }, one)))),
    make("tbody", {}, ...trends.rows().map((row) => make("tr", {},
      make("td", {}, when(row.ms)),
      ...[row.rate, row.low, row.high, row.sdnn, row.rmssd, row.clear, row.qrs, row.none].map((value) => make("td", {}, number(value))),
      make("td", {}, row.burden.map(([kind, ms]) => `${kind.replaceAll("_", " ")} ${Math.round(ms / 1000)}`).join(", ") || "–")))));
}

/** Recordings that were uploaded whole, each with its report. */
async function showRecordings() {
  const found = await ask(`/v1/recordings?patient=${encodeURIComponent(patient)}&limit=20`);
  byId("recordings-box").hidden = found.items.length === 0;
  byId("recordings").replaceChildren(...found.items.map((one) => make("li", {},
    `${one.startTime ? when(one.startTime) : one.id}, ${one.state}`,
    one.state === "done" ? make("a", { class: "button", href: `/v1/recordings/${one.id}/report`, download: `${one.id}.pdf` }, "Report (PDF)") : null)));
}

function drawState() {
  const one = store.patients.get(patient);
  const signs = (one?.sorted || []).map((alert) => {
    const mark = sign();
    mark.show(alert);
    return mark.box;
  });
  byId("signs").replaceChildren(...signs);
  byId("acknowledge").hidden = !toAcknowledge();
  write(byId("rate"), one?.stream?.heartRate ? `${Math.round(one.stream.heartRate)} /min` : "–");
  const devices = [...(one?.streams.keys() || [])];
  byId("device-label").hidden = devices.length < 2;
  if (byId("device").options.length !== devices.length + 1) {
    byId("device").replaceChildren(make("option", { value: "" }, "all"), ...devices.map((device) => make("option", { value: device }, device)));
  }
}

function toAcknowledge() {
  if (!ACTIONS.acknowledge.roles.includes(session.role)) return undefined;
  return store.patients.get(patient)?.sorted.find(ACTIONS.acknowledge.may);
}

async function acknowledge() {
  const alert = toAcknowledge();
  if (!alert) return say("Nothing waits for being acknowledged.");
  const after = await perform("acknowledge", alert, session);
  if (after) store.take(after);
  return drawState();
}

async function load() {
  const page = await ask(`/v1/ward?patient=${encodeURIComponent(patient)}`);
  store.load([page]);
  drawState();
  samples.refresh(nowMs() - MINUTE);
  await showRecordings();
}

function showKeys() {
  const dialog = byId("dialog");
  dialog.replaceChildren(
    make("h2", { id: "dialog-title" }, "Keys"),
    make("dl", {}, ...KEYS.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)])),
    make("form", { method: "dialog" }, make("menu", {}, make("button", {}, "Close"))));
  dialog.showModal();
}

function hold() { if (strip.isLive) strip.review(strip.playedMs - strip.spanMs / 2); }
const page = (step) => strip.pan(step * strip.spanMs * 0.9);
const arrow = (step) => (strip.calipers ? strip.nudge(step) : strip.pan(step * 1000));
const ON_KEY = {
  ArrowLeft: () => arrow(-1), ArrowRight: () => arrow(1), PageUp: () => page(-1), PageDown: () => page(1),
  "[": () => events.move(-1), "]": () => events.move(1), l: () => strip.live("scroll"), w: () => strip.live("sweep"), h: hold,
  c: () => begun("free"), r: () => begun("RR"), t: () => { strip.active = 1 - strip.active; strip.measured(); },
  a: acknowledge,
  Escape: () => { strip.calipers = null; strip.measured(); }, "?": showKeys,
  "+": () => trends.zoom(0.5), "=": () => trends.zoom(0.5), "-": () => trends.zoom(2),
};

function begun(what) {
  measure = what;
  document.querySelectorAll("[data-measure]").forEach((one) => one.setAttribute("aria-pressed", one.dataset.measure === what));
  strip.place(what === "RR");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open || event.target.matches("input, select, textarea, .scroll, .events")) return;
  const perform = ON_KEY[event.key];
  if (perform) { event.preventDefault(); perform(); }
});
const onClick = {
  scroll: () => strip.live("scroll"), sweep: () => strip.live("sweep"), hold, back: () => page(-1), forth: () => page(1),
  previous: () => events.move(-1), next: () => events.move(1), help: showKeys,
  earlier: () => trends.pan(-0.5), later: () => trends.pan(0.5), closer: () => trends.zoom(0.5), farther: () => trends.zoom(2),
  acknowledge,
  note: () => byId("notes").append(make("li", { class: "number" },
    `${clock(strip.calipers[0])}: ${byId("measure").textContent}`)),
};
for (const [id, perform] of Object.entries(onClick)) byId(id).addEventListener("click", perform);
document.querySelectorAll("[data-measure]").forEach((one) => one.addEventListener("click", () => begun(one.dataset.measure)));
document.querySelectorAll("[data-hours]").forEach((one) => one.addEventListener("click", () => {
  document.querySelectorAll("[data-hours]").forEach((other) => other.setAttribute("aria-pressed", other === one));
  trends.show(nowMs() - Number(one.dataset.hours) * HOUR, nowMs());
}));
byId("table-box").addEventListener("toggle", drawTable);
const scaled = () => strip.scale(Number(byId("speed").value), Number(byId("gain").value));
byId("speed").addEventListener("change", scaled);
byId("gain").addEventListener("change", scaled);
byId("device").addEventListener("change", () => { samples.only(byId("device").value); samples.refresh(nowMs() - 60000); });

await load();
const atMs = Date.parse(at || "");
if (Number.isNaN(atMs)) trends.show(nowMs() - 6 * HOUR, nowMs());
else {
  strip.review(atMs);
  trends.show(Math.min(atMs - HOUR, nowMs() - 6 * HOUR), Math.min(atMs + HOUR, nowMs()));
}
new Live({
  newest: () => store.newest,
  alert: (event, at) => { if (store.take(event.alert, at)) drawState(); },
  streams: (streams) => {
    store.takeStreams(streams);
    drawState();
    samples.refresh(samples.newestMs || nowMs() - 60000);
  },
  state: (state) => {
    write(byId("state"), state === "live" ? "live" : "no connection: what is shown may be old");
    byId("state").classList.toggle("lost", state !== "live");
  },
  again: load,
}, patient);
setInterval(() => { if (strip.isLive) later(); }, 1000);
// Trends that reach to now go on with it.
setInterval(() => {
  if (Math.abs(nowMs() - trends.untilMs) < 5 * MINUTE) trends.show(nowMs() - trends.spanMs, nowMs());
}, MINUTE);
