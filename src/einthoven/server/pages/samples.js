// Samples and beats of one patient, fetched in pieces of half a minute and kept; the newest are fetched again
// until nothing can change in them.
import { ask } from "./api.js";

export const CHUNK_MS = 30000;
const KEPT = 80;
/** Beats are decided up to 14 s behind the newest sample; late segments come later still. */
const SETTLED_MS = 90000;
export const MISSING = -32768;

const decode = (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer);
};
const iso = (ms) => new Date(ms).toISOString();

export class Samples {
  /** @param {() => number} nowMs the service's clock */
  constructor(patient, nowMs, onNews) {
    this.path = `/v1/patients/${encodeURIComponent(patient)}`;
    this.nowMs = nowMs;
    this.onNews = onNews;
    this.chunks = new Map();
    this.device = "";
    this.newestMs = 0;
  }

  /** Whatever is known of a span; what is missing is fetched and told of when it is there. */
  between(fromMs, untilMs) {
    const stretches = [];
    const beats = [];
    for (let number = Math.floor(fromMs / CHUNK_MS); number * CHUNK_MS < untilMs; number += 1) {
      const chunk = this.chunks.get(number);
      if (!chunk) this.fetch(number);
      else {
        stretches.push(...chunk.stretches);
        beats.push(...chunk.beats);
      }
    }
    return { stretches, beats };
  }

  /** Fetch again what is not settled: something new came. */
  refresh(fromMs) {
    const now = this.nowMs();
    const first = Math.floor(Math.max(fromMs, now - 4 * CHUNK_MS) / CHUNK_MS);
    for (let number = first; number * CHUNK_MS < now; number += 1) this.fetch(number);
  }

  async fetch(number) {
    const known = this.chunks.get(number);
    if (known?.isSettled) return;
    if (known?.isGoing) { known.isStale = true; return; }
    const chunk = known || { stretches: [], beats: [] };
    Object.assign(chunk, { isGoing: true, isStale: false });
    this.chunks.set(number, chunk);
    const [from, until] = [number * CHUNK_MS, (number + 1) * CHUNK_MS];
    const device = this.device ? `&device=${encodeURIComponent(this.device)}` : "";
    const span = `from=${iso(from)}&until=${iso(until)}${device}`;
    try {
      const asked = this.nowMs();
      const [ecg, beats] = await Promise.all([ask(`${this.path}/ecg?${span}`), ask(`${this.path}/beats?${span}`)]);
      if (this.chunks.get(number) !== chunk) return;
      chunk.stretches = ecg.items.map((one) => ({ ...one, samples: decode(one.samplesBase64), samplesBase64: null }));
      chunk.beats = beats.atMs.map((atMs, k) => ({ atMs, symbol: beats.classes[k], confidence: beats.confidences[k] }));
      chunk.isSettled = asked > until + SETTLED_MS;
      for (const one of chunk.stretches) {
        this.newestMs = Math.max(this.newestMs, one.startMs + 1000 * one.samples.length / one.fs);
      }
      this.forget(number);
    } catch (error) {
      this.chunks.delete(number);
      this.onNews(error);
      return;
    } finally {
      chunk.isGoing = false;
    }
    this.onNews(null);
    if (chunk.isStale) this.fetch(number);
  }

  forget(near) {
    if (this.chunks.size <= KEPT) return;
    const farthest = [...this.chunks.keys()].reduce((a, b) => (Math.abs(a - near) > Math.abs(b - near) ? a : b));
    this.chunks.delete(farthest);
  }

  only(device) {
    this.device = device;
    this.chunks.clear();
    this.newestMs = 0;
  }
}
