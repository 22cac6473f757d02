"""The page of points, fourth part of its script: the list of colours, the legend, and the card of an item."""

LEGEND_SCRIPT = r"""
// ---- Small building blocks; texts of the data only ever become text nodes.
function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const plain = (number) => number.toLocaleString("en");

function swatch(one, size = 16) {
  const ratio = window.devicePixelRatio || 1, canvas = make("canvas", { className: "swatch" });
  canvas.width = canvas.height = size * ratio;
  canvas.style.width = canvas.style.height = `${size}px`;
  const context = canvas.getContext("2d");
  outline(context, one.shape, canvas.width / 2, canvas.height / 2, size * 0.33 * ratio);
  context.fillStyle = one.colour;
  context.fill();
  return canvas;
}

// ---- What to colour by.
function fillColours() {
  const groups = [["Data", (one) => !one.about], ["Findings", (one) => one.about]];
  for (const [title, belongs] of groups) {
    const options = colourings.map((one, number) => [one, number]).filter(([one]) => belongs(one))
      .map(([one, number]) => make("option", { value: number, textContent: one.name }));
    if (options.length) element("colour").append(make("optgroup", { label: title }, ...options));
  }
  element("colour").value = state.colouring;
}

function chooseColour(number) {
  Object.assign(state, { colouring: number, off: new Set(), range: [0, 1], lit: -1 });
  element("colour").value = number;
  fillLegend();
  recolour();
}

function recolour() {
  repaint();
  if (state.current >= 0 && paint[state.current] < 0) point(-1);
  element("shown").textContent = visibleCount === count ? `${plain(count)} shown`
    : `${plain(visibleCount)} of ${plain(count)} shown`;
  refresh();
}

// ---- The legend.
function fillLegend() {
  const one = colouring(), list = element("entries"), isNumber = one.kind === "number";
  list.replaceChildren();
  element("number").hidden = !isNumber;
  element("switches").hidden = isNumber;
  if (isNumber) return fillNumber(one);
  one.entries.forEach((entry, number) => {
    const box = make("input", { type: "checkbox", checked: !state.off.has(number) });
    box.onchange = () => { state.off[box.checked ? "delete" : "add"](number); recolour(); };
    const only = make("button", { type: "button", className: "only", textContent: "only" });
    only.title = `Only ${entry.name}`;
    only.onclick = (event) => {
      event.preventDefault();
      const alone = state.off.size === one.entries.length - 1 && !state.off.has(number);
      state.off = new Set(alone ? [] : one.entries.map((_, other) => other).filter((other) => other !== number));
      fillLegend();
      recolour();
    };
    const row = make("label", { className: "entry", title: entry.name }, box, swatch(entryPaint(number)),
      make("span", { className: "name", textContent: entry.name }), only,
      make("span", { className: "size", textContent: plain(entry.size) }));
    row.onpointerenter = () => light(number);
    row.onpointerleave = () => light(-1);
    box.onfocus = () => { if (box.matches(":focus-visible")) light(number); };
    box.onblur = () => light(-1);
    list.append(row);
  });
}

function light(number) {
  if (state.lit === number) return;
  state.lit = number;
  refresh();
}

function switchAll(on) {
  state.off = new Set(on ? [] : colouring().entries.map((_, number) => number));
  fillLegend();
  recolour();
}

function fillNumber(one) {
  const canvas = element("ramp"), ratio = window.devicePixelRatio || 1, width = 284, height = 74, bar = 14;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const bins = new Array(48).fill(0), of = (t) => Math.min(47, Math.max(0, Math.floor(t * 48)));
  for (let i = 0; i < count; i++) if (!Number.isNaN(one.ranks[i])) bins[of(positionOf(i))]++;
  const highest = Math.sqrt(Math.max(1, ...bins));
  bins.forEach((size, k) => { // heights by the square root, so that the few at the end are seen
    const tall = Math.sqrt(size) / highest * (height - bar - 6);
    context.fillStyle = rampColour((k + 0.5) / 48);
    context.fillRect(k * width / 48, height - bar - 3 - tall, width / 48 - 1, tall);
    context.fillRect(k * width / 48, height - bar, width / 48 + 0.5, bar);
  });
  const ends = state.byRank ? [one.quantile(0), one.quantile(0.5), one.quantile(1)]
    : [one.low, (one.low + one.high) / 2, one.high];
  element("ends").replaceChildren(...ends.map((value, k) => make("span", {
    textContent: (!state.byRank && one.known > 1 ? ["≤ ", "", "≥ "][k] : "") + formatted(value),
  })));
  const missing = count - one.known;
  element("missing").hidden = !missing;
  element("missing-text").textContent = `${plain(missing)} without a value (grey squares)`;
  element("missing-box").checked = !state.off.has(0);
  element("by-rank").checked = state.byRank;
  element("from").value = 1000 * state.range[0];
  element("to").value = 1000 * state.range[1];
  showRange();
}

function showRange() {
  const one = colouring(), [low, high] = state.range;
  const share = (rank) => `${+(100 * rank).toFixed(1)} %`;
  element("range").textContent = `${formatted(one.quantile(low))} to ${formatted(one.quantile(high))}`
    + ` (ranks ${share(low)} to ${share(high)})`;
}

function changeRange(moved) {
  let low = element("from").value / 1000, high = element("to").value / 1000;
  if (low > high) [low, high] = moved === "from" ? [low, low] : [high, high];
  state.range = [low, high];
  element("from").value = 1000 * low;
  element("to").value = 1000 * high;
  showRange();
  recolour();
}

// ---- The card of the item that is pointed at.
let anchor = null; // where the pointer is, or null for the point itself

function point(item, at = null) {
  if (item === state.current && at === null) return;
  const changed = item !== state.current;
  state.current = item;
  anchor = at;
  if (changed) {
    if (item >= 0) fillCard(item);
    for (const plot of shownPlots()) plot.drawOver();
  }
  showCard();
}

function fillCard(item) {
  const lines = [];
  const line = (name, text, kind = "") => lines.push(make("div", { className: `line ${kind}` },
    make("span", { className: "what", textContent: name }), make("span", { textContent: text })));
  for (const number of classesOf(item)) {
    lines.push(make("div", { className: "chip" }, swatch(palettePaint(number), 14), data.classes[number]));
  }
  if (labels && !lines.length) lines.push(make("div", { className: "chip", textContent: "no label" }));
  for (const one of colourings) {
    const isChosen = one === colouring();
    if (one.name === "class" || one.name === "nothing" || (one.isFlag && !one.codes[item] && !isChosen)) continue;
    if (one.isFlag && one.codes[item]) {
      const score = colourings.find((other) => other.kind === "number" && other.about === one.about && one.about);
      const because = data.details.filter((own) => own.about === one.about && own.texts[item])
        .map((own) => `${own.name} ${own.texts[item]}`);
      const value = score ? [`score ${score.textOf(item)}`] : [];
      line(`⚑ ${one.about || one.name}`, [...value, ...because].join("; "), "flag");
    } else if (isChosen || (one.kind === "category" && one.entries.length > 1 && !one.isFlag && one.textOf(item))) {
      line(one.name, one.textOf(item), isChosen ? "chosen" : "");
    }
  }
  element("card-name").textContent = nameOf(item);
  element("card-lines").replaceChildren(...lines);
  element("say").textContent = [nameOf(item), ...lines.map((one) => one.textContent)].join(", ");
}

function showCard() {
  const card = element("card"), item = state.current, picture = element("card-picture");
  card.hidden = item < 0;
  if (item < 0) return;
  picture.hidden = !places;
  if (places) {
    const size = Math.min(220, Math.max(144, data.thumbnails.side)), ratio = window.devicePixelRatio || 1;
    picture.width = picture.height = size * ratio;
    picture.style.width = picture.style.height = `${size}px`;
    const context = picture.getContext("2d");
    context.imageSmoothingQuality = "high";
    drawThumbnail(context, item, 0, 0, size * ratio);
  }
  let [x, y] = anchor || [0, 0];
  if (!anchor) {
    const plot = shownPlots().find((one) => one.box === active.box) || shownPlots()[0];
    const box = plot.points.getBoundingClientRect();
    [x, y] = [box.left + plot.columns[item], box.top + plot.rows[item]];
  }
  const width = card.offsetWidth, height = card.offsetHeight, gap = 18;
  const left = x + gap + width > innerWidth ? x - gap - width : x + gap;
  card.style.left = `${Math.max(4, left)}px`;
  card.style.top = `${Math.max(4, Math.min(y - height / 3, innerHeight - height - 4))}px`;
}
"""
