// Puts the parts together: redraws, deep links, the copy button.

function redrawAll() {
  for (const { make } of charts) make();
  for (const draw of strips) draw();
}

axis.onChange(() => {
  for (const { update } of charts) update();
  for (const draw of strips) draw();
  byId("window").textContent = axis.whole() ? "" : `${clock(axis.min)} to ${clock(axis.max)} of ${clock(END)}`;
  byId("zoom-reset").hidden = axis.whole();
  if (controls.window.checked) filter();
});

let width = panels.clientWidth;
new ResizeObserver(() => {
  if (panels.clientWidth === width) return;
  width = panels.clientWidth;
  requestAnimationFrame(redrawAll);
}).observe(panels);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redrawAll(); });

function follow() {
  const [, kind, number] = /^#(op|anomaly)-(\d+)$/.exec(location.hash) || [];
  if (kind === "op") {
    const place = placeOf(Number(number));
    if (place < 0) return;
    choose(place);
    byId("operations").scrollIntoView({ block: "start" });
  } else if (kind === "anomaly") {
    const target = byId(`anomaly-${number}`);
    if (!target) return;
    for (const folded of [target.closest("details"), target.querySelector("details.folded")]) {
      if (folded) folded.open = true;
    }
    target.scrollIntoView({ block: "start" });
  }
}

addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-from]");
  if (button) look(Number(button.dataset.from) / 1e6, Number(button.dataset.to) / 1e6);
});

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details.folded")) folded.open = true;
});

const copy = byId("copy");
if (copy) copy.addEventListener("click", async () => {
  const source = byId(copy.dataset.target);
  try {
    await navigator.clipboard.writeText(source.textContent);
    copy.textContent = "Copied";
  } catch {
    // Not every browser lets a page opened from a file use the clipboard: select it, so that Ctrl+C does.
    getSelection().selectAllChildren(source);
    copy.textContent = "Selected";
  }
  setTimeout(() => { copy.textContent = "Copy"; }, 1500);
});

function centre(within) {
  for (const scroll of within.querySelectorAll(".strip .scroll")) {
    const focus = scroll.querySelector("th.focus");
    if (focus) scroll.scrollLeft = focus.offsetLeft - scroll.clientWidth / 2;
  }
}

centre(document);
for (const folded of document.querySelectorAll("details.folded")) {
  folded.addEventListener("toggle", () => centre(folded));
}

filter();
redrawAll();
follow();
document.documentElement.dataset.ready = "true";
