// Trends: rates, the time in each rhythm, variability and what could be read, over minutes or months. Each span is
// asked for at the resolution that it can show.
import { ask } from "./api.js";

const MINUTE = 60000;
export const RESOLUTIONS = [["1m", 1], ["5m", 5], ["15m", 15], ["1h", 60], ["6h", 360], ["1d", 1440]];
const BUCKETS = 480;
export const LEAST_MS = 10 * MINUTE;
export const MOST_MS = 2 * 366 * 1440 * MINUTE;
const LEFT = 62;
const LANE = 22;
const GAP = 8;
const PRIORITY = {
  ventricular_fibrillation: "high", asystole: "high", ventricular_tachycardia: "high", extreme_bradycardia: "high",
  extreme_tachycardia: "high", ventricular_run: "medium", pause: "medium", supraventricular_tachycardia: "medium",
};
const STEPS = [1, 2, 5, 10, 30, 60, 120, 360, 720, 1440, 2880, 10080, 43200, 129600];

export const resolutionFor = (spanMs) =>
  (RESOLUTIONS.find(([, minutes]) => spanMs / (minutes * MINUTE) <= BUCKETS) || RESOLUTIONS.at(-1))[0];

export class Trends {
  constructor(canvas, patient, { onPick, onNews }) {
    this.canvas = canvas;
    this.ink = canvas.getContext("2d");
    this.path = `/v1/patients/${encodeURIComponent(patient)}/trends`;
    this.onNews = onNews;
    this.untilMs = Date.now();
    this.fromMs = this.untilMs - 6 * 60 * MINUTE;
    this.found = null;
    this.selected = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    document.addEventListener("theme", () => this.draw());
    this.listen(onPick);
  }

  get spanMs() { return this.untilMs - this.fromMs; }

  show(fromMs, untilMs) {
    const span = Math.min(MOST_MS, Math.max(LEAST_MS, untilMs - fromMs));
    this.fromMs = fromMs;
    this.untilMs = fromMs + span;
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), 150);
  }

  zoom(factor, atMs = (this.fromMs + this.untilMs) / 2) {
    const span = Math.min(MOST_MS, Math.max(LEAST_MS, this.spanMs * factor));
    const share = (atMs - this.fromMs) / this.spanMs;
    this.show(atMs - share * span, atMs + (1 - share) * span);
  }

  pan(share) { this.show(this.fromMs + share * this.spanMs, this.untilMs + share * this.spanMs); }

  async load() {
    const number = this.asked = (this.asked || 0) + 1;
    const margin = this.spanMs / 4;
    const [from, until] = [this.fromMs - margin, this.untilMs + margin].map((ms) => new Date(ms).toISOString());
    try {
      const found = await ask(`${this.path}?from=${from}&until=${until}&resolution=${resolutionFor(this.spanMs)}`);
      if (number !== this.asked) return;
      this.found = found;
      this.draw();
      this.onNews(null, this);
    } catch (error) {
      this.onNews(error, this);
    }
  }

  /** Rows as objects, for a table. */
  rows() {
    if (!this.found) return [];
    const { startMs, heartRate, variability, quality, burdenMs } = this.found;
    return startMs.map((ms, k) => ({
      ms,
      rate: heartRate.mean[k], low: heartRate.min[k], high: heartRate.max[k],
      sdnn: variability.sdnnMs[k], rmssd: variability.rmssdMs[k],
      clear: quality.clearS[k], qrs: quality.qrsOnlyS[k], none: quality.unreadableS[k],
      burden: Object.entries(burdenMs).filter(([, column]) => column[k]).map(([kind, column]) => [kind, column[k]]),
    })).filter(({ ms }) => ms >= this.fromMs - this.widthMs && ms < this.untilMs);
  }

  get widthMs() { return (this.found?.resolutionMin || 1) * MINUTE; }
  kinds() {
    const order = ["high", "medium", undefined];
    return Object.keys(this.found?.burdenMs || {}).sort((a, b) => order.indexOf(PRIORITY[a]) - order.indexOf(PRIORITY[b]));
  }

  x(ms) { return LEFT + (ms - this.fromMs) / this.spanMs * (this.width - LEFT - 6); }
  msAt(px) { return this.fromMs + (px - LEFT) / (this.width - LEFT - 6) * this.spanMs; }

  draw() {
    const lanes = this.kinds().length;
    const needed = 120 + GAP + 60 + GAP + (lanes + 1) * (LANE + 4) + 24;
    if (this.canvas.style.height !== `${needed}px`) this.canvas.style.height = `${needed}px`;
    const { width } = this.canvas.getBoundingClientRect();
    const ratio = devicePixelRatio || 1;
    this.width = width;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(needed * ratio);
    const style = getComputedStyle(document.documentElement);
    this.colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const { ink } = this;
    ink.scale(ratio, ratio);
    ink.font = "12px system-ui, sans-serif";
    ink.fillStyle = this.colour("card");
    ink.fillRect(0, 0, width, needed);
    this.drawTimes(needed);
    this.drawCurve(0, 120, "beats/min", [this.found?.heartRate.mean || []], [this.found?.heartRate.min || [], this.found?.heartRate.max || []], 40, 100);
    this.drawCurve(120 + GAP, 60, "SDNN ms", [this.found?.variability.sdnnMs || [], this.found?.variability.rmssdMs || []], null, 0, 100);
    let top = 120 + 60 + 2 * GAP;
    for (const kind of this.kinds()) {
      this.drawLane(top, kind.replaceAll("_", " "), [[this.found.burdenMs[kind], PRIORITY[kind] || "low", this.widthMs]]);
      top += LANE + 4;
    }
    if (this.found) {
      const { clearS, qrsOnlyS, unreadableS } = this.found.quality;
      const seconds = this.widthMs / 1000;
      this.drawLane(top, "readable", [[clearS, "good", seconds], [qrsOnlyS, "medium", seconds], [unreadableS, "bad", seconds]]);
    }
    if (this.selected !== null) {
      ink.fillStyle = this.colour("focus");
      ink.fillRect(this.x(this.selected) - 1, 0, 2, needed - 20);
    }
  }

  drawTimes(height) {
    const { ink } = this;
    const step = (STEPS.find((minutes) => this.spanMs / (minutes * MINUTE) <= this.width / 90) || STEPS.at(-1)) * MINUTE;
    const offset = new Date(this.fromMs).getTimezoneOffset() * MINUTE;
    ink.textAlign = "center";
    for (let ms = Math.ceil((this.fromMs - offset) / step) * step + offset; ms < this.untilMs; ms += step) {
      const at = new Date(ms);
      const words = step >= 1440 * MINUTE || (at.getHours() === 0 && at.getMinutes() === 0)
        ? at.toLocaleDateString([], { day: "numeric", month: "short" })
        : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
      ink.fillStyle = this.colour("line");
      ink.fillRect(this.x(ms), 0, 1, height - 20);
      ink.fillStyle = this.colour("soft");
      ink.fillText(words, this.x(ms), height - 6);
    }
    ink.textAlign = "start";
  }

  drawCurve(top, height, name, curves, band, least, most) {
    const { ink } = this;
    const known = [...curves.flat(), ...(band || []).flat()].filter((value) => value !== null);
    const low = Math.min(least, ...known);
    const high = Math.max(most, ...known);
    const y = (value) => top + height - 4 - (value - low) / (high - low) * (height - 8);
    ink.fillStyle = this.colour("soft");
    ink.fillText(name, 0, top + 12);
    ink.fillText(Math.round(high), LEFT - 28, top + 12 + 14);
    ink.fillText(Math.round(low), LEFT - 28, top + height - 4);
    const starts = this.found?.startMs || [];
    ink.save();
    ink.beginPath();
    ink.rect(LEFT, top, this.width - LEFT - 6, height);
    ink.clip();
    if (band) {
      ink.fillStyle = `${this.colour("focus")}44`;
      starts.forEach((ms, k) => {
        if (band[0][k] === null || band[1][k] === null) return;
        ink.fillRect(this.x(ms), y(band[1][k]), Math.max(1, this.x(ms + this.widthMs) - this.x(ms)), Math.max(1, y(band[0][k]) - y(band[1][k])));
      });
    }
    curves.forEach((curve, number) => {
      ink.strokeStyle = this.colour(number ? "soft" : "focus");
      ink.lineWidth = number ? 1 : 1.6;
      ink.beginPath();
      let before = null;
      starts.forEach((ms, k) => {
        if (curve[k] === null) { before = null; return; }
        const at = this.x(ms + this.widthMs / 2);
        if (before !== null && ms - before <= this.widthMs) ink.lineTo(at, y(curve[k]));
        else { ink.moveTo(at - 1, y(curve[k])); ink.lineTo(at, y(curve[k])); }
        before = ms;
      });
      ink.stroke();
    });
    ink.restore();
  }

  /** Shares of each bucket, one above the other. */
  drawLane(top, name, layers) {
    const { ink } = this;
    const starts = this.found.startMs;
    ink.fillStyle = this.colour("row");
    ink.fillRect(LEFT, top, this.width - LEFT - 6, LANE);
    const below = new Float64Array(starts.length);
    for (const [column, colour, whole] of layers) {
      ink.fillStyle = this.colour(colour);
      starts.forEach((ms, k) => {
        const [left, right] = [Math.max(LEFT, this.x(ms)), Math.min(this.width - 6, this.x(ms + this.widthMs))];
        if (right <= left || !column[k]) return;
        const share = Math.min(1 - below[k], column[k] / whole);
        const high = Math.max(share * LANE, 1);
        ink.fillRect(left, top + LANE * (1 - below[k]) - high, Math.max(1, right - left), high);
        below[k] += share;
      });
    }
    ink.fillStyle = this.colour("ink");
    ink.fillText(name, LEFT + 4, top + LANE - 7);
  }

  listen(onPick) {
    const { canvas } = this;
    let begun = null;
    canvas.addEventListener("pointerdown", (event) => {
      begun = { px: event.offsetX, fromMs: this.fromMs, untilMs: this.untilMs, isMoved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!begun) return;
      const moved = event.offsetX - begun.px;
      if (Math.abs(moved) > 4) begun.isMoved = true;
      const ms = moved / (this.width - LEFT - 6) * (begun.untilMs - begun.fromMs);
      if (begun.isMoved) this.show(begun.fromMs - ms, begun.untilMs - ms);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (begun && !begun.isMoved) onPick(this.msAt(event.offsetX));
      begun = null;
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan((event.deltaX || event.deltaY) / 1000);
      else this.zoom(Math.exp(event.deltaY / 500), this.msAt(event.offsetX));
    }, { passive: false });
  }
}
