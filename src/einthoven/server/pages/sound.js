// Sounds of alerts, for whoever switches them on: bursts as IEC 60601-1-8 has them. High: twice five pulses,
// medium: three, low: one. Off until somebody asks, because a browser makes no sound before a click.

const PULSES = {
  high: { starts: [0, 0.2, 0.4, 0.75, 0.95, 1.9, 2.1, 2.3, 2.65, 2.85], length: 0.12, everyMs: 8000, hz: 660 },
  medium: { starts: [0, 0.35, 0.7], length: 0.2, everyMs: 15000, hz: 520 },
  low: { starts: [0], length: 0.25, everyMs: 30000, hz: 440 },
};
const HARMONICS = [1, 2, 3, 4];

export class Sound {
  constructor() {
    this.context = null;
    this.isOn = false;
    this.pausedUntilMs = 0;
    this.playedMs = 0;
    this.played = null;
  }

  toggle() {
    this.isOn = !this.isOn;
    if (this.isOn && !this.context) this.context = new AudioContext();
    this.playedMs = 0;
    return this.isOn;
  }

  pause(ms) { this.pausedUntilMs = Date.now() + ms; }

  /** "on", "paused" or "off", for everybody to see. */
  state() {
    if (!this.isOn) return "off";
    return Date.now() < this.pausedUntilMs ? "paused" : "on";
  }

  /** Called often with the most urgent priority that calls for somebody, or null. */
  tick(priority) {
    if (this.state() !== "on" || !priority) return;
    const pattern = PULSES[priority];
    const isNews = priority !== this.played;
    if (!isNews && Date.now() - this.playedMs < pattern.everyMs) return;
    this.playedMs = Date.now();
    this.played = priority;
    const from = this.context.currentTime + 0.05;
    pattern.starts.forEach((start) => this.pulse(from + start, pattern));
  }

  pulse(at, { length, hz }) {
    const volume = this.context.createGain();
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(0.12, at + 0.02);
    volume.gain.setValueAtTime(0.12, at + length - 0.02);
    volume.gain.linearRampToValueAtTime(0, at + length);
    volume.connect(this.context.destination);
    for (const harmonic of HARMONICS) {
      const tone = this.context.createOscillator();
      tone.frequency.value = hz * harmonic;
      tone.connect(volume);
      tone.start(at);
      tone.stop(at + length);
    }
  }
}
