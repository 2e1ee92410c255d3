// Panels drawn by hand on canvas: faults, clients, cluster lanes, and the axis at the bottom.

const strips = [];
const FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif";

function stripPanel(id, height, paint, hover) {
  const canvas = byId(id);
  const draw = () => {
    const ratio = devicePixelRatio, width = panels.clientWidth, tall = height();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
    canvas.style.height = `${tall}px`;
    const ctx = canvas.getContext("2d");
    ctx.scale(ratio, ratio);
    ctx.font = `11px ${FONT}`;
    ctx.textBaseline = "middle";
    paint(ctx, width, tall);
  };
  if (hover) hovers.set(canvas, hover);
  strips.push(draw);
  return draw;
}

function grid(ctx, tall) {
  ctx.fillStyle = colour.rule;
  for (const time of ticks().found) ctx.fillRect(Math.round(xOf(time)), 0, 1, tall);
}

function clipPlot(ctx, tall) {
  ctx.beginPath();
  ctx.rect(gutter(), 0, plotWidth(), tall);
  ctx.clip();
}

function fitted(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 1 && ctx.measureText(`${text.slice(0, end)}…`).width > room) end = Math.floor(end * 0.85);
  return end > 2 ? `${text.slice(0, end)}…` : "";
}

function hatched(ctx, x, y, width, height, stroke) {
  ctx.save();
  ctx.beginPath(); ctx.rect(x, y, width, height); ctx.clip();
  ctx.strokeStyle = stroke;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let at = Math.floor((x - height) / 6) * 6; at < x + width; at += 6) { ctx.moveTo(at, y + height); ctx.lineTo(at + height, y); }
  ctx.stroke();
  ctx.restore();
}

function gutterText(ctx, text, y) {
  ctx.save();
  ctx.fillStyle = colour.muted;
  ctx.textAlign = "right";
  ctx.fillText(fitted(ctx, text, gutter() - 14), gutter() - 8, y);
  ctx.restore();
}

// What part of a span is on screen: [x, width], or null.
function visible(start, end) {
  if (end < axis.min || start > axis.max) return null;
  const x1 = Math.max(xOf(start), gutter()), x2 = Math.min(xOf(end), gutter() + plotWidth());
  return [x1, Math.max(1.5, x2 - x1)];
}

// Faults.
const FAULT_ROW = 24;
const faultRows = Math.max(1, ...raw.bands.map((b) => b.row + 1));
const howItWent = (b) => (b.outcome === "fail" ? "had no target" : b.outcome === "info" ? "raised an error" : b.verified === true ? "took effect" : b.verified === false ? "did not take effect" : "not probed");

stripPanel("faults", () => faultRows * FAULT_ROW + 4, (ctx, width, tall) => {
  grid(ctx, tall);
  if (!raw.bands.length) { ctx.fillStyle = colour.muted; ctx.fillText("no faults", gutter() + 8, tall / 2); }
  ctx.save();
  clipPlot(ctx, tall);
  for (const band of raw.bands) {
    const at = visible(seconds(band.start), seconds(band.end));
    if (!at) continue;
    const y = band.row * FAULT_ROW + 3, proven = band.outcome === "ok" && band.verified === true;
    ctx.fillStyle = colour["fault-fill"];
    ctx.fillRect(at[0], y, at[1], FAULT_ROW - 4);
    ctx.strokeStyle = colour.fault;
    ctx.lineWidth = 1;
    ctx.setLineDash(proven ? [] : [3, 3]);
    ctx.strokeRect(at[0] + 0.5, y + 0.5, at[1] - 1, FAULT_ROW - 5);
    ctx.setLineDash([]);
    if (proven) { ctx.fillStyle = colour.fault; ctx.fillRect(at[0], y, 3, FAULT_ROW - 4); }
    // A label may run on to the right of its band, up to the next one in the row.
    const next = raw.bands.find((b) => b.row === band.row && b.start > band.start);
    const room = (next ? Math.min(xOf(seconds(next.start)), gutter() + plotWidth()) : gutter() + plotWidth()) - at[0];
    ctx.fillStyle = colour.text;
    ctx.fillText(fitted(ctx, band.label, room - 14), at[0] + 8, y + FAULT_ROW / 2 - 2);
  }
  ctx.restore();
}, (x, y) => {
  const row = Math.floor(y / FAULT_ROW), time = timeOf(x);
  const band = raw.bands.find((b) => b.row === row && seconds(b.start) <= time && time <= seconds(b.end));
  if (!band) return null;
  const links = band.links.length ? `\n${band.links.length} links: ${band.links.slice(0, 6).map((l) => l.join("→")).join(", ")}${band.links.length > 6 ? " …" : ""}` : "";
  return { text: `fault ${band.fault}: ${band.label}\n${clock(seconds(band.start))} to ${clock(seconds(band.end))}, ${howItWent(band)}${band.detail ? `: ${band.detail}` : ""}${links}` };
});

// Clients: the operations of each slot as bars.
const CLIENT_ROW = () => Math.max(7, Math.min(13, 150 / ops.slots));
const MOST_SLOTS = 24;
const OK = OUTCOMES.indexOf("ok"), FAIL = OUTCOMES.indexOf("fail");

stripPanel("clients", () => Math.min(ops.slots, MOST_SLOTS) * CLIENT_ROW() + 4, (ctx, width, tall) => {
  grid(ctx, tall);
  const row = CLIENT_ROW(), painted = new Float64Array(ops.slots * 3).fill(-1);
  for (let slot = 0; slot < Math.min(ops.slots, MOST_SLOTS); slot++) if (row >= 10 || slot % 2 === 0) gutterText(ctx, `slot ${slot}`, slot * row + row / 2 + 2);
  ctx.save();
  clipPlot(ctx, tall);
  const left = gutter(), perSecond = plotWidth() / (axis.max - axis.min), proving = [];
  for (let i = 0; i < ops.count; i++) {
    const slot = ops.slotOf[ops.process[i]];
    if (slot >= MOST_SLOTS || ops.end[i] < axis.min || ops.start[i] > axis.max) continue;
    const x = left + Math.max(0, (ops.start[i] - axis.min) * perSecond), wide = Math.max(1.5, left + (ops.end[i] - axis.min) * perSecond - x);
    const code = ops.outcome[i], lane = slot * 3 + code, y = slot * row + 2;
    if (witnesses.has(ops.index[i])) proving.push([x, y, wide]);
    if (x + wide <= painted[lane]) continue;
    painted[lane] = x + Math.max(1, wide) - 0.25;
    if (code === OK) { ctx.fillStyle = colour.ok; ctx.globalAlpha = 0.7; ctx.fillRect(x, y + 1, wide, row - 3); }
    else if (code === FAIL) { ctx.fillStyle = colour.fail; ctx.globalAlpha = 1; ctx.fillRect(x, y + row / 2 - 1, Math.max(2, wide), 3); }
    else { ctx.fillStyle = colour.info; ctx.globalAlpha = 0.25; ctx.fillRect(x, y + 1, wide, row - 3); ctx.globalAlpha = 1; hatched(ctx, x, y + 1, Math.max(2, wide), row - 3, colour.info); }
  }
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colour.text;
  ctx.lineWidth = 1.5;
  for (const [x, y, wide] of proving) ctx.strokeRect(x - 0.5, y, wide + 1, row - 1);
  ctx.restore();
}, (x, y) => {
  const slot = Math.floor((y - 2) / CLIENT_ROW()), time = timeOf(x), slack = (axis.max - axis.min) / plotWidth() * 3;
  for (let i = lowerBound(ops.start, time + slack) - 1, tries = 0; i >= 0 && tries < 5000; i--, tries++) {
    if (ops.slotOf[ops.process[i]] === slot && ops.end[i] >= time - slack) return { op: i, text: describeOp(i) };
  }
  return null;
});

// Cluster lanes.
const LANE = 22;
const people = [...new Set(raw.lanes.filter((l) => l.group !== "nodes").flatMap((l) => l.segments.map((s) => s.who)).filter(Boolean))].sort();
const tint = (who) => colour[`who-${people.indexOf(who) % 6}`];
let internals = false;
const shownLanes = () => raw.lanes.filter((l) => internals || !l.internal);

function paintLane(ctx, lane, y) {
  const identity = lane.group !== "nodes";
  for (const segment of lane.segments) {
    const at = visible(seconds(segment.start), seconds(segment.end));
    if (!at) continue;
    const [x, wide] = at, top = y + 3, high = LANE - 6;
    if (segment.who) { ctx.fillStyle = tint(segment.who); ctx.fillRect(x, top, wide, high); }
    else { ctx.fillStyle = colour.weak; ctx.fillRect(x, top, wide, high); hatched(ctx, x, top, wide, high, colour.muted); }
    if (identity && segment.weak && segment.who) { ctx.fillStyle = colour.fault; ctx.fillRect(x, top + high - 3, wide, 3); }
    if (identity) { ctx.fillStyle = colour.panel; ctx.fillRect(x, top, 1, high); }
    const full = segment.note ? `${segment.text}  [${segment.note}]` : segment.text;
    const text = ctx.measureText(full).width <= wide - 10 ? full : fitted(ctx, segment.text, wide - 6);
    if (!text) continue;
    if (!segment.who) { const w = ctx.measureText(text).width; ctx.fillStyle = colour.panel; ctx.fillRect(x + 3, top + 2, w + 6, high - 4); }
    ctx.fillStyle = segment.who ? colour["on-who"] : colour.text;
    ctx.fillText(text, x + 6, top + high / 2 - (identity && segment.weak ? 1 : 0));
  }
  let last = -9;
  for (const mark of lane.marks) {
    const x = xOf(seconds(mark.time));
    if (x < gutter() || x > gutter() + plotWidth() || x - last < 2) continue;
    last = x;
    if (mark.minor) { ctx.fillStyle = colour.muted; ctx.fillRect(x - 0.5, y + 2, 1, 5); continue; }
    ctx.fillStyle = colour.text;
    ctx.beginPath(); ctx.moveTo(x - 4, y + 1); ctx.lineTo(x + 4, y + 1); ctx.lineTo(x, y + 8); ctx.closePath(); ctx.fill();
  }
}

const drawCluster = stripPanel("cluster", () => Math.max(1, shownLanes().length) * LANE + 4, (ctx, width, tall) => {
  grid(ctx, tall);
  const lanes = shownLanes();
  if (!lanes.length) { ctx.fillStyle = colour.muted; ctx.fillText("nothing was reported", gutter() + 8, tall / 2); }
  lanes.forEach((lane, i) => {
    const y = i * LANE + 2;
    gutterText(ctx, lane.name, y + LANE / 2);
    ctx.save();
    clipPlot(ctx, tall);
    paintLane(ctx, lane, y);
    ctx.restore();
  });
}, (x, y) => {
  const lane = shownLanes()[Math.floor((y - 2) / LANE)], time = timeOf(x), near = (axis.max - axis.min) / plotWidth() * 5;
  if (!lane) return null;
  const marks = lane.marks.filter((m) => Math.abs(seconds(m.time) - time) <= near).slice(0, 5).map((m) => m.text);
  const segments = lane.segments.filter((s) => seconds(s.start) <= time && time <= seconds(s.end))
    .map((s) => `${lane.name}: ${s.text}${s.note ? `, ISR ${s.note}` : ""}${s.why ? ` (${s.why})` : ""}`);
  const lines = [...marks, ...segments];
  return lines.length ? { text: lines.join("\n") } : { text: lane.name };
});

if (raw.lanes.some((l) => l.internal)) {
  byId("internal-toggle").hidden = false;
  byId("internal").addEventListener("change", (event) => { internals = event.target.checked; drawCluster(); });
}

// The axis, with the phases of the run.
stripPanel("axis", () => 40, (ctx, width, tall) => {
  const { step, found } = ticks();
  ctx.fillStyle = colour.muted;
  for (const time of found) {
    const text = tickText(time, step), room = ctx.measureText(text).width / 2;
    ctx.textAlign = "center";
    ctx.fillText(text, Math.min(Math.max(xOf(time), gutter() + room - 4), width - room - 2), 9);
  }
  ctx.textAlign = "left";
  raw.phases.forEach(([start, name], i) => {
    const next = raw.phases.slice(i + 1).find(([s]) => s > start);
    const at = visible(seconds(start), next ? seconds(next[0]) : END);
    if (!at || !name) return;
    ctx.fillStyle = colour.rule;
    ctx.fillRect(at[0], 20, 1, 18);
    ctx.fillStyle = colour.muted;
    ctx.fillText(fitted(ctx, name, at[1] - 8), at[0] + 5, 30);
  });
});
