// The page of the virtual patients: runs are ordered, watched and stopped. The token that the service printed at
// its start comes behind the # of its address, and leaves it at once.
import { byId, make, write } from "./elements.js";

const FIELDS = [
  ["Destination", [["target.destination", "URL", "http://127.0.0.1:8080", "wide"], ["token", "gateway token", "", "password"],
    ["target.encoding", "encoding", ["json", "json-base64", "msgpack"]]]],
  ["Patients", [["traffic.patients", "concurrent streams", 2], ["traffic.segments_per_minute", "files per minute", 2],
    ["traffic.rate_per_s", "segments/s (empty: as in life)", ""], ["traffic.duration_s", "duration, s", 60],
    ["traffic.ramp_s", "ramp, s", 0], ["traffic.batch", "segments in a request", 1], ["traffic.seed", "seed", 1905]]],
  ["Rhythms and noise", [["mix", "scenes: healthy=7, svt=3", "", "wide"], ["noises", "noise: motion:0.2, muscle:0.1", "", "wide"]]],
  ["Trouble", [["traffic.burst_at_s", "burst at, s", ""], ["traffic.burst_factor", "burst factor", 10],
    ["traffic.burst_length_s", "burst length, s", 10], ["traffic.offline_share", "share offline", 0],
    ["traffic.offline_s", "offline for, s", 120], ["traffic.repeated_share", "share repeated", 0],
    ["traffic.late_share", "share late", 0], ["traffic.swapped_share", "share swapped", 0],
    ["traffic.clock_skew_s", "clock skew, s", 0], ["traffic.clock_drift_ppm", "clock drift, ppm", 0]]],
  ["Sending", [["target.is_closed", "schedule", ["open", "closed"]], ["target.connections", "connections", 64],
    ["target.timeout_s", "time-out, s", 10], ["target.drain_s", "wait for the last answers, s", 30]]],
];
const found = new URLSearchParams(location.hash.slice(1)).get("token");
if (found) {
  sessionStorage.setItem("token", found);
  history.replaceState(null, "", location.pathname);
}
const headers = { Authorization: `Bearer ${sessionStorage.getItem("token") || ""}` };

function field(name, given, style) {
  if (Array.isArray(given)) return make("select", { name }, ...given.map((one) => make("option", {}, one)));
  const type = style === "password" ? "password" : typeof given === "number" ? "number" : "text";
  const autocomplete = style === "password" ? "new-password" : "off";
  return make("input", { name, type, step: "any", value: given, autocomplete });
}

function build() {
  byId("form").append(
    ...FIELDS.map(([title, rows], number) => make("details", { open: number < 2 },
      make("summary", {}, title),
      ...rows.map(([name, text, given, style]) => make("label", { class: style === "wide" ? "wide" : null },
        make("span", {}, text), field(name, given, style))))),
    make("p", {}, make("button", { class: "primary" }, "Start")));
}

/** What is ordered: what was left empty keeps its default. */
function order() {
  const made = { target: {}, traffic: {} };
  for (const [name, raw] of new FormData(byId("form"))) {
    const text = raw.trim();
    const [part, key] = name.split(".");
    if (name === "token") {
      if (text) made.token = text;
    } else if (name === "mix") {
      if (text) made.mix = Object.fromEntries(text.split(",").map((one) => [one.split("=")[0].trim(), Number(one.split("=")[1])]));
    } else if (name === "noises") {
      if (text) made.noises = text.split(",").map((one) => ({ kind: one.split(":")[0].trim(), amplitude_mv: Number(one.split(":")[1] || 0.1) }));
    } else if (key === "is_closed") made.target.is_closed = text === "closed";
    else if (["destination", "encoding"].includes(key)) made[part][key] = text;
    else if (text !== "") made[part][key] = Number(text);
    else if (key === "duration_s") made.traffic.duration_s = null;
  }
  if (made.target.is_closed) made.target.duration_s = made.traffic.duration_s;
  return made;
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...headers, "Content-Type": "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${body.where ? `${body.where}: ` : ""}${body.what} ${body.remedy || ""}`);
  return body;
}

const tell = (error) => write(byId("error"), error ? error.message : "");
let watching = null;
let seconds = [];
const number = (value, digits = 0) => (value === null || value === undefined ? "–"
  : value.toLocaleString("en", { maximumFractionDigits: digits }));

function numbers(rows) {
  byId("numbers").replaceChildren(...rows.map(([value, text, style]) =>
    make("div", {}, make("strong", { class: style || null }, value), make("span", {}, text))));
}

function draw(svg, lines) {
  const [width, height] = [600, 84];
  const top = Math.max(1e-9, ...lines.flatMap(([values]) => values.filter((value) => value !== null)));
  write(byId(`${svg.id}-top`), lines.length && lines[0][0].length ? number(top, top < 100 ? 1 : 0) : "–");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(...lines.map(([values, colour]) => {
    const points = values.map((value, k) => (value === null ? null
      : `${(k * width / Math.max(values.length - 1, 1)).toFixed(1)},${(height - 4 - value / top * (height - 10)).toFixed(1)}`));
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const looks = { points: points.filter(Boolean).join(" "), fill: "none", stroke: `var(--${colour})`, "stroke-width": "2", "vector-effect": "non-scaling-stroke" };
    for (const [name, value] of Object.entries(looks)) line.setAttribute(name, value);
    return line;
  }));
}

const ON_EVENT = {
  preparing: (event) => write(byId("ending"), `Encoding signals … ${number(100 * event.share)} %`),
  started: () => write(byId("ending"), ""),
  second(event) {
    seconds.push(event);
    if (seconds.length > 300) seconds.shift();
    const { counts } = event;
    numbers([[number(event.answered), "answers/s"], [number(event.p50_ms, 1), "p50, ms"], [number(event.p99_ms, 1), "p99, ms"],
      [number(event.waiting), "waiting"], [number(counts.analysed), "analysed"],
      [number(event.errors), "errors/s", event.errors ? "bad" : ""], [number(counts.retries), "sent again"]]);
    draw(byId("rate"), [[seconds.map((one) => one.answered), "good"], [seconds.map((one) => one.errors), "bad"]]);
    draw(byId("latency"), [[seconds.map((one) => one.p50_ms), "focus"], [seconds.map((one) => one.p99_ms), "warn"]]);
  },
  summary(event) {
    const { counts, latency_ms: latency } = event;
    numbers([[number(counts.sent), "sent"], [number(counts.answered), "answered"], [number(counts.analysed), "analysed"],
      [number(event.lost), "lost", event.is_whole ? "good" : "bad"], [number(event.answered_per_s), "answers/s"],
      [number(latency.p50, 1), "p50, ms"], [number(latency.p99, 1), "p99, ms"], [number(latency.max, 1), "max, ms"]]);
    const kinds = Object.entries(event.errors).map(([kind, count]) => `${kind} ${number(count)}`).join(", ");
    write(byId("ending"), `${number(event.elapsed_s)} s.${kinds ? ` Errors: ${kinds}.` : ""}`);
    ended();
  },
  failed(event) {
    write(byId("ending"), `${event.error.what} ${event.error.remedy || ""}`);
    ended();
  },
};

function ended() {
  byId("stop").hidden = true;
  list().catch(tell);
}

async function watch(run) {
  watching?.abort();
  const mine = watching = new AbortController();
  seconds = [];
  byId("watched").hidden = byId("stop").hidden = false;
  write(byId("ending"), "Starting …");
  numbers([]);
  draw(byId("rate"), []);
  draw(byId("latency"), []);
  write(byId("title"), `${number(run.traffic.patients)} patients → ${run.destination}`);
  byId("stop").onclick = () => ask(`/v1/runs/${run.id}/stop`, { method: "POST" }).catch(tell);
  try {
    const answer = await fetch(`/v1/runs/${run.id}/events`, { headers, signal: mine.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").find((line) => line.startsWith("data: "));
        const event = data && JSON.parse(data.slice(6));
        if (event) ON_EVENT[event.event]?.(event);
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") tell(error);
  }
}

async function list() {
  const runs = await ask("/v1/runs");
  byId("runs").replaceChildren(...runs.map((run) => {
    const last = run.last || {};
    const lost = last.event === "summary" ? `lost ${number(last.lost)}` : last.event === "failed" ? "failed" : "";
    return make("tr", {},
      make("td", {}, run.started_at.slice(11, 19)),
      make("td", {}, make("button", { type: "button", onclick: () => watch(run) }, `${number(run.traffic.patients)} → ${run.destination}`)),
      make("td", {}, run.state),
      make("td", { class: lost ? (last.is_whole ? "good" : "bad") : null }, lost));
  }));
  return runs;
}

build();
byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  tell();
  try {
    const run = await ask("/v1/runs", { method: "POST", body: JSON.stringify(order()) });
    await list();
    watch(run);
    scrollTo({ top: 0 });
  } catch (error) { tell(error); }
});
list().then((runs) => {
  const going = runs.find((run) => run.state === "running");
  if (going) watch(going);
}).catch(tell);
