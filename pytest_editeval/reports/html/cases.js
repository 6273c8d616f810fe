// The grid of cases: worst first, filtered, sorted, as many as fit a few screens until more are asked for.

const SHOWN_AT_FIRST = 48;
const SORTS = { worst: "worst first", name: "by name", file: "as in the files", task: "by task" };

// The checks of a case that the filters are about.
function about(entry, filters) {
  const verdicts = filters.verdict.split(",").filter(Boolean);
  return entry.checks.filter((check) => (!filters.metric || check.metric === filters.metric)
    && (!verdicts.length || verdicts.includes(check.outcome)));
}

function verdictOf(checks) {
  return OUTCOMES.find((outcome) => checks.some((check) => check.outcome === outcome));
}

function matches(entry, filters) {
  if (!about(entry, filters).length) return false;
  if (filters.task && entry.task !== filters.task) return false;
  if (filters.tag && !entry.tags.includes(filters.tag)) return false;
  if (filters.candidate && entry.candidate !== filters.candidate) return false;
  const words = filters.q.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  entry.text ??= [entry.key, entry.id, entry.instruction, entry.task, ...entry.tags, entry.candidate ?? "", entry.file,
    ...entry.checks.flatMap((check) => [check.metric, check.reason ?? "", check.sourceName, check.editedName])].join("\n").toLowerCase();
  return words.every((word) => entry.text.includes(word));
}

function compared(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function chosenCases(filters = state) {
  const chosen = data.cases.filter((entry) => matches(entry, filters));
  if (filters.sort === "name") chosen.sort((a, b) => compared(a.id, b.id) || compared(a.candidate ?? "", b.candidate ?? ""));
  if (filters.sort === "file") chosen.sort((a, b) => compared(a.file, b.file) || a.line - b.line);
  if (filters.sort === "task") chosen.sort((a, b) => compared(a.task, b.task));
  // As the data has them, worst first; of one metric, by that metric.
  if (filters.sort === "worst" && filters.metric) {
    const rank = (entry) => {
      const check = about(entry, filters)[0];
      return [OUTCOMES.indexOf(check.outcome), -(check.missed ?? Infinity)];
    };
    chosen.sort((a, b) => rank(a)[0] - rank(b)[0] || compared(rank(a)[1], rank(b)[1]));
  }
  return chosen;
}

function mark(outcome) {
  return el("span", { class: `mark ${outcome.replace(" ", "-")}`, role: "img", "aria-label": outcome });
}

// Whether a look at the heat map is worth it: something is wrong, or the edit is wrong on purpose.
function suspicious(check) {
  return check.outcome !== "passed" || check.expect === "fail";
}

function heated(check) {
  const patches = check.patches;
  return Boolean(patches?.shares) && Math.max(...patches.shares) > 0;
}

function overlayOf(check) {
  if (!heated(check) || !suspicious(check)) return null;
  return () => [heat(check.patches), spot(check, check.sourceSize, false)]; // a label would be too small to read
}

function tile(entry) {
  const checks = about(entry, state);
  const check = checks[0];
  const name = entry.candidate ? `${entry.id}[${entry.candidate}]` : entry.id;
  const rest = entry.checks.length > 1 ? `and ${entry.checks.length - 1} more` : "";
  return el("a", {
    class: "tile", href: inAddress({ ...state, case: entry.key, check: check.metric }), "data-key": entry.key,
    onclick: (event) => open(event, entry.key, check.metric),
  },
  framed(check.edited, check.editedName, `edited image of ${name}`, overlayOf(check)),
  el("div", { class: "text" },
    el("div", { class: "name" }, mark(verdictOf(checks)), el("bdi", { text: name, title: name })),
    el("bdi", { class: "asked", text: entry.instruction }),
    el("div", { class: "which" }, el("b", { text: check.metric }), el("span", { text: rest })), el("div", { class: "says", text: said(check) })));
}

function said(check) {
  return check.score === null ? check.reason ?? check.detail ?? check.outcome : check.brief;
}

function open(event, key, metric) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go({ case: key, check: metric, seed: "" }, true);
}

function drawGrid() {
  const chosen = chosenCases();
  const limit = state.shown === "all" ? Infinity : Number(state.shown) || SHOWN_AT_FIRST;
  const grid = byId("grid");
  grid.replaceChildren(...chosen.slice(0, limit).map(tile));
  if (!chosen.length) grid.append(el("p", { class: "empty" }, "No case matches. ", el("button", { type: "button", text: "Clear the filters", onclick: clearFilters })));
  const checks = chosen.reduce((sum, entry) => sum + about(entry, state).length, 0);
  byId("count").textContent = `${chosen.length} of ${data.cases.length} · ${checks} checks`;
  const more = byId("more");
  more.hidden = chosen.length <= limit;
  more.textContent = `Show ${chosen.length - limit} more`;
}

function clearFilters() {
  go(Object.fromEntries(FILTERS.map((name) => [name, ""])));
}

function choice(name, title, values) {
  const select = el("select", { id: `filter-${name}`, onchange: () => go({ [name]: select.value, shown: "" }) },
    el("option", { value: "", text: "all" }), ...values.map((value) => el("option", { value, text: value })));
  return values.length > 1 ? el("label", {}, title, select) : null;
}

function drawFilters() {
  const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, data.cases.filter((entry) => entry.checks.some((check) => check.outcome === outcome)).length]));
  const chips = el("fieldset", { class: "chips" }, el("legend", { text: "verdict of a check" }),
    ...OUTCOMES.filter((outcome) => counts[outcome]).map((outcome) => el("button", {
      type: "button", "data-verdict": outcome, "aria-pressed": "false", onclick: () => toggleVerdict(outcome),
    }, mark(outcome), `${outcome} ${counts[outcome]}`)));
  const search = el("input", { type: "search", id: "filter-q", placeholder: "id, text, path …", oninput: () => go({ q: search.value, shown: "" }) });
  const tasks = [...new Set(data.cases.map((entry) => entry.task))].sort();
  const sort = el("select", { id: "filter-sort", onchange: () => go({ sort: sort.value }) },
    ...Object.entries(SORTS).map(([value, text]) => el("option", { value, text })));
  byId("filters").append(chips, ...[choice("metric", "metric", data.names.metric), choice("task", "task", tasks), choice("tag", "tag", data.names.tag),
    choice("candidate", "candidate", data.names.candidate), el("label", {}, el("span", {}, "search ", el("kbd", { text: "/" })), search), el("label", {}, "sort", sort)].filter(Boolean));
  byId("filters").hidden = false;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", () => {
    const first = byId("grid").children.length;
    go({ shown: "all" });
    byId("grid").children[first].focus(); // the button is gone
  });
}

function toggleVerdict(outcome) {
  const chosen = new Set(state.verdict.split(",").filter(Boolean));
  chosen.has(outcome) ? chosen.delete(outcome) : chosen.add(outcome);
  go({ verdict: OUTCOMES.filter((one) => chosen.has(one)).join(","), shown: "" });
}

function showFilters() {
  const verdicts = state.verdict.split(",");
  for (const button of byId("filters").querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", verdicts.includes(button.dataset.verdict));
  }
  for (const name of ["metric", "task", "tag", "candidate", "q", "sort"]) {
    const field = byId(`filter-${name}`);
    if (field && field.value !== state[name]) field.value = state[name];
  }
}

const DRAWN = [...FILTERS, "sort", "shown"];
listeners.push((now, before) => {
  if (DRAWN.some((name) => now[name] !== before[name])) {
    showFilters();
    drawGrid();
  }
});
