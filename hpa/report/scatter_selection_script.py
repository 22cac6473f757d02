"""The page of points, fifth part of its script: the selection, its gallery, and its CSV."""

SELECTION_SCRIPT = r"""
// ---- The selection.
const GALLERY = 200; // pictures at most

function selectedItems() {
  const found = [];
  for (let i = 0; i < count; i++) if (state.selected[i]) found.push(i);
  return found;
}

function choose(found, how = "replace") {
  if (how === "replace") state.selected.fill(0);
  for (const item of found) state.selected[item] = how === "toggle" ? 1 - state.selected[item] : how !== "remove";
  showSelection();
}

function showSelection() {
  const chosen = selectedItems(), some = chosen.length > 0;
  element("selected-count").textContent = some ? `${plain(chosen.length)} selected` : "Nothing selected";
  element("selection-empty").hidden = some;
  for (const id of ["save", "copy", "clear"]) element(id).disabled = !some;
  element("say").textContent = element("selected-count").textContent;
  const bars = [];
  if (some && labels) {
    const sizeOf = (number) => chosen.filter((item) => hasClass(item, number)).length;
    const sizes = data.classes.map((name, number) => [name, number, sizeOf(number)]);
    sizes.sort((a, b) => b[2] - a[2]);
    for (const [name, number, size] of sizes.filter((one) => one[2]).slice(0, 6)) {
      const bar = make("div", { className: "bar" });
      bar.style.width = `${Math.max(1, (100 * size) / chosen.length)}%`;
      bar.style.background = data.palette[number % data.palette.length];
      bars.push(make("div", { className: "share", title: `${plain(size)} of ${plain(chosen.length)} selected` },
        make("div", { className: "share-text" }, make("span", { textContent: name }),
          make("span", { textContent: plain(size) })), bar));
    }
    const rest = sizes.filter((one) => one[2]).length - bars.length;
    if (rest > 0) bars.push(make("div", { className: "faint", textContent: `and ${rest} more classes` }));
  }
  element("shares").replaceChildren(...bars);
  galleryItems = chosen.slice(0, GALLERY);
  const rest = chosen.length - galleryItems.length;
  element("gallery-rest").textContent = places && rest > 0 ? `and ${plain(rest)} more` : "";
  for (const plot of shownPlots()) plot.drawOver();
  drawGallery();
}

let galleryItems = [];
const TILE = 52, TILES = 5;

function drawGallery() {
  const canvas = element("gallery"), ratio = window.devicePixelRatio || 1;
  canvas.hidden = !places || !galleryItems.length;
  if (canvas.hidden) return;
  const rows = Math.ceil(galleryItems.length / TILES), width = TILE * TILES + 4 * (TILES - 1);
  canvas.width = width * ratio;
  canvas.height = (rows * (TILE + 4)) * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${rows * (TILE + 4)}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  galleryItems.forEach((item, k) => {
    drawThumbnail(context, item, (k % TILES) * (TILE + 4), Math.floor(k / TILES) * (TILE + 4), TILE);
  });
}

function galleryItem(event) {
  const column = Math.floor(event.offsetX / (TILE + 4)), row = Math.floor(event.offsetY / (TILE + 4));
  const item = galleryItems[row * TILES + column];
  return column < TILES && item !== undefined ? item : -1;
}

// ---- CSV: the keys first, then what the page knows, one row per selected item.
function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv() {
  const others = colourings.filter((one) => one.name !== "class" && one.name !== "nothing");
  const head = ["image_id", ...(cells ? ["cell_id"] : []), ...(labels ? ["classes"] : []),
    ...others.map((one) => one.name),
    ...data.panels.flatMap((panel) => [`${panel.name} x`, `${panel.name} y`])];
  const rows = selectedItems().map((item) => [
    data.ids[item], ...(cells ? [cells[item]] : []),
    ...(labels ? [classesOf(item).map((number) => data.classes[number]).join("|")] : []),
    ...others.map((one) => (one.kind === "number" ? (Number.isNaN(one.values[item]) ? "" : one.values[item])
      : one.isFlag ? one.codes[item] : one.textOf(item))),
    ...plots.flatMap((plot) => [plot.places[2 * item], plot.places[2 * item + 1]]),
  ]);
  return [head, ...rows].map((row) => row.map(quoted).join(",") + "\r\n").join("");
}

function save() {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  make("a", { href: url, download: "selection.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function copy() {
  const text = selectedItems().map((item) => (cells ? `${data.ids[item]}\t${cells[item]}` : data.ids[item])).join("\n");
  const area = make("textarea", { value: text }); // works in a local file, where the clipboard's own interface may not
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  element("say").textContent = done ? "Copied" : "The browser did not allow copying";
  element("copy").textContent = done ? "Copied" : "Not allowed";
  setTimeout(() => { element("copy").textContent = "Copy IDs"; }, 1500);
}

// ---- Finding items by text: ID, classes, categories.
function find(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return;
  const columns = colourings.filter((one) => one.kind === "category" && !one.isFlag);
  const found = [];
  for (let i = 0; i < count; i++) {
    if (nameOf(i).toLowerCase().includes(wanted)
      || columns.some((one) => one.textOf(i).toLowerCase().includes(wanted))) found.push(i);
  }
  choose(found);
  if (!found.length) element("selected-count").textContent = "Nothing found";
  else if (found.length === 1) point(found[0]);
}
"""
