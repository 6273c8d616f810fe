// One case: what was asked, its checks and what explains the score, its seeds and candidates.

const VIEWS = { slider: "Slider", side: "Side by side", flicker: "Flicker" };
let opener = null;
let lastCase = null;

function current() {
  const entry = data.cases.find((one) => one.key === state.case);
  if (!entry) return null;
  const check = entry.checks.find((one) => one.metric === state.check) ?? entry.checks[0];
  return { entry, check };
}

function isOn(name, check) {
  if (name === "heat") return heated(check) && (state.heat === "" ? suspicious(check) : state.heat === "1");
  if (name === "mask") return Boolean(check.patches || check.objects) && state.mask === "1";
  return state.boxes === "1";
}

function toggles(check) {
  const one = (name, text, key, possible) => el("button", {
    type: "button", id: `toggle-${name}`, "aria-pressed": String(isOn(name, check)), disabled: !possible,
    onclick: () => go({ [name]: isOn(name, check) ? "0" : "1" }),
  }, text, el("kbd", { text: key }));
  return el("div", { class: "tools" },
    el("div", { role: "group", "aria-label": "view" }, ...Object.entries(VIEWS).map(([view, text]) => el("button", {
      type: "button", id: `view-${view}`, "aria-pressed": String(state.view === view), onclick: () => go({ view }),
    }, text, el("kbd", { text: { slider: "s", side: "d", flicker: "f" }[view] })))),
    el("div", { role: "group", "aria-label": "overlays" },
      one("heat", "Heat map", "h", heated(check)), one("boxes", "Boxes", "b", true),
      one("mask", check.objects ? "SAM's masks" : "Patch mask", "m", Boolean(check.patches || check.objects))));
}

function legend(check) {
  if (!isOn("heat", check) || !shownEdit(check).explained) return null;
  const ramp = el("canvas", { width: 64, height: 1 });
  const context = ramp.getContext("2d");
  for (let x = 0; x < 64; x += 1) {
    const [red, green, blue] = heatColor(x / 63);
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    context.fillRect(x, 0, 1, 1);
  }
  const most = Math.max(...check.patches.shares);
  return el("p", { class: "legend" }, "share of the cost per patch: 0 %", ramp, percent(most), " · outlined: the spot that cost most; darkened at the edges: what the model did not see");
}

function checkList(entry, check) {
  return el("div", { class: "panel" }, el("h3", { text: "Checks" }), el("div", { class: "checks" },
    ...entry.checks.map((one, index) => el("button", {
      type: "button", "aria-pressed": String(one === check), title: one.metric, onclick: () => go({ check: one.metric, seed: "" }),
    }, mark(one.outcome), el("span", { class: "metric", text: one.metric }),
    el("span", { class: "score" }, el("b", { text: one.relation ?? one.reason ?? one.outcome }), " ", index < 9 ? el("kbd", { text: String(index + 1) }) : "")))));
}

function facts(check) {
  const lines = [];
  if (check.detail) lines.push(check.reason ? `${check.reason}: ${check.detail}` : check.detail);
  if (check.expect === "fail") lines.push("This edit is wrong on purpose: the check passes when the metric catches it.");
  if (check.patches) {
    const counted = [...check.patches.compared].filter((one) => one === "1").length;
    const [compared, all] = check.patches.counts ?? [counted, check.patches.compared.length];
    lines.push(`${check.scope ?? "whole image"}: ${compared} of ${all} patches compared`);
    if (all > check.patches.compared.length) lines.push("Shown are the shares of neighbouring patches together");
    if (check.patches.averaged) lines.push(`Features averaged over ${check.patches.averaged} × ${check.patches.averaged} patches`);
  }
  if (check.worst) {
    const { rows, columns, share, area } = check.worst;
    const span = (name, [first, last]) => (first === last ? `${name} ${first}` : `${name}s ${first} to ${last}`);
    lines.push(`Worst: ${span("row", rows)}, ${span("column", columns)}, ${percent(share)} of the cost, near x ${area[0]} to ${area[2]}, y ${area[1]} to ${area[3]}`);
  }
  if (check.baseline !== null) {
    const change = check.worsening > 0 ? `worse by ${shownNumber(check.worsening)}` : check.worsening < 0 ? `better by ${shownNumber(-check.worsening)}` : "unchanged";
    lines.push(`Baseline ${shownNumber(check.baseline)}: ${change}${check.tolerance === null ? "" : `, tolerance ${shownNumber(check.tolerance)}`}`);
  }
  if (check.withinNoise) lines.push(`Within noise: harmless changes move this metric by ${shownNumber(check.noise)}`);
  if (check.covered) lines.push(`Left to the gate ${check.covered}`);
  lines.push(`${check.profile} on ${check.device} · ${check.remembered ? "remembered" : `${shownNumber(check.seconds)} s`}`);
  return el("ul", { class: "notes" }, ...lines.map((text) => el("li", {}, el("bdi", { text }))));
}

function pairs(check) {
  if (!check.objects || !canBeShown(check.source) || !canBeShown(check.edited)) return null;
  const rows = check.objects.map((pair, index) => {
    const canvases = ["source", "edited"].map((side) => {
      const canvas = el("canvas", { width: 240, height: 240, role: "img", "aria-label": `object ${index + 1} of the ${side} image, cut out` });
      const size = check[`${side}Size`] ?? data.images[check[side]].size;
      cutOut(canvas, check[side], size, pair[side], check.background).catch(() => canvas.replaceWith(placeholder("the image cannot be loaded")));
      return canvas;
    });
    const value = check.pairs[index];
    return el("div", { class: "pair" }, ...canvases, el("span", { class: "value", text: value === null || value === undefined ? "" : shownNumber(value) }));
  });
  const maskless = check.objects.some((pair) => !pair.source.mask || !pair.edited.mask);
  return el("div", { class: "panel", id: "pairs" }, el("h3", { text: "Objects that were compared" }), ...rows,
    maskless ? el("p", { class: "dim", text: "The segmenter does not tell its masks: these are the boxes." }) : null);
}

function seeds(check) {
  if (!check.repeats.length) return null;
  const passed = check.repeats.filter((one) => one.outcome === "passed").length;
  return el("div", { class: "panel" }, el("h3", { text: `Seeds: ${passed} of ${check.repeats.length} pass, ${check.quota} have to` }),
    check.overSeeds === null ? null : el("p", { class: "dim", text: check.overSeeds }),
    el("div", { class: "checks" }, ...check.repeats.map((one) => el("button", {
      type: "button", "aria-pressed": String(one.edited === shownEdit(check).index), onclick: () => go({ seed: String(one.seed) }),
    }, mark(one.outcome), el("span", { text: `seed ${one.seed}${one.edited === check.edited ? " (decides)" : ""}` }), el("span", { class: "score", text: one.shown })))));
}

// The same case of every candidate.
function family(entry, check) {
  const others = data.cases.filter((one) => one.family === entry.family);
  if (others.length < 2) return null;
  const cards = others.map((other) => {
    const same = other.checks.find((one) => one.metric === check.metric) ?? other.checks[0];
    const name = other.candidate ?? "the case's own";
    const change = same.worsening === null ? "" : ` · ${same.worsening > 0 ? "worse" : "better"} by ${shownNumber(Math.abs(same.worsening))}`;
    return el("button", {
      type: "button", class: "card", "aria-current": String(other === entry), onclick: () => go({ case: other.key, check: same.metric, seed: "" }),
    }, framed(same.edited, same.editedName, `edited image of ${name}`, heated(same) && isOn("heat", same) ? () => [heat(same.patches)] : null),
    el("span", { class: "text" }, mark(same.outcome), " ", el("b", { text: name }), el("br"), `${said(same)}${change}`));
  });
  return el("section", { class: "others", id: "candidates" }, el("h3", { text: `Candidates, by ${check.metric}` }), el("div", { class: "strip" }, ...cards));
}

function heading(entry, check) {
  const place = chosenCases();
  const at = place.indexOf(entry);
  const name = entry.candidate ? `${entry.id}[${entry.candidate}]` : entry.id;
  return el("div", { class: "case-head" },
    el("div", { class: "what" },
      el("h2", { id: "case-title" }, mark(check.outcome), " ", el("bdi", { text: name })),
      el("p", { class: "asked" }, el("bdi", { text: entry.instruction })),
      el("p", { class: "where" }, el("bdi", { text: [check.place, entry.task, ...entry.tags].join(" · ") }))),
    el("div", { class: "steps" },
      el("span", { class: "dim", text: at < 0 ? "" : `${at + 1} of ${place.length}` }),
      el("button", { type: "button", id: "previous", disabled: at === 0, "aria-label": "previous case", onclick: () => step(-1) }, "‹ ", el("kbd", { text: "k" })),
      el("button", { type: "button", id: "next", disabled: at === place.length - 1, "aria-label": "next case", onclick: () => step(1) }, "› ", el("kbd", { text: "j" })),
      el("button", { type: "button", id: "close", "aria-label": "close", onclick: () => byId("case").close() }, "✕ ", el("kbd", { text: "esc" }))));
}

function drawCase() {
  const found = current();
  const dialog = byId("case");
  stopFlicker();
  hush();
  byId("notice").hidden = Boolean(found) || !state.case;
  if (!found) {
    byId("notice").textContent = `This report has no case ${state.case}`;
    if (dialog.open) dialog.close();
    return;
  }
  const { entry, check } = found;
  lastCase = entry.key;
  const focused = document.activeElement?.id;
  dialog.replaceChildren(heading(entry, check), el("div", { class: "case-body" },
    el("div", {}, toggles(check), stage(entry, check), legend(check) ?? "", family(entry, check) ?? ""),
    el("div", {}, checkList(entry, check),
      el("div", { class: "panel" }, el("h3", { text: check.metric }), el("p", { class: "says" }, el("bdi", { text: check.headline })),
        Number.isFinite(check.threshold) ? scale(check) : null, facts(check)),
      closeUp(entry, check) ?? "", pairs(check) ?? "", seeds(check) ?? "")));
  if (!dialog.open) {
    opener = document.activeElement;
    dialog.showModal();
  }
  const what = dialog.querySelector(".what");
  if (what.scrollHeight > what.clientHeight) what.tabIndex = 0; // the keyboard has to reach the end of a long instruction
  if (focused && dialog.contains(byId(focused))) byId(focused).focus();
  else dialog.focus();
}

// The whole heat map at a glance, whatever the stage shows.
function closeUp(entry, check) {
  if (!heated(check) || !shownEdit(check).explained || state.view === "side") return null;
  const over = () => [heat(check.patches), spot(check, check.sourceSize)];
  return el("div", { class: "panel", id: "close-up" }, el("h3", { text: "Where the cost arose" }), framed(check.edited, check.editedName, `heat map of ${entry.id}: what each patch cost`, over));
}

function step(by) {
  const chosen = chosenCases();
  const at = chosen.findIndex((entry) => entry.key === state.case);
  const next = chosen[at + by];
  if (!next) return;
  const same = about(next, state).find((check) => check.metric === state.check) ?? about(next, state)[0];
  go({ case: next.key, check: same.metric, seed: "" });
}

listeners.push((now, before) => {
  const names = ["case", "check", "seed", "view", "boxes", "mask", "heat"];
  if (now.case ? names.some((name) => now[name] !== before[name]) : before.case) drawCase();
});
