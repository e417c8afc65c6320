// What the ward knows, in memory: no document, no network, so that it can be thought about alone.
import { byUrgency, calls, rank } from "./alerts.js";

/** Transactions that end side by side may show their numbers out of order; so far back is listened again. */
const WINDOW = 256;
const RECENT = 1000;

export class WardStore {
  constructor() {
    this.patients = new Map();
    this.newest = 0;
    /** Changes that came over the stream lately, with their numbers. */
    this.recent = [];
    this.tiers = {};
    this.skewMs = 0;
  }

  /** Begin anew with pages of /v1/ward; what came over the stream meanwhile is put on top of it. */
  load(pages) {
    this.patients = new Map();
    for (const page of pages) {
      this.tiers = page.tiers;
      this.skewMs = Date.parse(page.at) - Date.now();
      for (const { patient, streams, alerts } of page.items) {
        const one = this.at(patient);
        streams.forEach((stream) => one.streams.set(stream.device, stream));
        alerts.forEach((alert) => one.alerts.set(alert.id, alert));
        this.settle(one);
      }
    }
    const read = Math.max(0, Math.min(...pages.map((page) => page.newest)) - WINDOW);
    if (!this.newest) this.newest = read;
    this.recent.filter(([number]) => number > read).forEach(([, alert]) => this.put(alert));
  }

  at(patient) {
    let one = this.patients.get(patient);
    if (!one) {
      one = { patient, streams: new Map(), alerts: new Map(), sorted: [], rank: 999, since: "", stream: null };
      this.patients.set(patient, one);
    }
    return one;
  }

  /** One change of one alert, with its number if it came over the stream; whether it was news. */
  take(alert, number = 0) {
    if (number) {
      this.newest = Math.max(this.newest, number);
      this.recent.push([number, alert]);
      if (this.recent.length > RECENT) this.recent.shift();
    }
    return this.put(alert);
  }

  put(alert) {
    const one = this.at(alert.patient);
    const known = one.alerts.get(alert.id);
    if (known && known.steps >= alert.steps) return false;
    if (alert.state === "closed") one.alerts.delete(alert.id);
    else one.alerts.set(alert.id, alert);
    this.settle(one);
    return true;
  }

  takeStreams(streams) {
    for (const stream of streams) {
      const one = this.at(stream.patient);
      one.streams.set(stream.device, stream);
      this.settle(one);
    }
  }

  settle(one) {
    one.sorted = [...one.alerts.values()].sort(byUrgency);
    one.rank = one.sorted.length ? rank(one.sorted[0]) : 999;
    one.since = one.sorted.length ? one.sorted[0].raisedAt : "";
    one.stream = null;
    for (const stream of one.streams.values()) {
      if (!one.stream || stream.lastSeen > one.stream.lastSeen) one.stream = stream;
    }
  }

  nowMs() { return Date.now() + this.skewMs; }

  /** Patients to be shown, the most urgent first. */
  sorted(filter, only) {
    const found = [];
    for (const one of this.patients.values()) {
      if (!one.streams.size && !one.alerts.size) continue;
      if (filter && !one.patient.toLowerCase().includes(filter)) continue;
      if (only === "alerts" && !one.sorted.length) continue;
      if (only === "calling" && !(one.rank < 100)) continue;
      found.push(one);
    }
    return found.sort((a, b) =>
      a.rank - b.rank || (a.since < b.since ? -1 : a.since > b.since ? 1 : 0)
      || (a.patient < b.patient ? -1 : a.patient > b.patient ? 1 : 0));
  }

  /** How many alerts of each list call for somebody. */
  counts() {
    const found = { high: 0, medium: 0, low: 0, technical: 0 };
    for (const one of this.patients.values()) {
      for (const alert of one.sorted) {
        if (calls(alert)) found[alert.isTechnical ? "technical" : alert.priority] += 1;
      }
    }
    return found;
  }
}
