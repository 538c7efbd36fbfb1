"use strict";
const BATCH = 24;  // cards that are drawn at once
const MARKS = {wrong: "\u2717 ", right: "\u2713 ", unscored: "\u00b7 "};
const RANKS = {wrong: 0, unscored: 1, right: 2};
const CODES = /(?:<(?:loc\d{4}|seg\d{3})>)+/g;

const element = (tag, name, ...parts) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...parts);
  return made;
};
const drawn = (tag, attributes, text) => {
  const made = document.createElementNS("http:" + "//www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
};

// Text with its runs of location and mask tokens in small print, as they drown the words.
function spelled(tag, text) {
  const made = element(tag);
  made.dir = "auto";
  if (!text.trim()) {
    made.append(element("em", "", "empty"));
    return made;
  }
  let at = 0;
  for (const match of text.matchAll(CODES)) {
    made.append(text.slice(at, match.index), element("code", "", match[0]));
    at = match.index + match[0].length;
  }
  made.append(text.slice(at));
  return made;
}

// Boxes over a picture. Its longer side is 320 units, so that letters have one size.
function boxes(row, kind, sizes) {
  const [width, height] = sizes.map(side => 320 * side / Math.max(...sizes));
  const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  if (width < 160) svg.classList.add("narrow");
  const found = row[kind] || [], named = found.length <= 12;
  for (const [y0, x0, y1, x1, label] of found) {
    const group = drawn("g", {});
    if (label) group.append(drawn("title", {}, label));
    group.append(drawn("rect", {class: kind, x: x0 * width, y: y0 * height,
      width: Math.max(x1 - x0, 0) * width, height: Math.max(y1 - y0, 0) * height}));
    if (label && named) {  // inside of the box where there is no room above it
      const inside = y0 * height <= 26, y = y0 * height + (inside ? 3 : -5);
      const left = x0 <= .6;  // or else the label ends at the right, to stay in the picture
      const x = left ? Math.max(x0 * width, 0) + 3 : Math.min(x1, 1) * width - 3;
      group.append(drawn("text", {class: kind, x, y, "text-anchor": left ? "start" : "end",
        "dominant-baseline": inside ? "hanging" : "auto"}, label));
    }
    svg.append(group);
  }
  return svg;
}

const WORDS = {pred: "predicted", ref: "reference", whole: "as it came",
  seen: "as the model sees it"};

function picture(row, kind) {
  const [source, width, height] = kind === "whole" ? row.whole : row.image;
  const image = element("img");
  Object.assign(image, {src: source, width, height, decoding: "async"});
  const drawnOn = ["pred", "other", "ref"].includes(kind);
  const word = row.names?.[kind] ?? WORDS[kind];
  const things = drawnOn ? (row[kind] || []).length : 0;
  image.alt = `Image of example ${row.id}` + (drawnOn ? `, ${things} ${word} boxes` +
    (row[kind + "Mask"] ? " and a mask" : "") : word ? `, ${word}` : "");
  if (Math.max(width, height) <= 128) image.className = "tiny";
  const frame = element("div", "picture", image);
  frame.style.setProperty("--ratio", width / height);
  if (drawnOn && row[kind + "Mask"]) {
    const mask = element("img", "mask");
    mask.src = row[kind + "Mask"];
    mask.alt = "";
    frame.append(mask);
  }
  if (things) frame.append(boxes(row, kind, [width, height]));
  const made = element("figure", "", frame);
  if (word) made.append(element("figcaption", "",
    ...(drawnOn ? [element("i", "key " + kind)] : []), word));
  return made;
}

const overlaid = row => row.pred || row.other || row.ref || row.predMask || row.refMask;

function pictures(row) {
  const seen = overlaid(row) ? ["pred", ...(row.names ? ["other"] : []),
    ...(row.refs.length || row.ref || row.refMask ? ["ref"] : [])] : [row.whole ? "seen" : ""];
  const all = [...(row.whole ? ["whole"] : []), ...seen];
  return element("div", "pictures", ...all.map(kind => picture(row, kind)));
}

function enlarge(row) {
  const dialog = document.getElementById("large");
  const close = element("button", "", "close");
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(element("header", "", element("b", "", row.id), close), pictures(row),
    texts(row), ...(row.nearTexts || row.nearImages ? [neighbours(row)] : []));
  dialog.showModal();
}

function texts(row) {
  const part = (name, ...values) => element("div", "", element("dt", "", name), ...values);
  const answer = spelled("dd", row.answer ?? "");
  answer.classList.add("answer");
  const references = row.refs.map(([text, n]) => {
    const made = spelled("dd", text);
    if (n > 1) made.append(element("span", "times", ` \u00d7\u2009${n}`));
    return made;
  });
  const list = element("dl");
  if (row.answer !== undefined) list.append(part(row.names?.pred ?? "Answer", answer));
  if (row.names) list.append(part(row.names.other, spelled("dd", row.otherAnswer)));
  if (references.length) {
    list.append(part(references.length > 1 ? "References" : "Reference", ...references));
  }
  const letters = text => text.replace(CODES, "").length;
  if (Math.max(letters(row.answer ?? ""), ...row.refs.map(r => letters(r[0]))) > 60) {
    list.classList.add("long");
  }
  if (row.prompt) {
    const prompt = part("Prompt", spelled("dd", row.prompt));
    prompt.className = "prompt";
    list.prepend(prompt);
  }
  return list;
}

// A bar for each token of the answer, as high as the probability that the model gave it.
function confidence(row) {
  const step = Math.min(6, 220 / row.confidence.length);
  const svg = drawn("svg", {class: "confidence", width: step * row.confidence.length, height: 16,
    role: "img", "aria-label": "probability of each token"});
  svg.append(drawn("title", {}, "probability of each token of the answer"));
  [...row.confidence].forEach((level, i) => {
    const high = Math.max(1, 16 * parseInt(level, 36) / 35);
    svg.append(drawn("rect", {x: i * step, y: 16 - high, width: Math.max(step - 1, step * .7),
      height: high}));
  });
  return svg;
}

// What lies nearest to the image, and which images do to its first text.
function neighbours(row) {
  const made = element("div", "near");
  if (row.nearTexts) {
    const lines = row.nearTexts.map(([text, cosine, right]) => {
      const words = element("span", "", text);
      words.dir = "auto";
      return element("li", right ? "own" : "", element("small", "", cosine.toFixed(3)), words);
    });
    made.append(element("h4", "", "Nearest texts, and their cosines"), element("ol", "", ...lines));
  }
  if (row.nearImages) {
    const images = row.nearImages.map(([source, width, height, cosine, right]) => {
      const image = element("img", Math.max(width, height) <= 64 ? "tiny" : "");
      Object.assign(image, {src: source, width, height, decoding: "async",
        alt: right ? "this image" : "another image"});
      return element("figure", right ? "own" : "", image,
        element("figcaption", "", cosine.toFixed(3)));
    });
    made.append(element("h4", "", "Images nearest to its first text, and their cosines"),
      element("div", "row", ...images));
  }
  return made;
}

function card(row) {
  const header = element("header", "",
    ...(row.verdict === "unscored" ? [] :
      [element("span", "badge", MARKS[row.verdict] + row.verdict)]),
    element("span", "task", row.task), element("span", "id", row.id));
  const made = element("article", "card " + row.verdict, header);
  if (row.image) {
    const shown = pictures(row);
    if (shown.childElementCount > 1) made.classList.add("pair");
    Object.assign(shown, {tabIndex: 0, role: "button", ariaLabel: `Enlarge example ${row.id}`});
    shown.addEventListener("click", () => enlarge(row));
    shown.addEventListener("keydown", event => {
      if (event.key !== "Enter") return;
      event.preventDefault();  // or else it presses "close" as well, which has the focus by then
      enlarge(row);
    });
    made.append(shown);
  }
  made.append(texts(row));
  if (row.nearTexts || row.nearImages) made.append(neighbours(row));
  const facts = [];
  if (row.group !== undefined) facts.push(row.group);
  if (row.score !== undefined) facts.push("score " + row.score.toFixed(2));
  if (row.end && row.end !== "eos") facts.push("ended by: " + row.end);
  if (row.mean !== undefined) {
    facts.push(`mean log-probability ${row.mean.toFixed(2).replace("-", "\u2212")}`);
  }
  const footer = element("footer");
  if (row.confidence) footer.append(confidence(row));
  facts.forEach(fact => footer.append(element("span", "fact", fact)));
  made.append(footer);
  return made;
}

function gallery(rows) {
  const form = document.getElementById("filter"), grid = document.getElementById("grid");
  const count = document.getElementById("count");
  const inOrder = (a, b) => a.order - b.order;
  const by = (...values) => (a, b) => {
    for (const value of values) {
      const difference = value(a) - value(b);
      if (difference) return difference;
    }
    return a.order - b.order;
  };
  const rank = row => RANKS[row.verdict], unknownLast = (x, sign) =>
    x === undefined ? Infinity : sign * x;
  const orders = {
    wrong: by(rank, row => row.image ? 0 : 1), given: inOrder,
    confident: by(rank, row => unknownLast(row.mean, -1)),
    unsure: by(row => unknownLast(row.mean, 1)),
    low: by(row => unknownLast(row.score, 1)), high: by(row => unknownLast(row.score, -1)),
    long: by(row => -(row.length ?? (row.answer ?? "").length))};
  let found = [], next = 0, searched = null;

  rows.forEach((row, i) => { row.order = i; });
  const counts = (name, of) => {
    const all = new Map();
    for (const row of of) {
      if (row[name] !== undefined) all.set(row[name], (all.get(row[name]) || 0) + 1);
    }
    return [...all].sort((a, b) => b[1] - a[1]);
  };
  const words = {task: "all tasks", group: "all groups", verdict: "all verdicts",
    end: "any end"};
  const fill = (name, of, values) => {
    const select = form[name], before = select.value;
    select.replaceChildren(new Option(words[name], ""), ...values.map(([value, n]) =>
      new Option(`${name === "end" ? "ended by " : ""}${value} (${n.toLocaleString("en")})`,
        value)));
    select.value = values.some(([value]) => value === before) ? before : "";
    select.hidden = values.length < (name === "group" ? 1 : 2);
  };
  const fillGroups = () => {
    const task = form.task.value, of = rows.filter(row => !task || row.task === task);
    fill("group", of, counts("group", of).sort((a, b) => a[0].localeCompare(b[0])));
  };
  for (const name of ["task", "verdict", "end"]) fill(name, rows, counts(name, rows));
  fillGroups();
  form.pictured.parentElement.hidden = !rows.some(row => row.image) ||
    rows.every(row => row.image);
  const has = key => rows.some(row => row[key] !== undefined);
  const judged = rows.some(row => row.verdict !== "unscored");
  const offered = {wrong: judged, confident: judged && has("mean"), unsure: has("mean"),
    low: has("score"), high: has("score")};
  for (const option of [...form.order.options]) {
    if (offered[option.value] === false) option.remove();
  }
  const [click, tokens] = document.getElementById("keys").children;
  click.hidden = !has("image");
  tokens.hidden = !has("confidence");

  const end = document.getElementById("end");
  const nearEnd = new IntersectionObserver(entries => {
    if (entries.some(entry => entry.isIntersecting) && next < found.length) more();
  }, {rootMargin: "1200px"});
  function more() {
    const batch = found.slice(next, next + BATCH);
    grid.append(...batch.map(card));
    next += batch.length;
    nearEnd.unobserve(end);  // observed anew it reports again, if the end is still in sight
    nearEnd.observe(end);
  }
  function show() {
    const wanted = form.words.value.toLowerCase();
    if (wanted && !searched) {
      searched = rows.map(row => [row.id, row.prompt, row.answer, row.otherAnswer, ...row.refs.map(r => r[0])]
        .join("\n").toLowerCase());
    }
    const {task, group, verdict, end} = form;
    found = rows.filter(row =>
      (!task.value || row.task === task.value) && (!group.value || row.group === group.value) &&
      (!verdict.value || row.verdict === verdict.value) && (!end.value || row.end === end.value)
      && (!form.pictured.checked || row.image) && (!wanted || searched[row.order].includes(wanted))
    ).sort(orders[form.order.value]);
    count.textContent = `${found.length.toLocaleString("en")} of ` +
      rows.length.toLocaleString("en");
    next = 0;
    grid.replaceChildren();
    if (!found.length) grid.append(element("p", "none", "No example is like that."));
    more();
  }
  const top = () => {
    const bar = form.closest("section");
    if (bar.getBoundingClientRect().top < 0) bar.scrollIntoView();
  };
  form.addEventListener("input", event => {
    if (event.target === form.task) fillGroups();
    show();
    top();
  });
  form.addEventListener("submit", event => event.preventDefault());
  for (const button of document.querySelectorAll("button[data-group]")) {
    button.addEventListener("click", () => {
      form.task.value = button.dataset.task;
      fillGroups();
      form.group.value = button.dataset.group;
      show();
      form.closest("section").scrollIntoView();
    });
  }
  form.hidden = false;
  show();
}

const data = document.getElementById("data");
if (data) gallery(JSON.parse(data.textContent).rows);
