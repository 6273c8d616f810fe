// Keyboard, colours, links, and the first look at the address.

const KEYS = [
  ["/", "search"], ["j  k", "next, previous case (in the grid: tile)"], ["Enter", "open the case"], ["Esc", "close it"], ["1 … 9", "choose a check of the case"],
  ["s  d  f", "slider, side by side, flicker"], ["space", "swap by hand"], ["← →", "move the slider"], ["h  b  m", "heat map, boxes, mask"], ["?", "this list"],
];
const THEMES = ["", "light", "dark"];

function typing(target) {
  return target instanceof HTMLElement && target.matches("input:not([type=range]), select, textarea");
}

function moveInGrid(by) {
  const tiles = [...byId("grid").querySelectorAll(".tile")];
  const at = tiles.indexOf(document.activeElement);
  const next = tiles[at < 0 ? 0 : Math.min(Math.max(at + by, 0), tiles.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

const IN_CASE = {
  j: () => step(1), k: () => step(-1),
  s: () => go({ view: "slider" }), d: () => go({ view: "side" }), f: () => go({ view: "flicker" }),
  h: () => byId("toggle-heat").click(), b: () => byId("toggle-boxes").click(), m: () => byId("toggle-mask").click(),
  " ": () => byId("swap")?.click(),
};
const IN_GRID = { j: () => moveInGrid(1), k: () => moveInGrid(-1), "/": () => byId("filter-q").focus() };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) {
    if (event.key === "Escape" && event.target.id === "filter-q") event.target.blur();
    return;
  }
  if (byId("help").open) return;
  const inCase = byId("case").open;
  if (event.key === " " && event.target instanceof HTMLButtonElement) return; // it presses the button
  let action = (inCase ? IN_CASE : IN_GRID)[event.key];
  if (event.key === "?") action = showHelp;
  if (inCase && /^[1-9]$/.test(event.key)) {
    const check = current().entry.checks[Number(event.key) - 1];
    if (check) action = () => go({ check: check.metric, seed: "" });
  }
  if (!action) return;
  event.preventDefault();
  action();
});

function showHelp() {
  const help = byId("help");
  help.replaceChildren(el("h2", { id: "help-title", text: "Keys" }),
    el("dl", {}, ...KEYS.flatMap(([key, text]) => [el("dt", {}, el("kbd", { text: key })), el("dd", { text })])),
    el("button", { type: "button", text: "Close", onclick: () => help.close() }));
  help.showModal();
}

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  button.textContent = { "": "◐ system", light: "☀ light", dark: "☾ dark" }[theme];
  button.setAttribute("aria-label", `Colours: ${theme || "as the system has them"}`);
}

byId("theme").addEventListener("click", () => {
  showTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
});
byId("help-button").addEventListener("click", showHelp);
for (const id of ["theme", "help-button"]) byId(id).hidden = false;
showTheme("");

// Links to cases and filters change what is shown and keep the rest; those to parts of the page do not touch the address.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const wanted = fromAddress(link.getAttribute("href"));
  if (!Object.keys(wanted).length) {
    const part = byId(link.getAttribute("href").slice(1));
    part.scrollIntoView();
    part.focus({ preventScroll: true });
  } else if (wanted.case) {
    go({ seed: "", ...wanted }, true);
  } else {
    go({ ...Object.fromEntries(FILTERS.map((name) => [name, ""])), ...wanted });
    byId("cases").scrollIntoView();
  }
});

byId("case").addEventListener("close", () => {
  stopFlicker();
  hush();
  byId("case").replaceChildren();
  if (state.case) go({ case: "", check: "", seed: "" });
  const fromTable = opener?.isConnected && !opener.matches("body, .tile");
  const tileOf = [...byId("grid").querySelectorAll(".tile")].find((one) => one.dataset.key === lastCase);
  (fromTable ? opener : tileOf ?? byId("cases")).focus();
});

addEventListener("popstate", followAddress);
addEventListener("hashchange", followAddress);

drawFilters();
state = { ...DEFAULTS, ...fromAddress(location.hash) };
showFilters();
drawGrid();
if (state.case) drawCase();
