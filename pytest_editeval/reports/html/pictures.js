// Images: their bytes stand at the end of the page, and are looked at when an image comes near the screen.

const waiting = new Map();

function address(index) {
  const image = data.images[index];
  if (image.link) return image.link;
  const body = byId(`image-${index}`);
  return body ? `data:${image.embedded};base64,${body.textContent}` : null;
}

function load(element) {
  const source = address(waiting.get(element));
  if (source === null) return; // the end of the page is still on its way
  waiting.delete(element);
  nearby.unobserve(element);
  element.src = source;
}

const nearby = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting && waiting.has(entry.target)) load(entry.target);
}, { rootMargin: "500px" });

// The whole page is there, and with it every image.
const complete = new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve));

complete.then(() => {
  for (const element of [...waiting.keys()]) {
    nearby.unobserve(element);
    nearby.observe(element);
  }
});

function placeholder(text) {
  return el("div", { class: "placeholder", role: "img", "aria-label": text, text });
}

function why(index, name) {
  if (index === null) return name ? `${name}: not in the report` : "there is no image";
  const image = data.images[index];
  const note = image.note ?? "not in the report";
  return note.includes(image.name) ? note : `${image.name}: ${note}`;
}

function canBeShown(index) {
  return index !== null && data.images[index].size !== null;
}

// An <img> that loads when it is needed; one that cannot be had becomes a text.
function picture(index, alt) {
  const element = el("img", { alt, decoding: "async", draggable: "false" });
  waiting.set(element, index);
  element.addEventListener("error", () => element.replaceWith(placeholder(`${data.images[index].name}: the image cannot be loaded`)));
  nearby.observe(element);
  return element;
}

// A picture of a fixed shape with the whole image in it, and what `overlay` draws on that.
function framed(index, name, alt, overlay) {
  const box = el("div", { class: "picture" });
  if (!canBeShown(index)) {
    box.append(placeholder(why(index, name)));
    return box;
  }
  const [width, height] = data.images[index].size;
  const fit = el("div", { class: "fit" }, picture(index, alt));
  const image = fit.firstChild;
  fit.style.aspectRatio = `${width} / ${height}`;
  fit.style[width / height >= 4 / 3 ? "width" : "height"] = "100%";
  image.style.width = image.style.height = "100%";
  if (overlay) fit.append(...overlay());
  box.append(fit);
  return box;
}

function loaded(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = source;
  });
}
