"""The page of points, second part of its script: thumbnails, and the markers of points."""

MARKER_SCRIPT = r"""
// ---- Thumbnails: a sheet is decoded when a picture on it is first needed.
const sheets = new Map();

function thumbnail(item) {
  if (!places) return null;
  const { side, columns } = data.thumbnails, place = places[item], number = Math.floor(place / (columns * columns));
  let sheet = sheets.get(number);
  if (!sheet) {
    sheet = { image: new Image(), ready: false };
    sheets.set(number, sheet);
    sheet.image.onload = () => { sheet.ready = true; refresh(); showCard(); };
    sheet.image.src = "data:image/webp;base64," + element(`sheet-${number}`).textContent;
  }
  const within = place % (columns * columns);
  return sheet.ready && {
    image: sheet.image, side, x: (within % columns) * side, y: Math.floor(within / columns) * side,
  };
}

function drawThumbnail(context, item, x, y, size) {
  const picture = thumbnail(item);
  context.fillStyle = "#101418";
  context.fillRect(x, y, size, size);
  if (picture) {
    context.drawImage(picture.image, picture.x, picture.y, picture.side, picture.side, x, y, size, size);
  }
}

// ---- Markers: drawn once per paint, then copied.
function outline(context, shape, x, y, r) {
  context.beginPath();
  if (shape === 0) context.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === 1) {
    polygon(context, [[x, y - 1.25 * r], [x + 1.15 * r, y + 0.85 * r], [x - 1.15 * r, y + 0.85 * r]]);
  }
  else if (shape === 2) context.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  else polygon(context, [[x, y - 1.3 * r], [x + 1.3 * r, y], [x, y + 1.3 * r], [x - 1.3 * r, y]]);
}

function polygon(context, corners) {
  corners.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
}

function marker(one, radius, ratio) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil((2.6 * radius + 3) * ratio);
  const context = canvas.getContext("2d"), middle = canvas.width / 2;
  outline(context, one.shape, middle, middle, radius * ratio);
  context.fillStyle = one.colour;
  context.fill();
  if (radius > 2.4 && one !== FAINT) {
    context.lineWidth = 0.7 * ratio;
    context.strokeStyle = "rgba(255,255,255,0.85)";
    context.stroke();
  }
  return canvas;
}
"""
