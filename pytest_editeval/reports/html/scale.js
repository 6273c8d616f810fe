// A score on its scale: the threshold and its good side, the noise band, both controls, the baseline, other seeds.

const SCALE = { width: 360, axis: 46, end: 14 };

// A control that lies further off than this many times the rest is marked at the end of the scale, lest it press the
// rest into a corner.
const FAR = 3;

function scale(check) {
  const marks = [{ at: check.threshold, text: `threshold ${shownNumber(check.threshold)}`, kind: "limit" }];
  if (check.score !== null) marks.push({ at: check.score, text: check.shown, kind: "dot" });
  if (check.baseline !== null) marks.push({ at: check.baseline, text: `baseline ${shownNumber(check.baseline)}`, kind: "baseline" });
  const seeds = check.repeats.filter((one) => one.score !== null).map((one) => one.score);
  const values = [...marks.map((mark) => mark.at), ...seeds];
  if (check.noise !== null) values.push(check.threshold - check.noise, check.threshold + check.noise);
  const near = [Math.min(...values), Math.max(...values)];
  const reach = FAR * (near[1] - near[0] || Math.abs(near[1]) || 1);
  for (const [name, at] of Object.entries(check.controls)) {
    const beyond = at < near[0] - reach || at > near[1] + reach;
    marks.push({ at, text: `${beyond ? "far off: " : ""}${name.replace("-", " ")} ${shownNumber(at)}`, kind: "control" });
    if (!beyond) values.push(at);
  }
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = high - low || Math.abs(high) * 0.1 || 1;
  const inside = SCALE.width - 2 * SCALE.end;
  const place = (value) => {
    const part = (value - low) / room;
    return Math.min(Math.max(SCALE.end + inside * (check.higher ? part : 1 - part), 4), SCALE.width - 4);
  };
  const labels = spread(marks.map((mark) => ({ ...mark, x: place(mark.at) })));
  const height = SCALE.axis + 24 + 16 * Math.max(...labels.map((one) => one.row));
  const drawn = svg("svg", { class: "scale", viewBox: `0 0 ${SCALE.width} ${height}`, role: "img", "aria-label": described(check) });
  drawn.append(svg("defs", {}, svg("pattern", { id: "noise-pattern", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 2, height: 5, fill: "currentColor", "fill-opacity": 0.35 }))));
  const limit = place(check.threshold);
  drawn.append(svg("rect", { class: "side", x: limit, y: 22, width: Math.max(SCALE.width - limit, 0), height: 24 }));
  if (check.noise) {
    const ends = [place(check.threshold - check.noise), place(check.threshold + check.noise)].sort((a, b) => a - b);
    drawn.append(svg("rect", { class: "noise", x: ends[0], y: 22, width: Math.max(ends[1] - ends[0], 2), height: 24 }));
  }
  drawn.append(svg("line", { class: "axis", x1: 0, x2: SCALE.width, y1: SCALE.axis, y2: SCALE.axis }));
  drawn.append(svg("text", { x: SCALE.width, y: 12, "text-anchor": "end" }, check.noise ? "noise band hatched · better →" : "better →"));
  for (const seed of seeds) drawn.append(svg("line", { class: "tick", x1: place(seed), x2: place(seed), y1: 30, y2: 42 }));
  for (const one of labels) {
    const y = SCALE.axis + 16 + 16 * one.row;
    drawn.append(svg("line", { class: "leader", x1: one.x, x2: one.x, y1: SCALE.axis, y2: y - 10 }));
    if (one.kind === "limit") drawn.append(svg("line", { class: "limit", x1: one.x, x2: one.x, y1: 18, y2: SCALE.axis + 4 }));
    else if (one.kind === "dot") drawn.append(svg("circle", { class: `dot ${check.outcome}`, cx: one.x, cy: 34, r: 7 }));
    else if (one.kind === "baseline") drawn.append(svg("path", { class: "tick", d: `M${one.x - 5} 34 l5 -5 l5 5 l-5 5 z` }));
    else drawn.append(svg("path", { class: "tick", d: `M${one.x - 5} ${SCALE.axis - 2} h10 l-5 -8 z` }));
    drawn.append(svg("text", { class: one.kind === "dot" ? "strong" : "", x: one.left, y }, one.text));
  }
  return drawn;
}

// Labels under their marks, in as many rows as it takes for none to lie on another.
function spread(marks) {
  const ends = [];
  return marks.sort((a, b) => a.x - b.x).map((mark) => {
    const width = mark.text.length * 6.2 + 6;
    const left = Math.min(Math.max(mark.x - width / 2, 0), SCALE.width - width);
    let row = ends.findIndex((end) => end <= left);
    if (row < 0) row = ends.length;
    ends[row] = left + width;
    return { ...mark, left, row };
  });
}

function described(check) {
  const parts = [check.headline];
  for (const [name, at] of Object.entries(check.controls)) parts.push(`${name.replace("-", " ")}: ${shownNumber(at)}`);
  if (check.noise !== null) parts.push(`harmless changes move it by ${shownNumber(check.noise)}`);
  if (check.baseline !== null) parts.push(`baseline ${shownNumber(check.baseline)}`);
  return parts.join("; ");
}
