// What happened to a patient, from the newest to the oldest, to be looked at one after the other.
import { ask } from "./api.js";
import { ago, sign, when } from "./alerts.js";
import { byId, make } from "./elements.js";

const PAGE = 200;
const MOST = 2000;

export class Events {
  constructor(patient, onPick) {
    this.path = `/v1/patients/${encodeURIComponent(patient)}/episodes`;
    this.onPick = onPick;
    this.items = [];
    this.current = null;
  }

  /** Episodes that touch a span; of very many those of its beginning. */
  async load(fromMs, untilMs) {
    const number = this.asked = (this.asked || 0) + 1;
    const until = new Date(untilMs).toISOString();
    const found = new Map();
    let from = new Date(fromMs).toISOString();
    while (from && found.size < MOST) {
      const page = await ask(`${this.path}?from=${encodeURIComponent(from)}&until=${until}&limit=${PAGE}`);
      const before = found.size;
      page.items.forEach((one) => found.set(`${one.kind} ${one.onset}`, one));
      from = page.next && found.size > before ? page.next : null;
    }
    if (number !== this.asked) return;
    this.items = [...found.values()].filter((one) => one.priority !== "none").sort((a, b) => (a.onset < b.onset ? 1 : -1));
    this.draw();
  }

  key(one) { return `${one.kind} ${one.onset}`; }

  draw() {
    byId("no-events").hidden = this.items.length > 0;
    byId("events").replaceChildren(...this.items.map((one) => {
      const mark = sign();
      const isTechnical = one.priority === "technical";
      mark.show({
        priority: isTechnical ? "low" : one.priority, isTechnical, state: "active-unacknowledged",
        mark: { high: "***", medium: "**", low: "*", technical: "(t)" }[one.priority], title: one.kind.replaceAll("_", " "),
      });
      mark.box.classList.remove("calls");
      const lasted = one.end ? ago((Date.parse(one.end) - Date.parse(one.onset)) / 1000) : "goes on";
      return make("li", {}, make("button", {
        type: "button", "aria-current": this.key(one) === this.current ? "true" : null, onclick: () => this.pick(one),
      }, mark.box, make("span", { class: "when number" }, `${when(one.onset)}, ${lasted}, ${one.confidence} %`)));
    }));
  }

  pick(one) {
    this.current = this.key(one);
    this.draw();
    byId("events").querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
    this.onPick(one);
  }

  /** The one after (1) or before (-1) in time. */
  move(step) {
    if (!this.items.length) return;
    const at = this.items.findIndex((one) => this.key(one) === this.current);
    const index = at < 0 ? 0 : Math.min(this.items.length - 1, Math.max(0, at - step));
    this.pick(this.items[index]);
  }
}
