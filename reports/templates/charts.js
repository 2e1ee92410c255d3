// Throughput and latency, on uPlot. Buckets are made anew for each window, so that zooming shows more.

const MOST_BUCKETS = 150;
// In simulation much takes no time at all; a logarithmic axis needs something.
const SHORTEST_MS = 0.1;

function buckets() {
  const step = niceStep(axis.max - axis.min, Math.min(MOST_BUCKETS, plotWidth() / 6));
  const first = Math.floor(axis.min / step), count = Math.ceil(axis.max / step) - first;
  return { step, first, count, times: Array.from({ length: count }, (_, i) => (first + i + 0.5) * step) };
}

function throughput() {
  const { step, first, count, times } = buckets();
  const rates = byEnd.map(({ ends }) => Array.from({ length: count }, (_, i) => (lowerBound(ends, (first + i + 1) * step) - lowerBound(ends, (first + i) * step)) / step));
  // Nothing is drawn where nothing failed: a dashed line along the bottom would look like something.
  return [times, rates[0], ...rates.slice(1).map((rate) => rate.map((value) => value || null))];
}

function percentiles() {
  const { step, first, count, times } = buckets(), { order, ends } = byEnd[0];
  const median = [], high = [];
  for (let i = 0; i < count; i++) {
    const inside = order.subarray(lowerBound(ends, (first + i) * step), lowerBound(ends, (first + i + 1) * step));
    const took = Float64Array.from(inside, (op) => ops.took[op]).sort();
    const at = (share) => (took.length ? Math.max(SHORTEST_MS, took[Math.min(took.length - 1, Math.floor(took.length * share))]) : null);
    median.push(at(0.5));
    high.push(at(0.99));
  }
  return [times, median, high];
}

// Bands of the faults behind a chart, and its frame.
function shade(u) {
  const { ctx } = u, { left, top, width, height } = u.bbox, ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath(); ctx.rect(left, top, width, height); ctx.clip();
  ctx.fillStyle = colour["fault-fill"];
  for (const band of raw.bands) {
    if (band.outcome === "fail" || band.kind === "crash-at") continue;
    const x1 = u.valToPos(seconds(band.start), "x", true), x2 = u.valToPos(seconds(band.end), "x", true);
    ctx.fillRect(x1, top, Math.max(ratio, x2 - x1), height);
  }
  ctx.restore();
}

const MARK = {
  ok(ctx, x, y, r) { ctx.beginPath(); ctx.arc(x, y, r * 0.8, 0, 7); ctx.fill(); },
  fail(ctx, x, y, r) { ctx.fillRect(x - r, y - r, 2 * r, 2 * r); },
  info(ctx, x, y, r) {
    ctx.beginPath(); ctx.moveTo(x, y - 1.5 * r); ctx.lineTo(x + 1.5 * r, y + r); ctx.lineTo(x - 1.5 * r, y + r); ctx.closePath(); ctx.fill();
  },
};

// The operations of each outcome in order of their end, so that a window is one slice of them.
const byEnd = OUTCOMES.map((_, code) => {
  const found = [];
  for (let i = 0; i < ops.count; i++) if (ops.outcome[i] === code && !Number.isNaN(ops.took[i])) found.push(i);
  const order = Int32Array.from(found);
  for (let i = 1, sorted = true; i < order.length && sorted; i++) {
    sorted = ops.end[order[i - 1]] <= ops.end[order[i]];
    if (!sorted) order.sort((x, y) => ops.end[x] - ops.end[y]);
  }
  return { order, ends: Float64Array.from(order, (i) => ops.end[i]), height: Float32Array.from(order, (i) => Math.log10(Math.max(SHORTEST_MS, ops.took[i]))) };
});

// One mark an operation; where several fall on one spot, one is drawn. The rare outcomes lie on top.
function points(u) {
  const { ctx } = u, { left, top, width, height } = u.bbox, ratio = devicePixelRatio;
  const many = ops.count > 20000, radius = (many ? 1.2 : 1.9) * ratio, cell = Math.max(1, Math.round(ratio * (many ? 2 : 1)));
  const across = Math.ceil(width / cell) + 1, taken = new Uint8Array(across * (Math.ceil(height / cell) + 1));
  const low = Math.log10(latencyRange[0]), perDecade = height / (Math.log10(latencyRange[1]) - low), perSecond = width / (axis.max - axis.min);
  ctx.save();
  ctx.beginPath(); ctx.rect(left, top, width, height); ctx.clip();
  OUTCOMES.forEach((outcome, code) => {
    const dots = many && outcome === "ok", { ends, height: log } = byEnd[code];
    ctx.fillStyle = colour[outcome];
    ctx.globalAlpha = outcome === "ok" ? 0.55 : 0.95;
    taken.fill(0);
    for (let i = lowerBound(ends, axis.min); i < ends.length && ends[i] <= axis.max; i++) {
      const x = (ends[i] - axis.min) * perSecond, y = height - (log[i] - low) * perDecade;
      const spot = Math.floor(y / cell) * across + Math.floor(x / cell);
      if (taken[spot]) continue;
      taken[spot] = 1;
      if (dots) ctx.fillRect(left + x - 1, top + y - 1, cell, cell);
      else MARK[outcome](ctx, left + x, top + y, outcome === "ok" ? radius : radius * 1.3);
    }
  });
  ctx.globalAlpha = 1;
  ctx.restore();
}

const charts = [];

function chart(id, height, scale, series, data, hooks, vertical = {}) {
  const element = byId(id);
  let plot = null;
  const axisStyle = () => ({ stroke: colour.muted, font: "11px system-ui, sans-serif", grid: { stroke: colour.rule, width: 1 }, ticks: { show: false } });
  const make = () => {
    if (plot) plot.destroy();
    plot = new uPlot({
      width: panels.clientWidth, height: height(), legend: { show: false }, cursor: { show: false }, select: { show: false },
      padding: [6, RIGHT, 4, 0], ms: 1e-3,
      scales: { x: { time: false, range: () => [axis.min, axis.max] }, y: scale },
      axes: [
        { ...axisStyle(), size: 0, splits: () => ticks().found, values: (u, found) => found.map(() => "") },
        { ...axisStyle(), size: () => gutter(), gap: 8, values: (u, found) => found.map((v) => (v >= 10000 ? `${v / 1000}k` : `${v}`)), ...vertical },
      ],
      series: [{}, ...series().map((s) => ({ points: { show: false }, ...s }))],
      hooks,
    }, data(), element);
  };
  charts.push({ make, update: () => plot.setData(data()) });
  return () => plot;
}

const tall = (wide, narrow) => () => (panels.clientWidth < 560 ? narrow : wide);

chart("throughput", tall(132, 104), { range: (u, min, max) => [0, Math.max(1, max || 1) * 1.08] }, () => [
  { stroke: colour.ok, width: 2, fill: `${colour.ok}22`, paths: uPlot.paths.stepped({ align: 0 }) },
  { stroke: colour.fail, width: 1.75, dash: [6, 3], paths: uPlot.paths.stepped({ align: 0 }) },
  { stroke: colour.info, width: 1.75, dash: [2, 3], paths: uPlot.paths.stepped({ align: 0 }) },
], throughput, { drawClear: [shade] });

const latencyRange = (() => {
  let low = Infinity, high = 0;
  for (let i = 0; i < ops.count; i++) { const t = ops.took[i]; if (t >= 0) { if (t < low) low = t; if (t > high) high = t; } }
  const floor = 10 ** Math.floor(Math.log10(Math.max(SHORTEST_MS, Math.min(low, 1e6))) + 1e-9), ceiling = 10 ** Math.ceil(Math.log10(Math.max(1, high)));
  return [floor, Math.max(ceiling, floor * 10)];
})();

const decades = [0.01, 0.1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6].filter((v) => v >= latencyRange[0] && v <= latencyRange[1]);
const durationText = (ms) => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);

const latencyPlot = chart("latency", tall(190, 150), { distr: 3, log: 10, range: () => latencyRange }, () => [
  { stroke: colour.text, width: 1.75, spanGaps: false },
  { stroke: colour.text, width: 1.25, dash: [5, 3], spanGaps: false },
], percentiles, { drawClear: [shade], drawAxes: [points] }, { splits: () => decades, values: () => decades.map(durationText) });

hovers.set(byId("throughput"), (x) => {
  const { step } = buckets(), bucket = Math.floor(timeOf(x) / step);
  const counts = byEnd.map(({ ends }) => lowerBound(ends, (bucket + 1) * step) - lowerBound(ends, bucket * step));
  return { text: `within ${step >= 1 ? `${step} s` : `${+(step * 1000).toPrecision(3)} ms`}: ${counts[0]} ok, ${counts[1]} failed, ${counts[2]} unknown` };
});

hovers.set(byId("latency"), (x, y) => {
  const plot = latencyPlot(), top = plot.bbox.top / devicePixelRatio;
  let best = -1, nearest = 144;
  for (const { order, ends } of byEnd) {
    for (let i = lowerBound(ends, timeOf(x - 12)); i < ends.length && ends[i] <= timeOf(x + 12); i++) {
      const op = order[i], dx = xOf(ends[i]) - x, dy = plot.valToPos(Math.max(SHORTEST_MS, ops.took[op]), "y") + top - y;
      if (dx * dx + dy * dy < nearest) { nearest = dx * dx + dy * dy; best = op; }
    }
  }
  return best < 0 ? null : { op: best, text: describeOp(best) };
});

function describeOp(i) {
  const text = ops.text[i].length > 120 ? `${ops.text[i].slice(0, 119)}…` : ops.text[i];
  return `op ${ops.index[i]}: process ${ops.processes[ops.process[i]]} ${ops.fs[ops.f[i]]} ${ops.keys[ops.key[i]]} ${OUTCOMES[ops.outcome[i]]} after ${millis(ops.took[i])}\n${text}`;
}
