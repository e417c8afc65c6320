// What happens, as it happens. The browser's own event source comes back by itself and says what it heard last;
// where it gives up, or nothing is heard for too long, this begins anew with the number of the last change.

const SILENT_MS = 15000;
const WAIT_MS = [500, 1000, 2000, 3000];

export class Live {
  /**
   * @param {{newest: () => number, alert: Function, streams: Function, state: Function, again: Function}} told
   * @param {string} patient of whom alone is told; empty for all
   *   again: called after each interruption, to read anew what has no numbers; its promise is waited for
   */
  constructor(told, patient = "") {
    this.told = told;
    this.only = patient ? `&patient=${encodeURIComponent(patient)}` : "";
    this.failures = 0;
    this.heardMs = 0;
    this.wasOpen = false;
    this.open();
    setInterval(() => this.look(), 2000);
    addEventListener("online", () => this.restart());
  }

  open() {
    const source = this.source = new EventSource(`/v1/events?streams=true&after=${this.told.newest()}${this.only}`);
    this.heardMs = Date.now();
    source.addEventListener("open", () => {
      const wasInterrupted = this.wasOpen;
      this.failures = 0;
      this.wasOpen = true;
      this.heard();
      this.told.state("live");
      if (wasInterrupted) this.told.again().catch(() => this.restart());
    });
    source.addEventListener("alert", (event) => {
      this.heard();
      this.told.alert(JSON.parse(event.data), Number(event.lastEventId));
    });
    source.addEventListener("streams", (event) => { this.heard(); this.told.streams(JSON.parse(event.data).streams); });
    source.addEventListener("beat", () => this.heard());
    source.addEventListener("error", () => {
      this.told.state("lost");
      if (source.readyState === EventSource.CLOSED) this.later();
    });
  }

  heard() { this.heardMs = Date.now(); }

  look() {
    if (Date.now() - this.heardMs > SILENT_MS) {
      this.told.state("lost");
      this.restart();
    }
  }

  restart() {
    this.source.close();
    this.open();
  }

  later() {
    const wait = WAIT_MS[Math.min(this.failures, WAIT_MS.length - 1)];
    this.failures += 1;
    this.heardMs = Date.now() + wait;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.told.again().then(() => this.restart(), () => this.later()), wait);
  }
}
