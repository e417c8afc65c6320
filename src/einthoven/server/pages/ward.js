// The ward: patients by urgency, live, and what is done about their alerts.
import { ACTIONS, perform } from "./actions.js";
import { calls } from "./alerts.js";
import { ask } from "./api.js";
import { byId, make, onceAFrame, say, write } from "./elements.js";
import { Live } from "./live.js";
import { begin } from "./shell.js";
import { Sound } from "./sound.js";
import { VirtualList } from "./virtual-list.js";
import { WardStore } from "./ward-store.js";
import { detail, newRow } from "./ward-view.js";

const KEYS = [
  ["j, ↓", "the next patient"], ["k, ↑", "the one before"], ["n", "the most urgent that waits for somebody"],
  ["Enter, o", "open the ECG"], ...Object.values(ACTIONS).map((action) => [action.key, `${action.words.toLowerCase()} the most urgent alert`]),
  ["/", "find a patient"], ["v", "sound on or off"], ["p", "pause the sound for two minutes"], ["?", "these keys"],
];
const PAUSE_MS = 120000;

const session = await begin();
const store = new WardStore();
const sound = new Sound();
const list = new VirtualList(byId("list"), () => newRow(store), { onSelect: () => showDetail(), onOpen: open });

async function load() {
  const pages = [];
  let after = null;
  do {
    const query = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    pages.push(await ask(`/v1/ward?limit=2000${query}`));
    after = pages.at(-1).next;
  } while (after !== null);
  store.load(pages);
  later();
  return Math.max(...pages.map((page) => page.newest));
}

/** Everything that changed is drawn together. */
const later = onceAFrame(draw);

function draw() {
  list.set(store.sorted(byId("filter").value.trim().toLowerCase(), byId("only").value));
  byId("nobody").hidden = list.items.length > 0;
  showCounts();
  showDetail();
}

function showCounts() {
  const counts = store.counts();
  const shown = Object.entries(counts).filter(([, count]) => count);
  const words = shown.map(([name, count]) => `${count} ${name}`).join(", ") || "Nothing waits for anybody";
  const box = byId("counts");
  if (box.dataset.words !== words) {
    box.dataset.words = words;
    box.replaceChildren(...(shown.length
      ? shown.map(([name, count]) => make("span", { class: `sign ${name}` }, `${count} ${name}`)) : [words]));
    const worst = ["high", "medium", "low", "technical"].find((name) => counts[name]);
    document.title = worst ? `${{ high: "***", medium: "**", low: "*", technical: "(t)" }[worst]} ${counts[worst]} · Ward` : "Ward · Einthoven";
  }
}

let shown = "";
function showDetail() {
  const one = store.patients.get(list.selected);
  const now = JSON.stringify([list.selected, one && one.sorted, one && [...one.streams.values()]]);
  if (now === shown) return;
  shown = now;
  const box = byId("detail");
  const focused = box.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  box.replaceChildren(...detail(one, store, session, act).filter(Boolean));
  if (focused) ([...box.querySelectorAll("button")].find((button) => button.getAttribute("aria-label") === focused) || box).focus();
}

async function act(name, alert) {
  const after = await perform(name, alert, session);
  if (after) { store.take(after); later(); }
}

function open() {
  if (list.selected && session.role !== "technician") location.assign(`/patient#${encodeURIComponent(list.selected)}`);
}

function toNextCalling() {
  const index = list.items.findIndex((one) => one.rank < 100 && one.patient !== list.selected);
  if (index < 0) return say("Nobody else waits.");
  list.select(list.items[index].patient);
  return list.show(index);
}

function showSound() {
  const state = sound.state();
  write(byId("sound"), { on: "Sound on", off: "Sound off", paused: "Sound paused" }[state]);
  byId("sound").setAttribute("aria-pressed", state !== "off");
  byId("pause").hidden = state !== "on";
}

function toggleSound() { sound.toggle(); showSound(); }
function pauseSound() { if (sound.isOn) { sound.pause(PAUSE_MS); showSound(); } }

function showKeys() {
  const dialog = byId("dialog");
  dialog.replaceChildren(
    make("h2", { id: "dialog-title" }, "Keys"),
    make("dl", {}, ...KEYS.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)])),
    make("form", { method: "dialog" }, make("menu", {}, make("button", {}, "Close"))));
  dialog.showModal();
}

const ON_KEY = {
  j: () => list.move(1), ArrowDown: () => list.move(1), k: () => list.move(-1), ArrowUp: () => list.move(-1),
  n: toNextCalling, o: open, Enter: open, "/": () => byId("filter").focus(), v: toggleSound, p: pauseSound, "?": showKeys,
};
for (const [name, action] of Object.entries(ACTIONS)) {
  ON_KEY[action.key] = () => {
    const first = store.patients.get(list.selected)?.sorted.find(action.may);
    if (first) act(name, first);
    else say(list.selected === null ? "Select a patient first." : `Nothing of this patient can be ${name === "close" ? "closed" : name + "d"}.`);
  };
}

document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open) return;
  if (event.key === "Escape" && target.id === "filter") { target.value = ""; later(); byId("list").focus(); return; }
  if (target.matches("input, select, textarea") || (event.key === "Enter" && target.matches("a, button, summary"))) return;
  const perform_ = ON_KEY[event.key];
  if (perform_) { event.preventDefault(); perform_(); }
});
// Where the patient's part lies below the list, it is brought into sight.
byId("list").addEventListener("click", () => {
  if (matchMedia("(max-width: 60rem)").matches) byId("detail").scrollIntoView({ block: "nearest" });
});
byId("filter").addEventListener("input", later);
byId("only").addEventListener("change", later);
byId("sound").addEventListener("click", toggleSound);
byId("pause").addEventListener("click", pauseSound);
byId("help").addEventListener("click", showKeys);

function showState(state) {
  const box = byId("state");
  write(box, state === "live" ? "live" : "no connection: what is shown may be old");
  box.classList.toggle("lost", state !== "live");
}

setInterval(() => {
  list.later();
  showSound();
  const counts = store.counts();
  sound.tick(["high", "medium", "low"].find((name) => counts[name]) || null);
}, 1000);

/** What was raised before is on the ward already; only what is raised from now on is said aloud. */
const began = await load();
new Live({
  newest: () => store.newest,
  alert: (event, number) => {
    if (store.take(event.alert, number)) {
      later();
      if (number > began && event.what === "raised" && calls(event.alert)) say(`${event.alert.mark} ${event.alert.title}: ${event.alert.patient || "organisation"}`, event.alert.priority === "high" && !event.alert.isTechnical);
    }
  },
  streams: (streams) => { store.takeStreams(streams); later(); },
  state: showState,
  again: load,
});
