// How the ward looks: a row of the list, and what is shown of the selected patient.
import { ACTIONS } from "./actions.js";
import { ago, clock, sign, stateWords } from "./alerts.js";
import { make, write } from "./elements.js";

const READABLE = { all: "all waves", qrs: "QRS only", none: "unreadable" };
export const LATE_S = 120;

export function signalWords(one) {
  if (one.sorted.some((alert) => alert.condition === "lead_off" && alert.state.startsWith("active"))) return "lead off";
  if (one.stream?.isOver) return "ended";
  return one.stream?.readable ? READABLE[one.stream.readable] : "–";
}

export function whereWords(stream, tiers) {
  if (!stream) return "–";
  if (!stream.region) return stream.refused ? "service (refused)" : "service";
  return tiers[stream.region] ? `${tiers[stream.region]} · ${stream.region}` : stream.region;
}

/** A row that shows whomever it is given. */
export function newRow(store) {
  const top = sign();
  const more = make("span", { class: "more" });
  const cell = (name) => make("span", { class: name });
  const [who, rate, signal, heard, where] = [cell("who"), cell("rate number"), cell("signal"), cell("heard number"), cell("where")];
  const element = make("div", {}, make("span", { class: "urgent" }, top.box, more), who, rate, signal, heard, where);
  return {
    element,
    show(one) {
      const { stream } = one;
      top.show(one.sorted[0]);
      write(more, one.sorted.length > 1 ? `+${one.sorted.length - 1}` : "");
      write(who, one.patient || "(organisation)");
      write(rate, stream?.heartRate ? Math.round(stream.heartRate).toString() : "–");
      write(signal, signalWords(one));
      const age = stream ? (store.nowMs() - Date.parse(stream.lastSeen)) / 1000 : null;
      write(heard, age === null ? "–" : ago(age));
      const isLate = age !== null && age > LATE_S && !stream.isOver;
      if (heard.classList.contains("warn") !== isLate) heard.classList.toggle("warn", isLate);
      write(where, whereWords(stream, store.tiers));
    },
  };
}

function atOnset(alert, session) {
  if (!alert.patient || session.role === "technician") return null;
  const href = `/patient#${encodeURIComponent(`${alert.patient}@${alert.onset}`)}`;
  return make("a", { class: "button", href, "aria-label": `ECG at the onset of ${alert.title}` }, "ECG then");
}

function alertItem(alert, isCurrent, session, act) {
  const mark = sign();
  mark.show(alert);
  const buttons = Object.entries(ACTIONS)
    .filter(([, action]) => action.roles.includes(session.role) && action.may(alert))
    .map(([name, action]) => make("button", {
      type: "button", "data-action": name, "aria-label": `${action.words}: ${alert.title}`, onclick: () => act(name, alert),
    }, action.words, " ", isCurrent ? make("kbd", { "aria-hidden": "true" }, action.key) : null));
  const since = `since ${clock(alert.onset)}${alert.end ? ` until ${clock(alert.end)}` : ""}`;
  const episodes = alert.episodes > 1 ? `, ${alert.episodes} episodes` : "";
  return make("li", { class: isCurrent ? "current" : "", "data-alert": alert.id },
    mark.box,
    make("p", {}, `${since}${episodes}; ${stateWords(alert)}.`),
    alert.reason ? make("p", { class: "soft" }, alert.reason) : null,
    make("div", { class: "do" }, ...buttons, atOnset(alert, session)));
}

/** What is known of a patient, with what can be done about each alert. */
export function detail(one, store, session, act) {
  if (!one) return [make("p", { class: "soft" }, "Select a patient: ", make("kbd", {}, "j"), " and ", make("kbd", {}, "k"), ", or click.")];
  const streams = [...one.streams.values()].map((stream) => make("dl", {},
    make("dt", {}, "device"), make("dd", {}, `${stream.device}, lead ${stream.lead}${stream.isOver ? ", ended" : ""}`),
    make("dt", {}, "analysed in"), make("dd", {}, whereWords(stream, store.tiers) + (stream.refused ? `: ${stream.refused}` : "")),
    make("dt", {}, "heard at"), make("dd", {}, `${clock(stream.lastSeen)}, ${Math.max(0, stream.clockSkewS).toFixed(1)} s after its last sample`),
    make("dt", {}, "missing, waiting"), make("dd", {}, `${stream.missing}, ${stream.waiting} segments`),
    make("dt", {}, "going on"), make("dd", {}, stream.conditions.map((kind) => kind.replaceAll("_", " ")).join(", ") || "–")));
  const link = one.patient && session.role !== "technician"
    ? make("a", { class: "button", href: `/patient#${encodeURIComponent(one.patient)}`, id: "open" }, "Open the ECG") : null;
  return [
    make("h2", {}, one.patient || "The organisation"),
    link,
    one.sorted.length
      ? make("ul", {}, ...one.sorted.map((alert, number) => alertItem(alert, number === 0, session, act)))
      : make("p", { class: "soft" }, "No alert is open."),
    ...streams,
  ];
}
