"""The page of points, third part of its script: drawing the maps, and finding points in them."""

PLOT_SCRIPT = r"""
// ---- A map: its own view, drawn on two canvases, the points below and what changes often above.
class Plot {
  constructor(panel, number) {
    this.name = panel.name;
    this.places = decode(panel.places, Float32Array);
    this.box = element(`panel-${number}`);
    this.points = this.box.querySelector(".points");
    this.over = this.box.querySelector(".over");
    this.columns = new Float32Array(count); // where the items are drawn, CSS pixels
    this.rows = new Float32Array(count);
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < count; i++) {
      const x = this.places[2 * i], y = this.places[2 * i + 1];
      left = Math.min(left, x); right = Math.max(right, x); low = Math.min(low, y); high = Math.max(high, y);
    }
    this.bounds = { x: (left + right) / 2, y: (low + high) / 2, width: right - left || 1, height: high - low || 1 };
    this.fit();
    this.resize();
  }

  resize() {
    const area = this.box.querySelector(".area"), ratio = window.devicePixelRatio || 1;
    if (this.width === area.clientWidth && this.height === area.clientHeight && this.ratio === ratio) return false;
    this.width = area.clientWidth;
    this.height = area.clientHeight;
    this.ratio = ratio;
    for (const canvas of [this.points, this.over]) {
      canvas.width = Math.max(1, Math.round(this.width * this.ratio));
      canvas.height = Math.max(1, Math.round(this.height * this.ratio));
    }
    const scale = 0.92 * Math.min(this.width / this.bounds.width, this.height / this.bounds.height);
    this.scale = Math.max(scale, 1e-12);
    if (this.zoom === 1) this.fit();
    return true;
  }

  fit() {
    this.zoom = 1;
    this.x = this.bounds.x;
    this.y = this.bounds.y;
  }

  zoomBy(factor, column = this.width / 2, row = this.height / 2) {
    const zoom = Math.min(Math.max(this.zoom * factor, 0.5), 400), before = this.toData(column, row);
    this.zoom = zoom;
    const after = this.toData(column, row);
    this.x += before[0] - after[0];
    this.y += before[1] - after[1];
  }

  moveBy(columns, rows) {
    this.x -= columns / (this.scale * this.zoom);
    this.y += rows / (this.scale * this.zoom);
  }

  toData(column, row) {
    const unit = this.scale * this.zoom;
    return [this.x + (column - this.width / 2) / unit, this.y - (row - this.height / 2) / unit];
  }

  place() {
    const unit = this.scale * this.zoom;
    for (let i = 0; i < count; i++) {
      this.columns[i] = this.width / 2 + (this.places[2 * i] - this.x) * unit;
      this.rows[i] = this.height / 2 - (this.places[2 * i + 1] - this.y) * unit;
    }
  }

  get radius() {
    const usual = count > 8000 ? 2.1 : count > 2500 ? 2.8 : count > 600 ? 3.8 : 5;
    const room = Math.min(1, Math.sqrt((this.width * this.height) / 4e5)); // smaller maps have smaller points
    return usual * room * state.size * Math.min(2.2, Math.max(0.8, Math.pow(this.zoom, 0.28)));
  }

  contains(item, margin = 0) {
    const x = this.columns[item], y = this.rows[item];
    return x > -margin && y > -margin && x < this.width + margin && y < this.height + margin;
  }

  draw() {
    this.place();
    const context = this.points.getContext("2d"), ratio = this.ratio, radius = this.radius;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.clearRect(0, 0, this.points.width, this.points.height);
    const markers = paints.map((one) => marker(one, radius, ratio)), faint = marker(FAINT, 0.8 * radius, ratio);
    for (const lit of state.lit < 0 ? [true] : [false, true]) { // what the legend points at comes last
      for (const i of order) {
        const x = this.columns[i], y = this.rows[i];
        if (x < -9 || y < -9 || x > this.width + 9 || y > this.height + 9) continue;
        if (state.lit >= 0 && isLit(i) !== lit) continue;
        const one = paint[i] < 0 || !lit ? faint : markers[this.litPaint(i)];
        context.drawImage(one, Math.round(x * ratio - one.width / 2), Math.round(y * ratio - one.height / 2));
      }
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (state.pictures && places) this.drawPictures(context);
    if (state.names && colouring().kind === "category" && !colouring().isFlag) this.drawNames(context);
    this.drawOver();
  }

  litPaint(item) {
    return state.lit >= 0 && colouring().kind === "category" ? state.lit : paint[item];
  }

  drawPictures(context) { // as many as fit without hiding one another, those drawn on top first
    const usual = Math.max(34, Math.min(66, Math.min(this.width, this.height) / 11));
    const size = Math.min(110, usual * Math.max(0.7, state.size));
    const taken = new Map();
    for (let k = count - 1; k >= 0; k--) {
      const i = order[k];
      if (paint[i] < 0 || !isLit(i) || !this.contains(i, size / 2)) continue;
      const x = this.columns[i], y = this.rows[i], column = Math.floor(x / size), row = Math.floor(y / size);
      let free = true;
      for (let dx = -1; dx <= 1 && free; dx++) {
        for (let dy = -1; dy <= 1 && free; dy++) {
          const other = taken.get(`${column + dx},${row + dy}`);
          free = !other || Math.abs(other[0] - x) >= size + 3 || Math.abs(other[1] - y) >= size + 3;
        }
      }
      if (!free) continue;
      taken.set(`${column},${row}`, [x, y]);
      drawThumbnail(context, i, x - size / 2, y - size / 2, size);
      context.lineWidth = 2.5;
      context.strokeStyle = paints[this.litPaint(i)].colour;
      context.strokeRect(x - size / 2, y - size / 2, size, size);
    }
  }

  drawNames(context) { // each where its points are densest, if a third of the points around are of the entry
    const entries = colouring().entries, cell = 28, taken = [], all = new Map();
    const heaps = entries.map(() => new Map());
    const keyOf = (column, row) => column * 4096 + row;
    for (let i = 0; i < count; i++) {
      if (entryOf[i] < 0 || !this.contains(i)) continue;
      const column = Math.floor(this.columns[i] / cell), row = Math.floor(this.rows[i] / cell);
      const key = keyOf(column, row), empty = { column, row, size: 0, x: 0, top: Infinity };
      const heap = heaps[entryOf[i]].get(key) || empty;
      heap.size++;
      heap.x += this.columns[i];
      heap.top = Math.min(heap.top, this.rows[i]);
      heaps[entryOf[i]].set(key, heap);
      all.set(key, (all.get(key) || 0) + 1);
    }
    const around = (sizeAt, heap) => {
      let sum = 0;
      for (let dx = -1; dx <= 1; dx++) {
        for (let dy = -1; dy <= 1; dy++) sum += sizeAt(keyOf(heap.column + dx, heap.row + dy));
      }
      return sum;
    };
    context.font = `600 ${this.width < 620 ? 11 : 12.5}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    entries.forEach((entry, number) => {
      if (entry.plain || (state.lit >= 0 && number !== state.lit)) return;
      const text = entry.name.length > 26 ? entry.name.slice(0, 25) + "…" : entry.name;
      const half = context.measureText(text).width / 2 + 3, own = (key) => heaps[number].get(key)?.size || 0;
      const found = [...heaps[number].values()].map((heap) => ({ ...heap, own: around(own, heap) }))
        .sort((a, b) => b.own - a.own || b.size - a.size).slice(0, 6);
      for (const heap of found) {
        if (state.lit < 0 && (heap.own < 3 || heap.own < around((key) => all.get(key) || 0, heap) / 3)) continue;
        const x = Math.min(Math.max(heap.x / heap.size, half), this.width - half);
        const y = Math.min(Math.max(heap.top - this.radius - 9, 9), this.height - 9);
        if (taken.some((box) => Math.abs(box[0] - x) < box[2] + half && Math.abs(box[1] - y) < 17)) continue;
        taken.push([x, y, half]);
        context.lineWidth = 4;
        context.lineJoin = "round";
        context.strokeStyle = "rgba(255,255,255,0.92)";
        context.strokeText(text, x, y);
        context.fillStyle = "#24292f";
        context.fillText(text, x, y);
        break;
      }
    });
  }

  drawOver() {
    const context = this.over.getContext("2d"), ratio = this.ratio, r = this.radius + 2;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.strokeStyle = "#000";
    context.lineWidth = count > 8000 ? 1 : 1.5;
    context.beginPath();
    for (let i = 0; i < count; i++) {
      if (!state.selected[i] || !this.contains(i, 5)) continue;
      context.moveTo(this.columns[i] + r, this.rows[i]);
      context.arc(this.columns[i], this.rows[i], r, 0, 2 * Math.PI);
    }
    context.stroke();
    if (state.current >= 0) {
      for (const [colour, width] of [["#fff", 6], ["#000", 2.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        context.arc(this.columns[state.current], this.rows[state.current], r + 4, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    if (this.loop && this.loop.length > 1) {
      context.beginPath();
      polygon(context, this.loop);
      context.fillStyle = "rgba(0,114,178,0.12)";
      context.strokeStyle = "#0072b2";
      context.lineWidth = 1.5;
      context.fill();
      context.stroke();
    }
  }

  nearest(column, row, reach = 14) { // the point to show; those that are only context do not count
    let best = -1, least = reach * reach;
    for (let i = 0; i < count; i++) {
      if (paint[i] < 0) continue;
      const dx = this.columns[i] - column, dy = this.rows[i] - row, distance = dx * dx + dy * dy;
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  }

  towards(item, dx, dy) { // the nearest point in a direction, within 45 degrees of it
    let best = -1, least = Infinity;
    for (let i = 0; i < count; i++) {
      if (paint[i] < 0 || i === item) continue;
      const x = this.columns[i] - this.columns[item], y = this.rows[i] - this.rows[item];
      const along = x * dx + y * dy, across = Math.abs(x * dy - y * dx);
      const distance = along * along + 4 * across * across;
      if (along > 0 && across <= along && distance < least) { least = distance; best = i; }
    }
    return best;
  }

  inside() { // items within the loop that is drawn: even-odd rule
    const loop = this.loop, found = [];
    for (let i = 0; i < count; i++) {
      if (paint[i] < 0) continue;
      const x = this.columns[i], y = this.rows[i];
      let is = false;
      for (let a = 0, b = loop.length - 1; a < loop.length; b = a++) {
        const [ax, ay] = loop[a], [bx, by] = loop[b];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) is = !is;
      }
      if (is) found.push(i);
    }
    return found;
  }
}

const plots = data.panels.map((panel, number) => new Plot(panel, number));
const shownPlots = () => plots.filter((_, number) => state.only < 0 || state.only === number);

let waiting = false;
function refresh() { // all maps, once per frame
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; for (const plot of shownPlots()) plot.draw(); drawGallery(); });
}
"""
