// The stage: source and edited under a slider, side by side or in turns, with what lies over them.

const FLICKER_MS = 700; // fewer than three changes a second (WCAG 2.3.1)
let flickering = null;
let cutAt = 50; // percent; stays while checks and overlays are changed

// The edited image that is shown: that of the check, or of the seed that was chosen.
function shownEdit(check) {
  const seed = check.repeats.find((one) => String(one.seed) === state.seed);
  const own = !seed || seed.edited === check.edited;
  return own ? { index: check.edited, name: check.editedName, explained: true } : { index: seed.edited, name: seed.editedName, explained: false };
}

// The pixels of what is shown on a side, as far as they are known.
function knownSize(check, side) {
  const edit = shownEdit(check);
  const scored = side === "source" || edit.explained ? check[`${side}Size`] : null;
  const index = side === "source" ? check.source : edit.index;
  return scored ?? (canBeShown(index) ? data.images[index].size : null);
}

function sizeOf(check, side) {
  return knownSize(check, side) ?? [4, 3];
}

// An image and what lies over it. On one stage with the source, an edited image of another size is shown at the source's.
function layer(check, side, entry) {
  const edit = shownEdit(check);
  const index = side === "source" ? check.source : edit.index;
  const name = side === "source" ? check.sourceName : edit.name;
  const box = el("div", { class: `layer of-${side}` });
  box.append(canBeShown(index) ? picture(index, `${side} image of ${entry.id}`) : placeholder(why(index, name)));
  const ofObjects = check.boxes.edited !== null;
  const size = side === "edited" && ofObjects ? sizeOf(check, "edited") : sizeOf(check, "source");
  const over = el("div");
  if (isOn("mask", check)) {
    if (check.patches) over.append(veil(check.patches, size));
    if (check.objects && (side === "source" || edit.explained)) over.append(objectMasks(check.objects, side, size));
  }
  if (side === "edited" && isOn("heat", check) && edit.explained) {
    over.append(heat(check.patches), spot(check, size));
  }
  if (isOn("boxes", check)) over.append(boxes(ofObjects ? check.boxes[side] : check.boxes.source, size, ofObjects && check.boxes.source.length > 1));
  box.append(over);
  box.append(el("span", { class: "tag", text: side }));
  return box;
}

function frame(check, sides, entry) {
  const canvas = el("div", { class: "canvas" });
  const size = sizeOf(check, sides.length === 1 && sides[0] === "edited" && !check.patches ? "edited" : "source");
  canvas.style.aspectRatio = `${size[0]} / ${size[1]}`;
  canvas.style.maxWidth = `calc(72vh * ${size[0] / size[1]})`;
  canvas.append(...sides.map((side) => layer(check, side, entry)));
  if (check.patches && sides.includes("edited") && shownEdit(check).explained) canvas.addEventListener("pointermove", (event) => tell(event, canvas, check));
  canvas.addEventListener("pointerleave", hush);
  return canvas;
}

function sizeText(check, side) {
  const size = knownSize(check, side);
  return size ? ` ${size[0]}×${size[1]}` : "";
}

function caption(check, sides) {
  const edit = shownEdit(check);
  const parts = sides.map((side) => `${side}: ${side === "source" ? check.sourceName : edit.name}${sizeText(check, side)}`);
  const sizes = ["source", "edited"].map((side) => String(knownSize(check, side) ?? ""));
  const scaled = sides.includes("edited") && (check.patches || sides.length === 2) && sizes.every(Boolean) && sizes[0] !== sizes[1];
  if (scaled) parts.push(`the edited image is shown at the source's size${check.patches ? ", as it was compared" : ""}`);
  for (const side of sides) {
    const index = side === "source" ? check.source : edit.index;
    if (canBeShown(index) && data.images[index].note) parts.push(`${side}: ${data.images[index].note}`);
  }
  return el("figcaption", {}, el("bdi", { text: parts.join(" · ") }));
}

function stage(entry, check) {
  const box = el("div", { class: `stage ${state.view}`, id: "stage" });
  if (state.view === "side") {
    for (const side of ["source", "edited"]) box.append(el("figure", { class: "frame" }, frame(check, [side], entry), caption(check, [side])));
    return box;
  }
  const canvas = frame(check, ["source", "edited"], entry);
  const edited = canvas.querySelector(".of-edited");
  if (state.view === "slider") {
    const handle = el("div", { class: "handle", "aria-hidden": "true" });
    const cut = el("input", { class: "cut", id: "cut", type: "range", min: 0, max: 100, step: 1, value: cutAt, "aria-label": "How much of the source is shown over the edited image, in percent" });
    const move = () => {
      cutAt = cut.value;
      edited.style.clipPath = `inset(0 0 0 ${cut.value}%)`;
      handle.style.left = `${cut.value}%`;
    };
    cut.addEventListener("input", move);
    move();
    canvas.append(handle, cut);
  } else {
    const slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const swap = () => edited.classList.toggle("hidden");
    const swapper = el("button", { type: "button", id: "swap", onclick: () => { stopFlicker(); swap(); } }, "Swap by hand ", el("kbd", { text: "space" }));
    if (!slow) flickering = setInterval(swap, FLICKER_MS);
    box.append(swapper);
  }
  box.prepend(el("figure", { class: "frame" }, canvas, caption(check, ["source", "edited"])));
  return box;
}

function stopFlicker() {
  clearInterval(flickering);
  flickering = null;
}

let tip = null;

// What the patch under the pointer cost.
function tell(event, canvas, check) {
  const { rows, columns, area, shares, compared } = check.patches;
  const bounds = canvas.getBoundingClientRect();
  const x = ((event.clientX - bounds.left) / bounds.width - area[0]) / (area[2] - area[0]);
  const y = ((event.clientY - bounds.top) / bounds.height - area[1]) / (area[3] - area[1]);
  const [row, column] = [Math.floor(y * rows), Math.floor(x * columns)];
  const inside = row >= 0 && row < rows && column >= 0 && column < columns;
  const index = row * columns + column;
  const what = !inside ? "not seen by the model" : compared[index] !== "1" ? "not compared" : shares ? `${percent(shares[index])} of the cost` : "compared";
  tip ??= byId("case").appendChild(el("div", { class: "tip" }));
  tip.textContent = inside ? `row ${row}, column ${column}: ${what}` : what;
  Object.assign(tip.style, { left: `${event.clientX + 14}px`, top: `${event.clientY + 14}px` });
}

function hush() {
  tip?.remove();
  tip = null;
}
