// What the service counts, as rates and latencies: differences of what two questions found.

export class Figures {
  constructor() { this.series = []; }

  take(found) {
    const totals = new Map();
    const buckets = new Map();
    for (const { name, labels, value } of found.items) {
      totals.set(name, (totals.get(name) || 0) + value);
      if (name === "einthoven_ingest_seconds_bucket") buckets.set(labels.le, (buckets.get(labels.le) || 0) + value);
      if (labels.outcome) totals.set(`${name} ${labels.outcome}`, (totals.get(`${name} ${labels.outcome}`) || 0) + value);
    }
    const now = { atMs: found.atMs, totals, buckets };
    const before = this.before;
    this.before = now;
    if (!before || now.atMs <= before.atMs) return;
    const seconds = (now.atMs - before.atMs) / 1000;
    const rate = (name) => Math.max(0, (totals.get(name) || 0) - (before.totals.get(name) || 0)) / seconds;
    const grown = [...buckets].map(([le, count]) => [le === "+Inf" ? Infinity : Number(le), count - (before.buckets.get(le) || 0)])
      .sort((a, b) => a[0] - b[0]);
    this.series.push({
      segments: rate("einthoven_segments_total"), p50: quantile(grown, 0.5), p99: quantile(grown, 0.99),
      waiting: totals.get("einthoven_queue_segments") || 0,
    });
    if (this.series.length > 150) this.series.shift();
  }

  total(name) { return this.before?.totals.get(name) || 0; }
}

/** Within the bucket as if all in it were evenly spread; ms, null where nothing was counted. */
function quantile(grown, share) {
  const all = grown.length ? grown.at(-1)[1] : 0;
  if (!all) return null;
  let [low, below] = [0, 0];
  for (const [le, count] of grown) {
    if (count >= share * all) {
      if (le === Infinity) return 1000 * low;
      return 1000 * (low + (le - low) * (share * all - below) / Math.max(count - below, 1e-9));
    }
    [low, below] = [le, count];
  }
  return null;
}

/** A small curve, and the greatest value as a word. */
export function drawSeries(canvas, curves) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const ink = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  ink.scale(ratio, ratio);
  const most = Math.max(1, ...curves.flat().filter((value) => value !== null));
  curves.forEach((curve, number) => {
    ink.strokeStyle = colour(number ? "--warn" : "--focus");
    ink.setLineDash(number ? [4, 3] : []);
    ink.lineWidth = 1.6;
    ink.beginPath();
    let isDown = false;
    curve.forEach((value, k) => {
      if (value === null) { isDown = false; return; }
      const [x, y] = [width - (curve.length - 1 - k) * width / 149, height - 2 - value / most * (height - 18)];
      if (isDown) ink.lineTo(x, y); else ink.moveTo(x, y);
      isDown = true;
    });
    ink.stroke();
  });
  ink.fillStyle = colour("--soft");
  ink.font = "12px system-ui, sans-serif";
  ink.fillText(most < 10 ? most.toFixed(1) : Math.round(most).toString(), 2, 12);
}
