"""The page of points, first part of its script: the data, what is chosen, and each item's paint."""

MODEL_SCRIPT = r"""
// ---- Data: decoded once. Binary columns are little-endian, as every browser's machine is.
const data = JSON.parse(document.getElementById("data").textContent);
const count = data.ids.length;
const element = (id) => document.getElementById(id);

function decode(text, Kind) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Kind(bytes.buffer);
}

const cells = data.cells && decode(data.cells, Int32Array);
const labels = data.labels && decode(data.labels, Uint8Array); // class by class
const places = data.thumbnails && decode(data.thumbnails.places, Int32Array);
const hasClass = (item, number) => labels[number * count + item] > 0;

function classesOf(item) {
  return labels ? data.classes.map((_, number) => number).filter((number) => hasClass(item, number)) : [];
}

function nameOf(item) {
  return cells ? `${data.ids[item]} · cell ${cells[item]}` : data.ids[item];
}

// ---- Colourings: what the points can be coloured by. A category has entries, to one or (classes) several of which an
// item belongs; a number has a value and a rank.
const natural = new Intl.Collator("en", { numeric: true });

function classColouring() {
  const sizes = data.classes.map((_, number) => {
    let size = 0;
    for (let i = 0; i < count; i++) size += hasClass(i, number);
    return size;
  });
  const entries = data.classes.map((name, number) => ({ name, size: sizes[number] }));
  let none = 0;
  for (let i = 0; i < count; i++) none += data.classes.every((_, number) => !hasClass(i, number));
  if (none) entries.push({ name: "no label", size: none, plain: true });
  return {
    name: "class", kind: "category", entries, about: "",
    // An item with several classes takes the colour of the rarest that is switched on.
    entryOf(item, off) {
      let best = -1, any = false;
      for (let number = 0; number < data.classes.length; number++) {
        if (!hasClass(item, number)) continue;
        any = true;
        if (!off.has(number) && (best < 0 || sizes[number] < sizes[best])) best = number;
      }
      return any ? best : off.has(data.classes.length) ? -1 : data.classes.length;
    },
    textOf: (item) => classesOf(item).map((number) => data.classes[number]).join(", ") || "no label",
  };
}

function categoryColouring(column) {
  const codes = column.kind === "flag" ? decode(column.values, Uint8Array) : decode(column.values, Int32Array);
  const names = column.kind === "flag" ? ["not flagged", "flagged"] : column.names;
  const sizes = new Array(names.length).fill(0);
  for (let i = 0; i < count; i++) sizes[codes[i]]++;
  const most = data.palette.length * 4; // colours times shapes
  const order = names.map((_, code) => code).sort((a, b) => natural.compare(names[a], names[b]));
  if (column.kind === "flag") order.sort((a, b) => a - b);
  const kept = new Set(
    names.length <= most ? order : [...order].sort((a, b) => sizes[b] - sizes[a]).slice(0, most - 1));
  const entries = [], entry = new Int32Array(names.length);
  let others = null;
  for (const code of order) {
    if (kept.has(code)) {
      entry[code] = entries.length;
      entries.push({ name: names[code] || "(empty)", size: sizes[code], plain: column.kind === "flag" && code === 0 });
    } else {
      others = others || { name: "", size: 0, plain: true, values: 0, codes: [] };
      others.size += sizes[code]; others.values++; others.codes.push(code);
    }
  }
  if (others) {
    others.name = `${others.values.toLocaleString("en")} other values`;
    for (const code of others.codes) entry[code] = entries.length;
    entries.push(others);
  }
  return {
    name: column.name, kind: "category", entries, about: column.about, isFlag: column.kind === "flag", codes,
    entryOf: (item, off) => (off.has(entry[codes[item]]) ? -1 : entry[codes[item]]),
    textOf: (item) => names[codes[item]],
  };
}

function numberColouring(column) {
  const values = decode(column.values, Float32Array);
  const known = Array.from(values.keys()).filter((i) => !Number.isNaN(values[i])).sort((a, b) => values[a] - values[b]);
  const ranks = new Float32Array(count).fill(NaN);
  for (let start = 0; start < known.length;) {
    let stop = start;
    while (stop < known.length && values[known[stop]] === values[known[start]]) stop++;
    for (let k = start; k < stop; k++) ranks[known[k]] = (start + stop - 1) / 2 / Math.max(1, known.length - 1);
    start = stop;
  }
  const quantile = (q) => (known.length ? values[known[Math.round(q * (known.length - 1))]] : NaN);
  return {
    name: column.name, kind: "number", values, ranks, quantile, about: column.about, known: known.length,
    low: quantile(0.01), high: quantile(0.99),
    textOf: (item) => formatted(values[item]),
  };
}

function formatted(value) {
  if (Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4));
}

const colourings = [
  ...(labels ? [classColouring()] : []),
  ...data.columns.map((column) => (column.kind === "number" ? numberColouring(column) : categoryColouring(column))),
];
if (!colourings.length) colourings.push({
  name: "nothing", kind: "category", entries: [{ name: "all", size: count }], about: "",
  entryOf: (item, off) => (off.has(0) ? -1 : 0), textOf: () => "",
});

// ---- What is chosen.
const state = {
  colouring: Math.max(0, colourings.findIndex((one) => one.name === data.colour)),
  off: new Set(), // entries of a category that are switched off
  range: [0, 1], // ranks of a number that are shown
  byRank: false,
  lit: -1, // entry under the pointer in the legend
  selected: new Uint8Array(count), // what was chosen last counts; see `choose`
  current: -1, // item pointed at
  tool: "move", pictures: false, names: true, size: 1, only: -1, // panel shown alone
};
const colouring = () => colourings[state.colouring];

// ---- Paints: colour and shape of each item, and which are drawn over which.
const LEVELS = 24, OTHER = { colour: "#8a929a", shape: 0 }, FAINT = { colour: "#d3d8dd", shape: 0 };
const paint = new Int16Array(count), entryOf = new Int32Array(count), order = new Int32Array(count);
let paints = [], visibleCount = 0;

function rampColour(t) {
  const stops = data.ramp, position = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
  const left = Math.min(Math.floor(position), stops.length - 2), part = position - left;
  const mix = stops[left].map((value, channel) => Math.round(value + part * (stops[left + 1][channel] - value)));
  return `rgb(${mix})`;
}

function palettePaint(number) { // the colours repeat with another shape
  const colours = data.palette;
  return { colour: colours[number % colours.length], shape: Math.floor(number / colours.length) % 4 };
}

function entryPaint(number) {
  const entry = colouring().entries[number];
  if (entry.plain) return OTHER;
  return colouring().isFlag ? { colour: "#d55e00", shape: 0 } : palettePaint(number);
}

function positionOf(item) { // of a number, along the ramp
  const one = colouring();
  if (state.byRank) return one.ranks[item];
  return one.high > one.low ? (one.values[item] - one.low) / (one.high - one.low) : 0;
}

// Every item gets a paint, -1 for those that are only context; rare entries and high values are drawn last.
function repaint() {
  const one = colouring(), height = new Float32Array(count);
  visibleCount = 0;
  if (one.kind === "number") {
    paints = Array.from({ length: LEVELS }, (_, level) => ({ colour: rampColour(level / (LEVELS - 1)), shape: 0 }));
    paints.push({ colour: OTHER.colour, shape: 2 }); // those without a value
    for (let i = 0; i < count; i++) {
      const rank = one.ranks[i], is = Number.isNaN(rank);
      const inside = is ? state.range[0] === 0 && !state.off.has(0) : rank >= state.range[0] && rank <= state.range[1];
      entryOf[i] = is ? 0 : -1;
      paint[i] = !inside ? -1 : is ? LEVELS
        : Math.min(LEVELS - 1, Math.max(0, Math.round(positionOf(i) * (LEVELS - 1))));
      height[i] = inside ? (is ? 0 : 1 + rank) : -1;
    }
  } else {
    paints = one.entries.map((_, number) => entryPaint(number));
    for (let i = 0; i < count; i++) {
      const entry = one.entryOf(i, state.off);
      entryOf[i] = entry;
      paint[i] = entry;
      height[i] = entry < 0 ? -1 : 1 / (1 + one.entries[entry].size);
      if (entry >= 0 && one.entries[entry].plain) height[i] = 0;
    }
  }
  for (let i = 0; i < count; i++) {
    order[i] = i;
    visibleCount += paint[i] >= 0;
  }
  order.sort((a, b) => height[a] - height[b] || a - b);
}

function isLit(item) { // belongs to the entry under the pointer, whatever its own colour
  if (state.lit < 0) return true;
  const one = colouring();
  if (one.name === "class" && labels && state.lit < data.classes.length) return hasClass(item, state.lit);
  return entryOf[item] === state.lit;
}
"""
