// The embedded data, with times in seconds and columns as typed arrays.

const raw = JSON.parse(document.getElementById("data").textContent);
const seconds = (us) => us / 1e6;
const END = Math.max(seconds(raw.end), 0.001);
const byId = (id) => document.getElementById(id);
const OUTCOMES = raw.ops.outcomes;

function running(differences, Type) {
  const sums = new Type(differences.length);
  let sum = 0;
  for (let i = 0; i < sums.length; i++) sums[i] = sum += differences[i];
  return sums;
}

const ops = (() => {
  const from = raw.ops, count = from.index.length;
  const index = running(from.index, Int32Array);
  const startUs = running(from.start, Float64Array);
  const start = new Float64Array(count), end = new Float64Array(count), took = new Float64Array(count);
  const completion = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const open = from.duration[i] < 0;
    start[i] = startUs[i] / 1e6;
    took[i] = open ? NaN : from.duration[i] / 1e3;
    end[i] = open ? END : (startUs[i] + from.duration[i]) / 1e6;
    completion[i] = from.completion[i] < 0 ? -1 : index[i] + from.completion[i];
  }
  const slots = raw.slots || Math.max(1, from.processes.length);
  const slotOf = from.processes.map((name, i) => (/^\d+$/.test(name) ? Number(name) % slots : i % slots));
  return {
    count, index, completion, start, end, took, text: from.text,
    outcome: Uint8Array.from(from.outcome), process: Int32Array.from(from.process),
    f: Uint16Array.from(from.f), key: Int32Array.from(from.key),
    processes: from.processes, fs: from.fs, keys: from.keys, slots, slotOf,
  };
})();

// The first place whose value is not below `value`, in a sorted array.
function lowerBound(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

// The operation that a history index belongs to, be it its invocation or its completion; -1 for none.
function placeOf(historyIndex) {
  const at = lowerBound(ops.index, historyIndex);
  if (ops.index[at] === historyIndex) return at;
  for (let i = at - 1; i >= 0; i--) if (ops.completion[i] === historyIndex) return i;
  return -1;
}

const clock = (s) => `${s.toFixed(3)} s`;
const millis = (ms) => (Number.isNaN(ms) ? "open" : ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 2 : 1)} ms`);

const witnesses = new Map();
for (const [number, indices] of raw.anomalies) for (const index of indices) {
  if (!witnesses.has(index)) witnesses.set(index, []);
  witnesses.get(index).push(number);
}
