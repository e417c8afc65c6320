// ECG paper on a canvas: 1-mm and 5-mm lines, a calibration pulse of 1 mV and 0.2 s, and traces at scale. A mm is
// a mm of CSS; on most screens that is near enough, and the grid says what a trace means on all.
import { MISSING } from "./samples.js";

export const PX_PER_MM = 96 / 25.4;
export const PULSE_MM = 9;

export class Paper {
  constructor(canvas) {
    this.canvas = canvas;
    this.ink = canvas.getContext("2d");
    this.mmPerS = 25;
    this.mmPerMv = 10;
    this.fit();
  }

  /** Take the room that there is, in the pixels that the screen has. */
  fit() {
    const { width, height } = this.canvas.getBoundingClientRect();
    this.ratio = devicePixelRatio || 1;
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
    this.colours();
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    this.colour = {
      sheet: of("--sheet"), thin: of("--thin"), thick: of("--thick"), trace: of("--trace"), soft: of("--soft"),
      focus: of("--focus"), bad: of("--bad"), warn: of("--warn"),
    };
    this.background = null;
  }

  get leftPx() { return PULSE_MM * PX_PER_MM; }
  get seconds() { return (this.width - this.leftPx) / PX_PER_MM / this.mmPerS; }
  get pxPerMs() { return this.mmPerS * PX_PER_MM / 1000; }
  get zeroPx() { return Math.round(this.height * 0.6 / PX_PER_MM / 5) * 5 * PX_PER_MM; }
  y(millivolts) { return this.zeroPx - millivolts * this.mmPerMv * PX_PER_MM; }

  /** The sheet with its lines, drawn once and copied after that. */
  sheet() {
    const key = `${this.canvas.width} ${this.canvas.height} ${this.mmPerMv} ${this.mmPerS}`;
    if (this.background && this.backgroundKey === key) return this.background;
    const sheet = document.createElement("canvas");
    sheet.width = this.canvas.width;
    sheet.height = this.canvas.height;
    const ink = sheet.getContext("2d");
    ink.scale(this.ratio, this.ratio);
    ink.fillStyle = this.colour.sheet;
    ink.fillRect(0, 0, this.width, this.height);
    for (const [step, colour] of [[1, this.colour.thin], [5, this.colour.thick]]) {
      ink.fillStyle = colour;
      const pitch = step * PX_PER_MM;
      // Whole pixels of the screen: a line that falls between two would be grey.
      const on = (px) => Math.round(px * this.ratio) / this.ratio;
      for (let x = this.leftPx % pitch; x < this.width; x += pitch) ink.fillRect(on(x), 0, 1 / this.ratio, this.height);
      for (let y = this.zeroPx % pitch; y < this.height; y += pitch) ink.fillRect(0, on(y), this.width, 1 / this.ratio);
    }
    this.pulse(ink);
    this.background = sheet;
    this.backgroundKey = key;
    return sheet;
  }

  pulse(ink) {
    const mm = PX_PER_MM;
    const wide = 0.2 * this.mmPerS * mm;
    const left = Math.max(1, this.leftPx - wide - 2 * mm);
    const [low, high] = [this.y(0), this.y(1)];
    ink.strokeStyle = this.colour.trace;
    ink.lineWidth = 1.2;
    ink.beginPath();
    ink.moveTo(left - mm, low);
    for (const [x, y] of [[left, low], [left, high], [left + wide, high], [left + wide, low], [left + wide + mm, low]]) ink.lineTo(x, y);
    ink.stroke();
    ink.fillStyle = this.colour.soft;
    ink.font = "11px system-ui, sans-serif";
    ink.fillText(`${this.mmPerS} mm/s  ${this.mmPerMv} mm/mV`, 4, this.height - 5);
  }

  begin() {
    this.ink.setTransform(1, 0, 0, 1, 0, 0);
    this.ink.drawImage(this.sheet(), 0, 0);
    this.ink.scale(this.ratio, this.ratio);
  }

  /** Everything in it stays right of the pulse, between two times. */
  within(fromX, untilX, draw) {
    this.ink.save();
    this.ink.beginPath();
    this.ink.rect(Math.max(this.leftPx, fromX), 0, Math.max(0, untilX - Math.max(this.leftPx, fromX)), this.height);
    this.ink.clip();
    draw();
    this.ink.restore();
  }

  /** Samples of a stretch where `x` says that a time lies; what is missing stays open, and so does what lies between
   * it and the stretch before, unless it goes on with the next sample. */
  trace(stretch, fromMs, untilMs, x, before = null) {
    const { startMs, fs, samples } = stretch;
    const first = Math.max(0, Math.floor((fromMs - startMs) * fs / 1000));
    const last = Math.min(samples.length, Math.ceil((untilMs - startMs) * fs / 1000) + 1);
    if (first >= last) return;
    const { ink } = this;
    ink.strokeStyle = this.colour.trace;
    ink.lineWidth = 1.3;
    ink.lineJoin = "round";
    ink.beginPath();
    const scale = this.mmPerMv * PX_PER_MM / 1000;
    const step = 1000 / fs;
    let isDown = first === 0 && this.goesOn(before, stretch);
    if (isDown) ink.moveTo(x(startMs - step), this.zeroPx - before.samples.at(-1) * scale);
    for (let k = first; k < last; k += 1) {
      if (samples[k] === MISSING) { isDown = false; continue; }
      const at = x(startMs + k * step);
      const y = this.zeroPx - samples[k] * scale;
      if (isDown) ink.lineTo(at, y); else ink.moveTo(at, y);
      isDown = true;
    }
    ink.stroke();
  }

  goesOn(before, { device, startMs, fs }) {
    if (!before || before.device !== device || before.fs !== fs || before.samples.at(-1) === MISSING) return false;
    return Math.abs(before.startMs + 1000 * before.samples.length / fs - startMs) < 500 / fs;
  }

  word(text, x, y, colour = this.colour.soft, isBold = false) {
    this.ink.fillStyle = colour;
    this.ink.font = `${isBold ? "700 13" : "12"}px system-ui, sans-serif`;
    this.ink.textAlign = "center";
    this.ink.fillText(text, x, y);
    this.ink.textAlign = "start";
  }
}
