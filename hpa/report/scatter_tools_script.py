"""The page of points, last part of its script: pointer, wheel, keys, buttons, and the start."""

TOOLS_SCRIPT = r"""
// ---- Panels.
let active = plots[0]; // takes the keys

function activate(plot) {
  active = plot;
  for (const one of plots) one.box.classList.toggle("active", plots.length > 1 && one === active);
}

function showPanels(only) {
  state.only = only;
  plots.forEach((plot, number) => { plot.box.hidden = only >= 0 && only !== number; });
  element("panels").dataset.count = only >= 0 ? 1 : plots.length;
  for (const plot of plots) {
    const button = plot.box.querySelector(".enlarge");
    if (!button) continue;
    button.textContent = only >= 0 ? "Show all maps" : "Enlarge";
    button.setAttribute("aria-pressed", only >= 0);
  }
  if (only >= 0) activate(plots[only]);
  resize();
  refresh(); // those that were hidden may have missed another colour
}

function resize() { // drawn at once, for a canvas of another size is empty
  for (const plot of shownPlots()) if (plot.resize()) plot.draw();
  showCard();
}

function view(plot) { plot.draw(); showCard(); }

let moving = false;
function viewSoon(plot) {
  if (moving) return;
  moving = true;
  requestAnimationFrame(() => { moving = false; view(plot); });
}

// ---- Tools.
function useTool(tool) {
  state.tool = tool;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === tool);
  }
  for (const plot of plots) plot.box.querySelector(".area").dataset.tool = tool;
}

function toggle(name) {
  state[name] = !state[name];
  element(name).setAttribute("aria-pressed", state[name]);
  refresh();
}

function listen(plot) {
  const area = plot.box.querySelector(".area"), pointers = new Map();
  let start = null, tool = "", gap = 0;
  const at = (event) => {
    const box = area.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  area.onpointerdown = (event) => {
    if (event.button) return;
    area.setPointerCapture(event.pointerId);
    activate(plot);
    pointers.set(event.pointerId, at(event));
    if (pointers.size === 2) { gap = spread(); plot.loop = null; return; }
    start = at(event);
    tool = event.shiftKey && state.tool === "move" ? "lasso" : state.tool;
    if (tool !== "move") plot.loop = [start];
  };
  area.onpointermove = (event) => {
    const here = at(event), before = pointers.get(event.pointerId);
    if (!before) {
      point(plot.nearest(...here), [event.clientX, event.clientY]);
      return;
    }
    pointers.set(event.pointerId, here);
    if (pointers.size === 2) { // two fingers
      const wide = spread(), [a, b] = [...pointers.values()];
      plot.zoomBy(wide / Math.max(gap, 1), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      gap = wide;
      return viewSoon(plot);
    }
    if (!start) return;
    if (tool === "move") {
      point(-1);
      plot.moveBy(here[0] - before[0], here[1] - before[1]);
      viewSoon(plot);
    } else {
      const last = plot.loop[plot.loop.length - 1];
      if (tool === "box") plot.loop = [start, [here[0], start[1]], here, [start[0], here[1]]];
      else if (Math.hypot(here[0] - last[0], here[1] - last[1]) > 3) plot.loop.push(here);
      plot.drawOver();
    }
  };
  area.onpointerup = area.onpointercancel = (event) => {
    const isDone = pointers.delete(event.pointerId) && start && event.type === "pointerup", here = at(event);
    if (isDone && pointers.size === 0) {
      const how = event.altKey ? "remove" : event.shiftKey ? "add" : "replace";
      if (Math.hypot(here[0] - start[0], here[1] - start[1]) < 4) {
        const item = plot.nearest(...here);
        if (item >= 0) choose([item], "toggle");
      } else if (plot.loop) choose(plot.inside(), how);
    }
    plot.loop = null;
    if (pointers.size === 0) start = null;
    plot.drawOver();
  };
  area.onpointerleave = () => { if (!pointers.size) point(-1); };
  area.addEventListener("wheel", (event) => {
    event.preventDefault();
    activate(plot);
    const lines = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 300 : 1;
    plot.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.012 : 0.0018)), ...at(event));
    viewSoon(plot);
  }, { passive: false });
  area.ondblclick = (event) => { plot.zoomBy(2, ...at(event)); view(plot); };
  area.onfocus = () => activate(plot);
  const button = plot.box.querySelector(".enlarge");
  if (button) button.onclick = () => showPanels(state.only >= 0 ? -1 : plots.indexOf(plot));
}

// ---- Keys.
const KEYS = {
  m: () => useTool("move"), l: () => useTool("lasso"), b: () => useTool("box"),
  t: () => toggle("pictures"), n: () => toggle("names"),
  f: fit, 0: fit, "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4),
  s: () => { if (!element("save").disabled) save(); },
  "?": () => element("help").showModal(),
  Escape: () => { if (state.current >= 0) point(-1); else choose([]); },
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function fit() { active.fit(); view(active); }
function zoom(factor) { active.zoomBy(factor); view(active); }

function press(event) {
  const typing = event.target.matches("input[type=search], select, textarea, input[type=range]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || element("help").open) return;
  const onMap = event.target.matches(".area");
  if (event.key === "/") element("find").focus();
  else if (onMap && ARROWS[event.key]) {
    const [dx, dy] = ARROWS[event.key];
    if (event.shiftKey) walk(dx, dy);
    else { active.moveBy(-60 * dx, -60 * dy); view(active); }
  } else if (onMap && event.key === "Enter" && state.current >= 0) choose([state.current], "toggle");
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
}

function walk(dx, dy) { // from point to point; the first is the one nearest to the middle
  const next = state.current < 0 ? active.nearest(active.width / 2, active.height / 2, 1e6)
    : active.towards(state.current, dx, dy);
  if (next < 0) return;
  if (!active.contains(next, -20)) {
    [active.x, active.y] = [active.places[2 * next], active.places[2 * next + 1]];
    active.draw();
  }
  anchor = null;
  point(next);
}

// ---- Start. What the address says after # comes first: colour=NAME, tool, panel=NUMBER, pictures, find=TEXT.
function start() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  element("colour").onchange = (event) => chooseColour(+event.target.value);
  for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => useTool(button.dataset.tool);
  for (const name of ["pictures", "names"]) element(name).onclick = () => toggle(name);
  element("pictures").hidden = !places;
  element("fit").onclick = fit;
  element("ask").onclick = () => element("help").showModal();
  element("size").oninput = (event) => { state.size = 2 ** +event.target.value; refresh(); };
  element("all-on").onclick = () => switchAll(true);
  element("all-off").onclick = () => switchAll(false);
  element("by-rank").onchange = (event) => { state.byRank = event.target.checked; fillLegend(); recolour(); };
  element("missing-box").onchange = (event) => { state.off[event.target.checked ? "delete" : "add"](0); recolour(); };
  element("from").oninput = () => changeRange("from");
  element("to").oninput = () => changeRange("to");
  element("save").onclick = save;
  element("copy").onclick = copy;
  element("clear").onclick = () => choose([]);
  element("search").onsubmit = (event) => { event.preventDefault(); find(element("find").value); };
  element("gallery").onpointermove = (event) => point(galleryItem(event), [event.clientX, event.clientY]);
  element("gallery").onpointerleave = () => point(-1);
  element("gallery").onclick = (event) => { const item = galleryItem(event); if (item >= 0) choose([item], "toggle"); };
  document.addEventListener("keydown", press);
  plots.forEach(listen);
  fillColours();
  activate(plots[0]);
  useTool(["lasso", "box"].includes(wanted.get("tool")) ? wanted.get("tool") : "move");
  const colour = colourings.findIndex((one) => one.name === wanted.get("colour"));
  chooseColour(colour >= 0 ? colour : state.colouring);
  showPanels(plots.length > 1 && plots[+wanted.get("panel") - 1] ? +wanted.get("panel") - 1 : -1);
  if (wanted.has("pictures") && places) toggle("pictures");
  showSelection();
  if (wanted.has("find")) find(wanted.get("find"));
  new ResizeObserver(resize).observe(element("panels"));
}

start();
"""
