// The page of whoever runs the service: work, regions, placement, recordings, the ledger. Each part is there for
// the roles that may see it.
import { ago, clock, when } from "./alerts.js";
import { ask } from "./api.js";
import { byId, make, say, write } from "./elements.js";
import { Figures, drawSeries } from "./figures.js";
import { begin } from "./shell.js";

const EVERY_MS = 2000;
const SLOWLY_MS = 5000;
const HOURS_DRAWN = 200;

const session = await begin();
const has = (...roles) => roles.includes(session.role);
const figures = new Figures();
const round = (value, digits = 0) => (value === null || value === undefined ? "–" : value.toLocaleString([], { maximumFractionDigits: digits }));

function table(id, heads, rows) {
  byId(id).replaceChildren(
    make("thead", {}, make("tr", {}, ...heads.map((one, k) => make("th", { scope: "col", class: rows[0]?.[k]?.className || null }, one)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => (cell instanceof Node ? cell : make("td", {}, String(cell))))))));
}

async function showWork() {
  figures.take(await ask("/v1/figures"));
  const last = figures.series.at(-1);
  const numbers = [
    ["segments a second", last ? round(last.segments, 1) : "–"],
    ["latency p50, ms", last ? round(last.p50, 1) : "–"],
    ["latency p99, ms", last ? round(last.p99, 1) : "–"],
    ["waiting", round(figures.total("einthoven_queue_segments"))],
    ["analysed", round(figures.total("einthoven_segments_total analysed"))],
    ["duplicates", round(figures.total("einthoven_segments_total duplicate"))],
    ["refused", round(figures.total("einthoven_segments_total refused"))],
    ["alerts raised", round(figures.total("einthoven_alerts_total"))],
    ["views behind", ago(figures.total("einthoven_views_behind_seconds"))],
  ];
  const box = byId("numbers");
  if (!box.children.length) box.append(...numbers.map(([name]) => make("div", {}, make("dt", {}, name), make("dd", {}))));
  numbers.forEach(([, value], k) => write(box.children[k].lastChild, value));
  drawSeries(byId("throughput"), [figures.series.map((one) => one.segments)]);
  drawSeries(byId("latency"), [figures.series.map((one) => one.p50), figures.series.map((one) => one.p99)]);
  drawSeries(byId("queue"), [figures.series.map((one) => one.waiting)]);
}

async function drain(region) {
  try {
    await ask(`/v1/regions/${region.name}`, { method: "PATCH", body: { isDraining: region.state !== "draining" } });
    await showRegions();
  } catch (error) { say(error.message, true); }
}

async function probe(region) {
  try {
    const found = await ask(`/v1/regions/${region.name}/probe`, { method: "POST" });
    say(found.answers ? `${region.name} answers in ${round(1000 * found.rttS, 1)} ms.` : `${region.name} does not answer: ${found.why}`, !found.answers);
  } catch (error) { say(error.message, true); }
}

async function showRegions() {
  const found = await ask("/v1/regions");
  byId("regions-box").hidden = false;
  byId("no-regions").hidden = found.items.length > 0;
  const isRunner = has("admin") && session.organisation === "main";
  const cell = (text) => make("td", { class: "number" }, text);
  table("regions",
    found.items.length ? ["Region", "Tier", "Kind", "State", "In flight / slots", "Answered", "Failed", "Mean, ms", `Cost, ${found.currency || "–"}`, ...(isRunner ? ["Do"] : [])] : [],
    found.items.map((one) => [
      one.name, one.tier, one.kind, one.state, cell(`${one.inFlight} / ${one.slots}`), cell(round(one.answered)), cell(round(one.failed)),
      cell(one.meanS === null ? "–" : round(1000 * one.meanS, 1)), cell(round(one.cost, 4)),
      ...(isRunner ? [make("td", {},
        make("button", { type: "button", "aria-label": `${one.state === "draining" ? "Use" : "Drain"} ${one.name}`, onclick: () => drain(one) }, one.state === "draining" ? "Use again" : "Drain"), " ",
        make("button", { type: "button", "aria-label": `Probe ${one.name}`, onclick: () => probe(one) }, "Probe"))] : []),
    ]));
}

async function showPlacement() {
  const streams = [];
  let after = "";
  do {
    const page = await ask(`/v1/streams?limit=500&after=${encodeURIComponent(after)}`);
    streams.push(...page.items);
    after = page.next;
  } while (after && streams.length < 5000);
  byId("placement-box").hidden = false;
  const groups = new Map();
  for (const one of streams) {
    const key = one.region || "the service";
    const group = groups.get(key) || { streams: 0, waiting: 0, missing: 0, refusals: new Map() };
    group.streams += 1;
    group.waiting += one.waiting;
    group.missing += one.missing;
    if (one.refused) group.refusals.set(one.refused, (group.refusals.get(one.refused) || 0) + 1);
    groups.set(key, group);
  }
  const cell = (text) => make("td", { class: "number" }, text);
  table("placement", ["Analysed in", "Streams", "Waiting", "Missing", "Why not in a region"], [...groups].sort().map(([name, group]) => [
    name, cell(round(group.streams)), cell(round(group.waiting)), cell(round(group.missing)),
    [...group.refusals].map(([why, count]) => `${count} × ${why}`).join("; ") || "–",
  ]));
}

function hoursDrawn(progress) {
  if (!progress || progress.total > HOURS_DRAWN) return null;
  return make("div", { class: "hours", role: "img", "aria-label": `${progress.done} of ${progress.total} hours` },
    ...Array.from({ length: progress.total }, (_, k) => make("span", { class: k < progress.done ? "done" : "" })));
}

async function showRecordings() {
  const found = await ask("/v1/recordings?limit=20");
  byId("recordings-box").hidden = false;
  byId("no-recordings").hidden = found.items.length > 0;
  byId("recordings").replaceChildren(...found.items.map((one) => make("li", {},
    make("span", { class: "badge" }, one.state), ` ${one.patient} ${one.id}`,
    one.progress ? ` ${one.progress.done} of ${one.progress.total} hours` : "",
    hoursDrawn(one.progress),
    one.error ? make("p", { class: "bad" }, `${one.error.what} ${one.error.remedy}`) : null)));
}

async function showLedger() {
  byId("ledger-box").hidden = false;
  const found = await ask("/v1/ledger");
  byId("verify").hidden = found.origin === null;
  if (found.origin === null) return write(byId("ledger"), "There is none. einthoven ledger create begins one.");
  write(byId("ledger"), `${found.origin}: ${round(found.entries)} entries, the newest checkpoint covers ${round(found.signed)}.`);
  if (!has("auditor")) return undefined;
  const page = await ask("/v1/ledger/entries?limit=50");
  byId("entries-box").hidden = false;
  table("entries", ["Number", "At", "Kind", "What"], page.items.map(({ number, entry }) => {
    const { at_ns: atNs, kind, ...more } = entry;
    const at = atNs ? when(Number(atNs) / 1e6) : "–";
    const words = Object.entries(more).filter(([, value]) => value !== "" && value !== null).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`);
    return [number, at, kind || "–", make("td", { class: "entry" }, words.join(" · "))];
  }));
  return undefined;
}

async function verify() {
  const verdict = byId("verdict");
  byId("verify").disabled = true;
  verdict.className = "";
  write(verdict, "Verifying …");
  try {
    const found = await ask("/v1/ledger/verification", { method: "POST" });
    verdict.className = found.isWhole ? "verdict-good" : "verdict-bad";
    write(verdict, found.isWhole
      ? `✔ All ${round(found.entries)} entries and ${round(found.checkpoints)} checkpoints are what was signed${found.isPinned ? "" : ", by keys that are not here"}; the newest at ${clock(found.signedAt)}.`
      : `✘ Not what was signed: ${found.what} (${found.where})`);
  } catch (error) {
    verdict.className = "verdict-bad";
    write(verdict, error.message);
  } finally { byId("verify").disabled = false; }
}

const troubles = new Map();
const QUICK = [showWork];
const SLOW = [
  ...(has("admin", "auditor", "technician") ? [showRegions] : []),
  ...(has("admin", "technician") ? [showPlacement] : []),
  ...(has("technician") ? [showRecordings] : []),
  ...(has("admin", "auditor") ? [showLedger] : []),
];

/** Each part for itself: one that fails says so and holds no other up. */
async function again(parts, everyMs) {
  const failures = (await Promise.allSettled(parts.map((part) => part()))).filter((one) => one.reason).map((one) => one.reason);
  const isAway = failures.some((error) => error.status === undefined);
  troubles.set(parts, isAway ? "no connection: what is shown may be old" : failures.map((error) => error.message).join(" "));
  const words = [...new Set(troubles.values())].filter(Boolean).join(" ");
  write(byId("state"), words || "live");
  byId("state").classList.toggle("lost", Boolean(words));
  setTimeout(() => again(parts, everyMs), document.hidden ? 10 * everyMs : everyMs);
}

byId("verify").addEventListener("click", verify);
if (!has("admin", "auditor", "technician")) location.assign("/");
else {
  again(QUICK, EVERY_MS);
  again(SLOW, SLOWLY_MS);
}
