// The list of operations: only the rows on screen exist. Filters, keyboard, and #op-N.

const ROW = 28;
const list = byId("list"), spacer = byId("spacer"), pinned = byId("pinned");
let matching = new Int32Array(0), chosen = -1;

const controls = { outcome: byId("filter-outcome"), f: byId("filter-f"), process: byId("filter-process"), text: byId("filter-text"), window: byId("filter-window") };
OUTCOMES.forEach((name, code) => controls.outcome.add(new Option(name, code)));
ops.fs.forEach((name, code) => controls.f.add(new Option(name, code)));

function filter() {
  const outcome = controls.outcome.value, f = controls.f.value, process = controls.process.value.trim();
  const text = controls.text.value.trim().toLowerCase(), window = controls.window.checked;
  const found = new Int32Array(ops.count);
  let count = 0;
  for (let i = 0; i < ops.count; i++) {
    if (outcome !== "" && ops.outcome[i] !== Number(outcome)) continue;
    if (f !== "" && ops.f[i] !== Number(f)) continue;
    if (process !== "" && ops.processes[ops.process[i]] !== process) continue;
    if (window && (ops.end[i] < axis.min || ops.start[i] > axis.max)) continue;
    if (text !== "" && !ops.text[i].toLowerCase().includes(text) && !ops.keys[ops.key[i]].toLowerCase().includes(text)) continue;
    found[count++] = i;
  }
  matching = found.subarray(0, count);
  byId("matching").textContent = matching.length === ops.count ? `${ops.count.toLocaleString("en")}` : `${matching.length.toLocaleString("en")} of ${ops.count.toLocaleString("en")}`;
  // Browsers limit how tall an element may be (Firefox: about 17 million pixels).
  spacer.style.height = `${Math.min(matching.length * ROW, 15e6)}px`;
  renderRows();
}

function cell(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function rowOf(place) {
  const i = matching[place], row = document.createElement("div"), kind = OUTCOMES[ops.outcome[i]];
  row.className = `row ${kind}${i === chosen ? " chosen" : ""}${witnesses.has(ops.index[i]) ? " witness" : ""}`;
  row.id = `op-${ops.index[i]}`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", String(i === chosen));
  row.setAttribute("aria-posinset", String(place + 1));
  row.setAttribute("aria-setsize", String(matching.length));
  row.style.top = `${place * ROW}px`;
  row.append(
    cell("n", ops.index[i]), cell("n", ops.start[i].toFixed(3)), cell("n", ops.processes[ops.process[i]]), cell("", ops.fs[ops.f[i]]),
    cell("", ops.keys[ops.key[i]]), cell(`outcome ${kind}`, kind), cell("n", millis(ops.took[i])), cell("value", ops.text[i]),
  );
  row.addEventListener("click", () => { history.replaceState(null, "", `#op-${ops.index[i]}`); pin(i); });
  return row;
}

function renderRows() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6);
  const last = Math.min(matching.length, first + Math.ceil(list.clientHeight / ROW) + 12);
  const rows = [];
  for (let place = first; place < last; place++) rows.push(rowOf(place));
  spacer.replaceChildren(...rows);
  const active = chosen >= 0 && rows.some((r) => r.id === `op-${ops.index[chosen]}`);
  if (active) list.setAttribute("aria-activedescendant", `op-${ops.index[chosen]}`); else list.removeAttribute("aria-activedescendant");
}

function pin(i) {
  chosen = i;
  const end = ops.completion[i] < 0 ? "no completion" : `completion ${ops.completion[i]} at ${clock(ops.end[i])}`;
  const title = document.createElement("p");
  title.textContent = `op ${ops.index[i]}: process ${ops.processes[ops.process[i]]} ${ops.fs[ops.f[i]]} ${ops.keys[ops.key[i]]}, ${OUTCOMES[ops.outcome[i]]}, invoked at ${clock(ops.start[i])}, ${end}`;
  const value = document.createElement("pre");
  value.textContent = ops.text[i];
  const show = document.createElement("button");
  show.type = "button";
  show.textContent = "Show on the timeline";
  show.addEventListener("click", () => look(ops.start[i], ops.end[i]));
  pinned.replaceChildren(title, value, show);
  for (const number of witnesses.get(ops.index[i]) || []) {
    const link = document.createElement("a");
    link.href = `#anomaly-${number}`;
    link.textContent = `witness of anomaly ${number}`;
    pinned.append(" ", link);
  }
  pinned.hidden = false;
  renderRows();
}

function choose(i) {
  let place = matching.indexOf(i);
  if (place < 0) {
    for (const control of Object.values(controls)) if (control.type === "checkbox") control.checked = false; else control.value = "";
    filter();
    place = matching.indexOf(i);
  }
  list.scrollTop = Math.max(0, place * ROW - list.clientHeight / 2);
  pin(i);
}

function look(start, end) {
  const margin = Math.max((end - start) * 0.25, END / 200, 0.05);
  axis.set(start - margin, end + margin);
  byId("timeline").scrollIntoView({ block: "start" });
}

list.addEventListener("scroll", () => requestAnimationFrame(renderRows), { passive: true });
list.addEventListener("keydown", (event) => {
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 };
  const place = matching.indexOf(chosen);
  let to = null;
  if (event.key in steps) to = Math.min(Math.max(place + steps[event.key], 0), matching.length - 1);
  else if (event.key === "Home") to = 0;
  else if (event.key === "End") to = matching.length - 1;
  else if (event.key === "Enter" && chosen >= 0) { look(ops.start[chosen], ops.end[chosen]); event.preventDefault(); return; }
  if (to === null || to < 0) return;
  event.preventDefault();
  chosen = matching[to];
  const top = to * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  pin(chosen);
});
for (const control of Object.values(controls)) control.addEventListener("input", filter);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
