// One window of time for all panels: zoom by drag, wheel with Ctrl, or keys; a crosshair through all of them.

const axis = {
  min: 0, max: END, listeners: [],
  onChange(listener) { this.listeners.push(listener); },
  set(min, max) {
    const shortest = Math.max(END / 1e6, 1e-5);
    const length = Math.min(END, Math.max(shortest, max - min));
    this.min = Math.min(Math.max(0, min), END - length);
    this.max = this.min + length;
    for (const listener of this.listeners) listener();
  },
  whole() { return this.min <= 0 && this.max >= END; },
};

const panels = byId("panels");
const gutter = () => (panels.clientWidth < 560 ? 66 : 112);
const RIGHT = 10;
const plotWidth = () => Math.max(40, panels.clientWidth - gutter() - RIGHT);
const xOf = (time) => gutter() + ((time - axis.min) / (axis.max - axis.min)) * plotWidth();
const timeOf = (x) => axis.min + ((x - gutter()) / plotWidth()) * (axis.max - axis.min);

const colour = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["text", "muted", "rule", "panel", "ok", "fail", "info", "fault", "fault-fill", "weak", "accent",
    "who-0", "who-1", "who-2", "who-3", "who-4", "who-5", "on-who"]) colour[name] = style.getPropertyValue(`--${name}`).trim();
}
readColours();

function niceStep(span, most) {
  const rough = span / Math.max(1, most), power = 10 ** Math.floor(Math.log10(rough));
  for (const times of [1, 2, 5, 10]) if (times * power >= rough) return times * power;
  return 10 * power;
}

function ticks() {
  const step = niceStep(axis.max - axis.min, plotWidth() / 80), found = [];
  for (let i = Math.ceil(axis.min / step - 1e-9); i * step <= axis.max + 1e-9; i++) found.push(i * step);
  return { step, found };
}

function tickText(time, step) {
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  return `${time.toFixed(digits)} s`;
}

const tip = byId("tip"), crosshair = byId("crosshair"), selection = byId("selection");

function showTip(x, y, text) {
  if (!text) { tip.hidden = true; return; }
  tip.textContent = text;
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - width - 10))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? y - height - 12 : y + 18}px`;
}

// Panels say what is under the pointer: element -> (x, y) => { text, op } or null.
const hovers = new Map();

(() => {
  let from = null;
  const at = (event) => event.clientX - panels.getBoundingClientRect().left;
  const within = (x) => Math.min(Math.max(x, gutter()), gutter() + plotWidth());
  const underPointer = (event) => {
    for (const [element, hover] of hovers) {
      const box = element.getBoundingClientRect();
      if (event.clientY >= box.top && event.clientY <= box.bottom) return hover(event.clientX - box.left, event.clientY - box.top);
    }
    return null;
  };
  panels.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("label, input, button")) return;
    if (at(event) < gutter()) return;
    from = within(at(event));
    panels.setPointerCapture(event.pointerId);
  });
  panels.addEventListener("pointermove", (event) => {
    const x = at(event), inside = x >= gutter() && x <= gutter() + plotWidth();
    crosshair.hidden = !inside;
    crosshair.style.left = `${x}px`;
    if (from !== null) {
      const to = within(x);
      selection.hidden = Math.abs(to - from) < 4;
      selection.style.left = `${Math.min(from, to)}px`;
      selection.style.width = `${Math.abs(to - from)}px`;
      showTip(event.clientX, event.clientY, `${clock(timeOf(Math.min(from, to)))} to ${clock(timeOf(Math.max(from, to)))}`);
      return;
    }
    const found = inside ? underPointer(event) : null;
    panels.classList.toggle("pointing", Boolean(found && found.op !== undefined));
    showTip(event.clientX, event.clientY, inside ? `${clock(timeOf(x))}${found ? `\n${found.text}` : ""}` : "");
  });
  panels.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const start = from, to = within(at(event));
    from = null;
    selection.hidden = true;
    showTip(0, 0, "");
    if (Math.abs(to - start) >= 4) axis.set(timeOf(Math.min(start, to)), timeOf(Math.max(start, to)));
    else {
      const found = underPointer(event);
      if (found && found.op !== undefined) location.hash = `op-${ops.index[found.op]}`;
    }
  });
  panels.addEventListener("pointercancel", () => { from = null; selection.hidden = true; showTip(0, 0, ""); });
  panels.addEventListener("pointerleave", () => { crosshair.hidden = true; showTip(0, 0, ""); });
  panels.addEventListener("dblclick", () => axis.set(0, END));
  panels.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, timeOf(within(at(event))));
  }, { passive: false });
  const zoom = (factor, centre) => axis.set(centre - (centre - axis.min) * factor, centre + (axis.max - centre) * factor);
  panels.addEventListener("keydown", (event) => {
    const span = axis.max - axis.min, middle = (axis.min + axis.max) / 2;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    switch (event.key) {
      case "ArrowLeft": axis.set(axis.min - span / 5, axis.max - span / 5); break;
      case "ArrowRight": axis.set(axis.min + span / 5, axis.max + span / 5); break;
      case "+": case "=": zoom(0.6, middle); break;
      case "-": zoom(1 / 0.6, middle); break;
      case "Home": case "Escape": axis.set(0, END); break;
      default: return;
    }
    event.preventDefault();
  });
  byId("zoom-reset").addEventListener("click", () => axis.set(0, END));
  byId("zoom-in").addEventListener("click", () => zoom(0.6, (axis.min + axis.max) / 2));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 0.6, (axis.min + axis.max) / 2));
})();
