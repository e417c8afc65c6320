// A strip: live, as a sweep or as paper that scrolls, or a span to be looked at and measured.
import { clock } from "./alerts.js";
import { Paper } from "./paper.js";

const SWEEP_GAP_MS = 300;
const DELAY_LEAST_MS = 1500;
const DELAY_MOST_MS = 120000;
const SYMBOLS = { N: "soft", S: "warn", V: "bad", F: "bad", Q: "soft" };

export class Strip {
  /** @param {import("./samples.js").Samples} samples */
  constructor(canvas, samples, { nowMs, onChange }) {
    this.paper = new Paper(canvas);
    this.canvas = canvas;
    this.samples = samples;
    this.nowMs = nowMs;
    this.onChange = onChange;
    this.mode = "scroll";
    this.fromMs = 0;
    this.delayMs = DELAY_LEAST_MS;
    this.calipers = null;
    this.active = 1;
    this.frames = 0;
    new ResizeObserver(() => { this.paper.fit(); this.touch(); }).observe(canvas);
    document.addEventListener("theme", () => { this.paper.colours(); this.touch(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.paper.colours(); this.touch(); });
    this.listenToPointer();
    this.isTouched = true;
    const frame = () => {
      requestAnimationFrame(frame);
      if (this.isLive || this.isTouched) this.draw();
    };
    requestAnimationFrame(frame);
  }

  get isLive() { return this.mode !== "review"; }
  get spanMs() { return this.paper.seconds * 1000; }
  get playedMs() { return this.nowMs() - this.delayMs; }
  touch() { this.isTouched = true; }

  scale(mmPerS, mmPerMv) {
    const middle = this.fromMs + this.spanMs / 2;
    Object.assign(this.paper, { mmPerS, mmPerMv });
    if (!this.isLive) this.fromMs = middle - this.spanMs / 2;
    this.touch();
    this.onChange();
  }

  /** Something new came: play so far behind that what is shown never has to wait. */
  arrived(newestMs) {
    if (!newestMs || newestMs === this.newestMs) return;
    const step = this.newestMs ? Math.min(newestMs - this.newestMs, 60000) : 2000;
    const lag = this.nowMs() - newestMs;
    this.newestMs = newestMs;
    this.delayMs = Math.min(DELAY_MOST_MS, Math.max(DELAY_LEAST_MS, lag + step + 500));
  }

  live(mode) {
    this.mode = mode;
    this.calipers = null;
    this.touch();
    this.onChange();
  }

  /** Look at the span around a time. */
  review(atMs) {
    this.mode = "review";
    this.fromMs = atMs - this.spanMs / 2;
    this.calipers = null;
    this.touch();
    this.onChange();
  }

  pan(ms) {
    if (this.isLive) this.review(this.playedMs - this.spanMs / 2);
    this.fromMs += ms;
    this.touch();
    this.onChange();
  }

  draw() {
    this.isTouched = false;
    this.frames += 1;
    this.paper.begin();
    if (this.mode === "sweep") this.drawSweep();
    else this.drawSpan(this.isLive ? this.playedMs - this.spanMs : this.fromMs);
    if (this.calipers) this.drawCalipers();
  }

  drawSpan(fromMs) {
    const { paper } = this;
    const x = (ms) => paper.leftPx + (ms - fromMs) * paper.pxPerMs;
    paper.within(0, paper.width, () => this.drawPart(fromMs, fromMs + this.spanMs, x));
  }

  /** The pen goes round: what lies right of it is one round older. */
  drawSweep() {
    const { paper } = this;
    const now = this.playedMs;
    const begun = Math.floor(now / this.spanMs) * this.spanMs;
    const x = (ms) => paper.leftPx + (ms - begun) * paper.pxPerMs;
    const before = (ms) => x(ms + this.spanMs);
    const pen = x(now);
    paper.within(0, pen, () => this.drawPart(begun, now, x));
    const clear = pen + SWEEP_GAP_MS * paper.pxPerMs;
    paper.within(clear, paper.width, () => this.drawPart(now - this.spanMs + SWEEP_GAP_MS, begun, before));
    paper.ink.fillStyle = paper.colour.focus;
    paper.ink.fillRect(pen, 0, 1.5, paper.height);
  }

  drawPart(fromMs, untilMs, x) {
    const { paper } = this;
    const { stretches, beats } = this.samples.between(fromMs - 200, untilMs + 200);
    const firstS = Math.ceil(fromMs / 1000);
    for (let second = firstS; second * 1000 < untilMs; second += 1) {
      const at = x(second * 1000);
      paper.ink.fillStyle = paper.colour.soft;
      paper.ink.fillRect(at, paper.height - 20, 1, 5);
      if (second % 2 === 0) paper.word(clock(second * 1000), at, paper.height - 24);
    }
    stretches.sort((a, b) => (a.device < b.device ? -1 : a.device > b.device ? 1 : a.startMs - b.startMs));
    stretches.forEach((stretch, k) => {
      if (stretch.startMs < untilMs) paper.trace(stretch, fromMs, untilMs, x, stretches[k - 1]);
    });
    for (const beat of beats) {
      if (beat.atMs < fromMs || beat.atMs > untilMs) continue;
      paper.word(beat.symbol, x(beat.atMs), 16, paper.colour[SYMBOLS[beat.symbol]], beat.symbol !== "N");
    }
  }

  // ------------------------------------------------------------------ measuring

  timeAt(px) { return this.fromMs + (px - this.paper.leftPx) / this.paper.pxPerMs; }

  listenToPointer() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (this.isLive) this.review(this.playedMs - this.spanMs / 2);
      const at = this.timeAt(event.offsetX);
      const near = this.calipers?.findIndex((ms) => Math.abs(ms - at) * this.paper.pxPerMs < 8) ?? -1;
      if (near >= 0) this.active = near;
      else {
        this.calipers = [at, at];
        this.active = 1;
      }
      canvas.setPointerCapture(event.pointerId);
      this.measured();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId) || !this.calipers) return;
      this.calipers[this.active] = this.timeAt(event.offsetX);
      this.measured();
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.pan((event.deltaX || event.deltaY) / this.paper.pxPerMs);
    }, { passive: false });
  }

  measured() {
    this.touch();
    this.onChange();
  }

  /** Put both legs down around the middle, or on two beats that follow each other. */
  place(onBeats) {
    if (this.isLive) this.review(this.playedMs - this.spanMs / 2);
    const middle = this.fromMs + this.spanMs / 2;
    this.calipers = [middle - 200, middle + 200];
    if (onBeats) {
      const { beats } = this.samples.between(this.fromMs, this.fromMs + this.spanMs);
      const second = beats.findIndex((beat) => beat.atMs > middle);
      if (second > 0) this.calipers = [beats[second - 1].atMs, beats[second].atMs];
    }
    this.active = 1;
    this.measured();
  }

  nudge(samples) {
    if (!this.calipers) this.place(false);
    const fs = this.samples.between(this.fromMs, this.fromMs + this.spanMs).stretches[0]?.fs || 250;
    this.calipers[this.active] += samples * 1000 / fs;
    this.measured();
  }

  /** What the calipers say: ms, beats/min if that is one interval, and mV between the legs. */
  reading() {
    if (!this.calipers) return null;
    const [a, b] = [...this.calipers].sort((x, y) => x - y);
    const ms = Math.round(b - a);
    const [first, second] = [this.millivoltsAt(a), this.millivoltsAt(b)];
    return {
      ms,
      rate: ms > 0 ? 60000 / ms : null,
      millivolts: first === null || second === null ? null : second - first,
    };
  }

  millivoltsAt(ms) {
    for (const { startMs, fs, samples } of this.samples.between(ms - 1, ms + 1).stretches) {
      const k = Math.round((ms - startMs) * fs / 1000);
      if (k >= 0 && k < samples.length && samples[k] !== -32768) return samples[k] / 1000;
    }
    return null;
  }

  drawCalipers() {
    const { paper } = this;
    const { ink } = paper;
    const x = this.calipers.map((ms) => paper.leftPx + (ms - this.fromMs) * paper.pxPerMs);
    ink.fillStyle = `${paper.colour.focus}22`;
    ink.fillRect(Math.min(...x), 0, Math.abs(x[1] - x[0]), paper.height);
    x.forEach((at, leg) => {
      ink.fillStyle = paper.colour.focus;
      ink.fillRect(at - 0.75, 0, leg === this.active ? 2.5 : 1.5, paper.height);
    });
    const reading = this.reading();
    paper.word(`${reading.ms} ms`, (x[0] + x[1]) / 2, 34, paper.colour.focus, true);
  }
}
