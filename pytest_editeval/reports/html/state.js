// The page's data, and what is shown of it now: the state lives in the address, so that a view can be sent to somebody.

const data = JSON.parse(document.getElementById("data").textContent);
const OUTCOMES = ["error", "failed", "soft failure", "passed"]; // worst first
const DEFAULTS = {
  verdict: "", metric: "", task: "", tag: "", candidate: "", q: "", sort: "worst", shown: "",
  case: "", check: "", seed: "", view: "slider", boxes: "1", mask: "", heat: "",
};
const FILTERS = ["verdict", "metric", "task", "tag", "candidate", "q"];
const listeners = [];
let state = { ...DEFAULTS };

// What each patch cost of the whole: 16-bit numbers, little-endian, 65535 for all of it.
for (const entry of data.cases) {
  for (const { patches } of entry.checks) {
    if (!patches?.shares) continue;
    const written = patches.shares;
    let read = null;
    Object.defineProperty(patches, "shares", { get: () => (read ??= shareNumbers(written)) });
  }
}

function shareNumbers(written) {
  const bytes = Uint8Array.from(atob(written), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, index) => view.getUint16(2 * index, true) / 65535);
}

function byId(id) { return document.getElementById(id); }

// An element with properties (`class`, `text`, `on*`, attributes) and children; text is never parsed as markup.
function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function shownNumber(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

function percent(share) {
  return share >= 0.1 ? `${Math.round(share * 100)} %` : `${Number((share * 100).toPrecision(2))} %`;
}

function inAddress(values) {
  const parts = Object.entries(values).filter(([key, value]) => value !== DEFAULTS[key]);
  const written = (text) => encodeURIComponent(text).replace(/%2F/g, "/").replace(/%3A/g, ":").replace(/%2C/g, ",");
  return `#${parts.map(([key, value]) => `${key}=${written(value)}`).join("&")}`;
}

function fromAddress(hash) {
  const found = new URLSearchParams(hash.slice(1));
  const values = {};
  for (const key of Object.keys(DEFAULTS)) if (found.has(key)) values[key] = found.get(key);
  return values;
}

// Change the state; `push` makes it a step that the browser's back button takes back.
function go(changes, push = false) {
  const before = state;
  state = { ...state, ...changes };
  const address = inAddress(state);
  if (address !== inAddress(before)) {
    try {
      history[push ? "pushState" : "replaceState"](null, "", address);
    } catch { /* a browser that finds a held key too fast; the next change writes the whole state again */ }
  }
  for (const listener of listeners) listener(state, before);
}

function followAddress() {
  const before = state;
  state = { ...DEFAULTS, ...fromAddress(location.hash) };
  for (const listener of listeners) listener(state, before);
}
