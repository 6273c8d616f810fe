// What is drawn over an image: boxes, the patches that were compared, what each cost, masks of objects.

const RAMP = [[66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

// The colour of a share of the hottest patch: dark and thin where little was paid, bright and dense where most was.
function heatColor(part) {
  const place = Math.min(part, 1) * (RAMP.length - 1);
  const index = Math.min(Math.floor(place), RAMP.length - 2);
  const mix = RAMP[index].map((low, channel) => Math.round(low + (RAMP[index + 1][channel] - low) * (place - index)));
  return [...mix, Math.round(255 * (0.1 + 0.72 * part ** 0.75))];
}

function heat(patches) {
  const { rows, columns, area, shares, compared } = patches;
  const canvas = el("canvas", { class: "heat", width: columns, height: rows, "aria-hidden": "true" });
  const pixels = new ImageData(columns, rows);
  const most = Math.max(...shares);
  shares.forEach((share, index) => {
    if (compared[index] === "1" && most > 0) pixels.data.set(heatColor(share / most), index * 4);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const [x1, y1, x2, y2] = area;
  Object.assign(canvas.style, {
    left: `${x1 * 100}%`, top: `${y1 * 100}%`, width: `${(x2 - x1) * 100}%`, height: `${(y2 - y1) * 100}%`,
  });
  return canvas;
}

function sheet(size) {
  return svg("svg", { class: "overlay", viewBox: `0 0 ${size[0]} ${size[1]}`, preserveAspectRatio: "none", "aria-hidden": "true" });
}

function outline(x, y, width, height, color, dashes) {
  const at = { x, y, width, height, fill: "none", "vector-effect": "non-scaling-stroke" };
  const over = svg("rect", { ...at, stroke: color, "stroke-width": 2 });
  if (dashes) over.setAttribute("stroke-dasharray", dashes);
  return [svg("rect", { ...at, stroke: "#000", "stroke-opacity": 0.75, "stroke-width": 4 }), over];
}

function label(text, x, y, size) {
  const height = Math.max(size[0], size[1]) / 32;
  return svg("text", {
    x: Math.min(Math.max(x, height * 0.3), size[0] - height * text.length * 0.62), y: Math.min(Math.max(y, height), size[1] - height * 0.3),
    "font-size": height, "font-weight": 700, fill: "#fff", stroke: "#000", "stroke-width": height / 5, "paint-order": "stroke",
  }, text);
}

// Boxes in pixels of an image of `size`; several pairs are numbered.
function boxes(list, size, numbered) {
  const drawn = sheet(size);
  list.forEach(([x1, y1, x2, y2], index) => {
    drawn.append(...outline(x1, y1, x2 - x1, y2 - y1, "#fff", "6 4"));
    if (numbered) drawn.append(label(String(index + 1), x1 + size[0] / 100, y1 + Math.max(...size) / 28, size));
  });
  return drawn;
}

// The spot that cost most, with its share, and thin lines around what the model saw where that is not the whole image.
function spot({ worst, patches }, size, labelled = true) {
  const drawn = sheet(size);
  const [left, top, right, bottom] = patches.area.map((part, index) => part * size[index % 2]);
  if (right - left < size[0] * 0.99 || bottom - top < size[1] * 0.99) {
    drawn.append(svg("path", { d: `M0 0H${size[0]}V${size[1]}H0Z M${left} ${top}V${bottom}H${right}V${top}Z`, fill: "#10131a", "fill-opacity": 0.45 }));
  }
  if (!worst) return drawn;
  const [x1, y1, x2, y2] = worst.area;
  drawn.append(...outline(x1, y1, x2 - x1, y2 - y1, "#fcff6b"));
  if (labelled) drawn.append(label(percent(worst.share), x1 + size[0] / 100, y1 > size[1] / 12 ? y1 - size[1] / 90 : y2 + size[1] / 22, size));
  return drawn;
}

let patterns = 0;

// A veil over the patches that the metric did not compare, and over what the model did not see.
function veil(patches, size) {
  const drawn = sheet(size);
  const name = `veil-${patterns++}`;
  const step = Math.max(...size) / 40;
  drawn.append(svg("defs", {}, svg("pattern", { id: name, width: step, height: step, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: step, height: step, fill: "#10131a", "fill-opacity": 0.62 }),
    svg("rect", { width: step / 3, height: step, fill: "#fff", "fill-opacity": 0.35 }))));
  const [left, top, right, bottom] = patches.area.map((part, index) => part * size[index % 2]);
  const width = (right - left) / patches.columns;
  const height = (bottom - top) / patches.rows;
  const cover = (x, y, w, h) => { if (w > 0 && h > 0) drawn.append(svg("rect", { x, y, width: w, height: h, fill: `url(#${name})` })); };
  cover(0, 0, size[0], top);
  cover(0, bottom, size[0], size[1] - bottom);
  cover(0, top, left, bottom - top);
  cover(right, top, size[0] - right, bottom - top);
  [...patches.compared].forEach((one, index) => {
    const row = Math.floor(index / patches.columns);
    if (one !== "1") cover(left + (index % patches.columns) * width, top + row * height, width, height);
  });
  return drawn;
}

// A mask as a canvas that is opaque, in `color`, where the object is.
async function maskCanvas(mask, color) {
  const image = await loaded(`data:image/png;base64,${mask}`);
  const canvas = el("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let index = 0; index < pixels.data.length; index += 4) {
    const inside = pixels.data[index] > 127;
    pixels.data.set(inside ? color : [0, 0, 0, 0], index);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// Where SAM saw the objects of one side, over its image of `size`.
function objectMasks(objects, side, size) {
  const layer = el("div", { class: "overlay", "aria-hidden": "true" });
  for (const pair of objects) {
    const { box, mask } = pair[side];
    if (!mask) continue;
    maskCanvas(mask, [0, 150, 255, 130]).then((canvas) => {
      const [x1, y1, x2, y2] = box;
      Object.assign(canvas.style, {
        position: "absolute", left: `${(x1 / size[0]) * 100}%`, top: `${(y1 / size[1]) * 100}%`,
        width: `${((x2 - x1) / size[0]) * 100}%`, height: `${((y2 - y1) / size[1]) * 100}%`,
      });
      layer.append(canvas);
    }).catch(() => {}); // the cut-out beside it says that the mask cannot be read
  }
  return layer;
}

// The object as it was compared: cut out with its mask, on the background colour, on a square.
async function cutOut(canvas, index, size, object, background) {
  await complete;
  const image = await loaded(address(index));
  const [x1, y1, x2, y2] = object.box;
  const scale = [image.width / size[0], image.height / size[1]];
  const width = x2 - x1;
  const height = y2 - y1;
  const side = 240 / Math.max(width, height);
  canvas.width = canvas.height = 240;
  const at = [(240 - width * side) / 2, (240 - height * side) / 2, width * side, height * side];
  const context = canvas.getContext("2d");
  context.drawImage(image, x1 * scale[0], y1 * scale[1], width * scale[0], height * scale[1], ...at);
  if (object.mask) {
    context.globalCompositeOperation = "destination-in";
    context.drawImage(await maskCanvas(object.mask, [0, 0, 0, 255]), ...at);
  }
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = `rgb(${background.join(" ")})`;
  context.fillRect(0, 0, 240, 240);
}
