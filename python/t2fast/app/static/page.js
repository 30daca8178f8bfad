// The page: its fields are the options of `t2fast plan`, its address holds them, and every change asks the server again.
"use strict";

const byId = (id) => document.getElementById(id);
const form = byId("question");
const fields = [...form.querySelectorAll("[name]")];
const besides = [...document.querySelectorAll("[data-beside]")];
const held = byId("held") ? JSON.parse(byId("held").textContent) : null; // a page written to one file
const relayed = Boolean(byId("relayed")); // a page in a notebook
let view = "plan";
let answer = null;
let besideFiles = {};

// ---------------------------------------------------------------- words and numbers

const UNITS = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"], [1, ""]];
function quantity(x, digits = 3) {
  if (x === null || x === undefined) return "-";
  if (x === 0) return "0";
  if (Math.abs(x) >= 1e15 || Math.abs(x) < 1e-3) return x.toExponential(digits - 1).replace("e+", "e");
  const [unit, letter] = UNITS.find(([size]) => Math.abs(x) >= size) || [1, ""];
  return String(Number((x / unit).toPrecision(digits))) + letter;
}
const result = (x) => (x === null || x === undefined ? "-" : x.toFixed(4));
const interval = (ends) => (ends ? `${ends[0].toPrecision(2)} to ${ends[1].toPrecision(2)}` : "-");
const NAMES = {
  recommended: "recommended", cheapest_within_1pct: "cheapest within 1%", inside_data: "inside data",
  chinchilla: "Chinchilla", unlimited: "unlimited optimum",
};
const SYMBOLS = { n_params: "N", n_tokens: "D", k: "k" };
const beyond = (one) =>
  Object.entries(one.beyond).map(([name, x]) => `${SYMBOLS[name]} ×${Number(x.toPrecision(2))}`).join(", ") || "-";

/** What a person writes, as a number: 1e22, 70B, 10k; NaN for anything else. */
function parsed(text) {
  const found = /^\s*([-+.\deE]+)\s*([kKMBGT]?)\s*$/.exec(text || "");
  if (!found) return NaN;
  return Number(found[1]) * { "": 1, k: 1e3, K: 1e3, M: 1e6, B: 1e9, G: 1e9, T: 1e12 }[found[2]];
}

// ---------------------------------------------------------------- the question and the address

function question() {
  const asked = new URLSearchParams();
  for (const field of fields) {
    if (field.closest("[hidden]")) continue;
    const value = field.type === "checkbox" ? (field.checked ? "on" : "") : field.value.trim();
    if (value) asked.set(field.name, value);
  }
  return asked;
}

function addressed() {
  const asked = question();
  if (view !== "plan") asked.set("view", view);
  if (relayed) return; // a frame has no address
  history.replaceState(null, "", asked.size ? "?" + asked : location.pathname);
}

function restore(asked) {
  for (const field of fields) {
    const value = asked.get(field.name) || "";
    if (field.type === "checkbox") field.checked = value === "on";
    else field.value = value;
  }
  const money = ["train-dollars", "dollars-per-question", "total-dollars", "gpu"].some((name) => asked.has(name));
  byId("currency").value = money ? "dollars" : "flops";
  if (asked.get("view")) view = asked.get("view");
  show();
}

/** Show the fields that belong to what is chosen. */
function show() {
  for (const part of form.querySelectorAll("[data-currency]")) part.hidden = part.dataset.currency !== byId("currency").value;
  for (const part of form.querySelectorAll("[data-rule]")) part.hidden = part.dataset.rule !== form.elements.select.value;
  for (const part of document.querySelectorAll("#view > [data-view]")) part.hidden = part.dataset.view !== view;
  form.hidden = view === "regret" || view === "choose"; // they ask of files alone
  byId("copy-python").hidden = view !== "plan";
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.dataset.view === view;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen) byId("view").setAttribute("aria-labelledby", tab.id);
  }
  for (const slider of form.querySelectorAll("[type=range]")) {
    const number = parsed(form.elements[slider.dataset.for].value);
    if (number > 0) slider.value = Math.log10(number);
    slider.setAttribute("aria-valuetext", form.elements[slider.dataset.for].value || "not given");
  }
}

// ---------------------------------------------------------------- asking

let running = null;
async function ask(path, asked) {
  const told = await reach(path, asked, running.signal);
  if (told.error) throw new Error(told.error);
  return told;
}

/** The server's answer; in a notebook the frame around the page hands the question to Python. */
async function reach(path, asked, signal) {
  if (!relayed) return (await fetch(`api/${path}?${asked}`, { signal })).json();
  const id = Math.random();
  return new Promise((resolve, reject) => {
    const listen = (event) => {
      if (event.source !== parent || event.data.id !== id) return;
      removeEventListener("message", listen);
      resolve(event.data.told);
    };
    addEventListener("message", listen);
    signal?.addEventListener("abort", () => {
      removeEventListener("message", listen);
      reject(new DOMException("", "AbortError"));
    });
    parent.postMessage({ id, path, asked: [...asked] }, "*");
  });
}

/** Ask the server what is on the page now. An answer that comes too late is dropped. */
async function refresh() {
  addressed();
  if (held) return;
  if (running) running.abort();
  const mine = (running = new AbortController());
  byId("figure").classList.add("stale");
  const began = performance.now();
  try {
    const asked = question();
    let told;
    if (view === "plan") {
      told = await ask("plan", asked);
      if (mine.signal.aborted) return;
      render(told); // the designs first: the curve of a mean of laws takes longer
      document.body.dataset.answered = Math.round(performance.now() - began);
      Object.assign(told, await ask("curve", asked));
    } else {
      told = await ask(view, beside(asked));
    }
    if (mine.signal.aborted) return;
    render(told);
    complain("");
  } catch (error) {
    if (error.name !== "AbortError") complain(error.message);
  } finally {
    if (running === mine) byId("figure").classList.remove("stale");
  }
}

/** What a view asks beside the question. */
function beside(asked) {
  const more = view === "frontier" || view === "compare" ? asked : new URLSearchParams();
  for (const field of besides) {
    const of = field.closest("[data-view]").dataset.view;
    if (of === view && field.value.trim()) more.set(field.dataset.beside, field.value.trim());
  }
  if (view === "frontier") {
    const budget = parsed(["train-flops", "total-flops", "train-dollars", "total-dollars"].map((name) => asked.get(name)).find(Boolean));
    if (!more.has("low")) more.set("low", (budget / 100).toExponential(3));
    if (!more.has("high")) more.set("high", (budget * 100).toExponential(3));
  }
  if (view === "regret" && besideFiles.table) more.set("table", besideFiles.table[0]);
  if (view === "choose") {
    for (const file of besideFiles.file || []) more.append("file", file);
    if (besideFiles.prices) more.set("prices", besideFiles.prices[0]);
  }
  return more;
}

async function keep(file) {
  const response = await fetch(`api/files?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  const told = await response.json();
  if (!response.ok) throw new Error(told.error);
  return told.file;
}

function complain(text) {
  byId("error").hidden = !text;
  byId("error").textContent = text;
  if (text) {
    byId("headline").textContent = "";
    for (const id of ["table", "warnings", "summary", "bill"]) byId(id).replaceChildren();
    Plotly.purge(byId("figure"));
    byId("figure").replaceChildren();
  }
}

// ---------------------------------------------------------------- showing

function render(told) {
  answer = told;
  byId("summary").textContent = told.summary || "";
  byId("headline").textContent = told.headline || "";
  byId("cost").hidden = true;
  byId("command").textContent = told.command || "";
  const warnings = (told.plan || told).warnings || [];
  byId("warnings").replaceChildren(...warnings.map((text) => element("li", text)));
  if (view === "plan") renderPlan(told);
  else if (view === "frontier") renderFrontier(told);
  else if (view === "compare") clear(table(told.designs || [], ["n_params", "n_tokens", "k", "result", "pass_at_k", "loss"]));
  else if (view === "regret") renderRegret(told);
  else clear();
  if (view !== "plan" && view !== "frontier") byId("summary").closest("details").open = true;
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function tableOf(caption, heads, rows) {
  const made = element("table");
  made.append(element("caption", caption, { style: "text-align:left" }));
  const head = element("tr");
  heads.forEach((text) => head.append(element("th", text, { scope: "col" })));
  made.append(element("thead"));
  made.tHead.append(head);
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    row.forEach((text, place) => line.append(place ? element("td", text) : element("th", text, { scope: "row" })));
    body.append(line);
  }
  made.append(body);
  return made;
}

function table(rows, names) {
  const shown = names.filter((name) => rows.some((row) => row[name] !== undefined && row[name] !== null));
  const write = (name, x) => (["result", "pass_at_k", "loss"].includes(name) ? result(x) : quantity(x));
  return tableOf("", ["", ...shown], rows.map((row, place) => [String(place + 1), ...shown.map((name) => write(name, row[name]))]));
}

/** A view without a figure of its own. */
function clear(...parts) {
  Plotly.purge(byId("figure"));
  byId("figure").replaceChildren();
  byId("figure").removeAttribute("aria-label");
  byId("table").replaceChildren(...parts);
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function layout(more) {
  const narrow = byId("figure").clientWidth < 500;
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true };
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("ink"), size: 13 },
    margin: { l: 60, r: 15, t: 10, b: 30 }, hovermode: "closest", uirevision: view,
    legend: { orientation: "h", y: -0.2, yref: "paper", yanchor: "top", font: { size: narrow ? 11 : 12 }, ...(narrow ? { x: -0.28 } : {}) },
    ...more,
  };
  for (const name of Object.keys(more)) if (/^[xy]axis/.test(name)) made[name] = { ...axis, ...more[name] };
  return made;
}

const draw = (traces, more) =>
  Plotly.react(byId("figure"), traces, layout(more), { responsive: true, displayModeBar: false });

/** Places along the curve, in runs, where something lies beyond the data. */
function runs(curve, name) {
  const found = [];
  curve.forEach((one, place) => {
    if (!(name in one.beyond)) return;
    const last = found[found.length - 1];
    if (last && last[1] === place - 1) last[1] = place;
    else found.push([place, place]);
  });
  return found.map(([from, to]) => [curve[Math.max(0, from - 1)].n_params, curve[Math.min(curve.length - 1, to + 1)].n_params]);
}

function renderPlan(told) {
  const first = told.designs[0];
  const heads = ["", "N", "D", "k", "D/N", told.quantity, ...(told.plan.rule ? ["pass@k"] : []), "90% interval", "beyond the data"];
  byId("table").replaceChildren(tableOf("Designs", heads, told.designs.map((one) => [
    NAMES[one.design] || one.design, quantity(one.n_params), quantity(one.n_tokens), quantity(one.k, 4),
    quantity(one.tokens_per_param), result(one.result), ...(told.plan.rule ? [result(one.pass_at_k)] : []),
    interval(one.interval), beyond(one),
  ])));
  const bill = told.plan.bill;
  byId("cost").hidden = !bill;
  if (bill) {
    const parts = Object.entries(bill.parts).filter(([, seconds]) => seconds > 0).sort((a, b) => b[1] - a[1]);
    byId("bill").replaceChildren(
      tableOf(`A question on ${bill.gpu}`, ["", "", "90% interval"], [
        ["dollars", bill.dollars.toPrecision(3), interval(bill.intervals.dollars)],
        ["card-seconds", bill.seconds.toPrecision(3), interval(bill.intervals.seconds)],
        ["watt-hours", bill.watt_hours.toPrecision(3), interval(bill.intervals.watt_hours)],
        ["seconds to the last answer", bill.latency_seconds.toPrecision(3), interval(bill.intervals.latency_seconds)],
      ]),
      tableOf("Where the time goes", ["", "share"], parts.map(([name, seconds]) => [name, `${Math.round((100 * seconds) / bill.seconds)}%`])),
    );
  }
  if (!told.curve) return;

  const curve = told.curve;
  const x = curve.map((one) => one.n_params);
  const y = curve.map((one) => one.result);
  const sign = told.predicts_pass ? "rates" : "losses";
  const traces = [];
  if (curve.some((one) => one.interval)) {
    const banded = curve.filter((one) => one.interval);
    traces.push({
      x: [...banded.map((one) => one.n_params), ...banded.map((one) => one.n_params).reverse()],
      y: [...banded.map((one) => one.interval[0]), ...banded.map((one) => one.interval[1]).reverse()],
      fill: "toself", fillcolor: colour("band"), line: { width: 0 }, mode: "lines", hoverinfo: "skip", name: "90% interval",
    });
  }
  traces.push({
    x, y, mode: "lines", line: { color: colour("blue"), width: 3 }, name: "best D and k for each N",
    text: curve.map((one) => `N ${quantity(one.n_params)}, D ${quantity(one.n_tokens)}, k ${quantity(one.k)}`),
    hovertemplate: "%{text}<br>%{y:.4f}<extra></extra>",
  });
  const shown = [...y, ...told.designs.map((one) => one.result)];
  // Measured checkpoints are evidence: none is cut off, not even where it contradicts the law.
  const inside = told.measured.filter((one) => one.n_params >= x[0] && one.n_params <= x[x.length - 1]);
  const highest = [...told.designs.map((one) => (one.interval ? one.interval[1] : 0)), ...inside.map((one) => one.interval[1])];
  const top = sign === "rates" ? Math.min(1.02, 1.1 * Math.max(...shown, ...highest)) : Math.max(...told.designs.map((one) => one.result), y[Math.floor(y.length / 2)]) * 1.1;
  const bottom = sign === "rates" ? 0 : 0.97 * Math.min(...shown);
  const patterns = { n_tokens: "/", n_params: ".", k: "\\" };
  for (const name of Object.keys(patterns)) {
    runs(curve, name).forEach(([from, to], place) => traces.push({
      x: [from, to, to, from, from], y: [bottom, bottom, top, top, bottom], fill: "toself", mode: "lines", line: { width: 0 },
      fillpattern: { shape: patterns[name], fgcolor: colour("grey"), bgcolor: "rgba(0,0,0,0)", size: 9, solidity: 0.15 },
      hoverinfo: "skip", name: `${SYMBOLS[name]} beyond the data`, legendgroup: name, showlegend: !place,
    }));
  }
  if (told.measured.length) {
    traces.push({
      x: inside.map((one) => one.n_params), y: inside.map((one) => one.result), mode: "markers", name: "measured checkpoints",
      marker: { symbol: "square", size: 6, color: colour("grey") },
      error_y: { type: "data", symmetric: false, array: inside.map((one) => one.interval[1] - one.result), arrayminus: inside.map((one) => one.result - one.interval[0]), thickness: 1, width: 0, color: colour("grey") },
      text: inside.map((one) => `measured: N ${quantity(one.n_params)}, D ${quantity(one.n_tokens)}, k ${quantity(one.k)}`),
      hovertemplate: "%{text}<br>%{y:.3f}<extra></extra>",
    });
  }
  const marks = { recommended: ["star", 17, "ink"], chinchilla: ["diamond", 11, "green"], unlimited: ["circle-open", 11, "orange"], cheapest_within_1pct: ["triangle-down", 10, "blue"], inside_data: ["circle-open", 11, "orange"] };
  for (const one of told.designs) {
    const [symbol, size, tone] = marks[one.design];
    const ends = one === first && one.interval;
    traces.push({
      x: [one.n_params], y: [one.result], mode: "markers", name: NAMES[one.design],
      marker: { symbol, size, color: colour(tone), line: { width: symbol.endsWith("open") ? 2.5 : 0.5, color: colour(tone) } },
      ...(ends ? { error_y: { type: "data", symmetric: false, array: [ends[1] - one.result], arrayminus: [one.result - ends[0]], color: colour("ink"), thickness: 1.5 } } : {}),
      text: [`${NAMES[one.design]}: N ${quantity(one.n_params)}, D ${quantity(one.n_tokens)}, k ${quantity(one.k, 4)}`],
      hovertemplate: "%{text}<br>%{y:.4f}<extra></extra>",
    });
  }
  const line = (name, label, tone, dash) => ({
    x, y: curve.map((one) => one[name]), yaxis: "y2", mode: "lines", line: { color: colour(tone), width: 2, dash }, name: label,
    hovertemplate: `${label} %{y:.3s}<extra></extra>`,
  });
  traces.push(line("n_tokens", "training tokens D", "green", "dash"));
  if (told.predicts_pass || told.plan.k > 1) traces.push(line("k", "samples k", "orange", "dot"));
  draw(traces, {
    xaxis: { type: "log", title: { text: "parameters N", standoff: 8 }, exponentformat: "B", dtick: 1, anchor: "y2" },
    yaxis: { title: { text: told.quantity }, domain: [0.36, 1], range: [bottom, top] },
    yaxis2: { type: "log", domain: [0, 0.3], exponentformat: "B", nticks: 4, title: { text: "D, k" } },
  });
  byId("figure").setAttribute("aria-label", `${told.quantity} against model size. ${told.headline}`);
}

function renderFrontier(told) {
  const rows = told.rows;
  byId("headline").textContent = `${rows.length} budgets${told.failures.length ? `, ${told.failures.length} of them without a design` : ""}`;
  byId("table").replaceChildren(tableOf("Recommended designs", [told.swept.replace("_", " "), "N", "D", "k", "D/N", "result", "90% interval", "beyond the data"],
    rows.map((one) => [quantity(one.budget), quantity(one.n_params), quantity(one.n_tokens), quantity(one.k, 4), quantity(one.tokens_per_param), result(one.result), interval(one.interval), beyond(one)])));
  const x = rows.map((one) => one.budget);
  const line = (name, label, tone, dash, axis) => ({ x, y: rows.map((one) => one[name]), yaxis: axis, mode: "lines+markers", name: label, line: { color: colour(tone), dash, width: 2 }, hovertemplate: `${label} %{y:.4s}<extra></extra>` });
  const banded = rows.filter((one) => one.interval);
  const traces = banded.length ? [{
    x: [...banded.map((one) => one.budget), ...banded.map((one) => one.budget).reverse()],
    y: [...banded.map((one) => one.interval[0]), ...banded.map((one) => one.interval[1]).reverse()],
    fill: "toself", fillcolor: colour("band"), mode: "lines", line: { width: 0 }, hoverinfo: "skip", name: "90% interval",
  }] : [];
  traces.push(line("result", "result", "blue", "solid", "y"), line("n_params", "parameters N", "ink", "solid", "y2"),
    line("n_tokens", "training tokens D", "green", "dash", "y2"), line("k", "samples k", "orange", "dot", "y2"));
  draw(traces, {
    xaxis: { type: "log", title: { text: told.swept.replace("_", " "), standoff: 8 }, exponentformat: "power", dtick: 1, anchor: "y2" },
    yaxis: { domain: [0.52, 1], rangemode: "tozero", title: { text: "result" } }, yaxis2: { type: "log", domain: [0, 0.46], exponentformat: "B", nticks: 5, title: { text: "N, D, k" } },
  });
  byId("figure").setAttribute("aria-label", "Recommended designs along a sweep of budgets; the table has the numbers");
}

function renderRegret(told) {
  const rows = (told.protocols || []).flatMap((one) => one.rules.map((rule) => [`${one.name}: ${rule.rule}`, result(rule.regret), interval(rule.interval)]));
  clear(...(rows.length ? [tableOf("Regret", ["", "regret", "90% interval"], rows)] : []));
}

// ---------------------------------------------------------------- events

let waiting = 0;
function soon() {
  show();
  clearTimeout(waiting);
  waiting = setTimeout(refresh, 15);
}

form.addEventListener("input", (event) => {
  const of = event.target.dataset.for;
  if (event.target.type === "range") form.elements[of].value = Number((10 ** event.target.value).toPrecision(3)).toExponential().replace("e+", "e");
  if (event.target.type !== "file") soon();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", async (event) => {
  if (event.target.type !== "file" || !event.target.files.length) return;
  try {
    form.elements[event.target.dataset.for].value = await keep(event.target.files[0]);
    soon();
  } catch (error) { complain(error.message); }
});
byId("view").addEventListener("change", async (event) => {
  const of = event.target.dataset.besideFile;
  try {
    if (of) besideFiles[of] = await Promise.all([...event.target.files].map(keep));
    refresh();
  } catch (error) { complain(error.message); }
});
byId("tabs").addEventListener("click", (event) => {
  if (!event.target.dataset.view) return;
  view = event.target.dataset.view;
  byId("table").replaceChildren();
  soon();
});
byId("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});

function say(text) {
  byId("said").textContent = text;
  setTimeout(() => (byId("said").textContent = ""), 3000);
}
async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch { // no permission: show it to be copied by hand
    byId("command").textContent = text;
    say(`copy the ${what} below`);
  }
}
byId("copy-command").addEventListener("click", () => answer?.command && copy(answer.command, "command"));
byId("copy-python").addEventListener("click", () => answer?.python && copy(answer.python, "Python"));
const picture = (format) => byId("figure").data && Plotly.downloadImage(byId("figure"), { format, filename: "t2fast-plan", width: 1000, height: 700 });
byId("save-png").addEventListener("click", () => picture("png"));
byId("save-svg").addEventListener("click", () => picture("svg"));
byId("save-json").addEventListener("click", () => {
  if (!answer) return;
  const link = element("a", "", { href: URL.createObjectURL(new Blob([JSON.stringify(answer.plan || answer, null, 2)], { type: "application/json" })), download: "t2fast-plan.json" });
  link.click();
  URL.revokeObjectURL(link.href);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => answer && render(answer));

// ---------------------------------------------------------------- beginning

if (held) {
  restore(new URLSearchParams(held.question));
  for (const part of form.querySelectorAll("input, select")) part.disabled = true;
  byId("tabs").hidden = true;
  render(held.answer);
} else {
  const asked = new URLSearchParams(relayed ? JSON.parse(byId("relayed").textContent) : location.search);
  // A notebook's own files are read by the notebook.
  if (relayed) for (const tab of document.querySelectorAll("[data-view=regret], [data-view=choose], .file")) tab.remove();
  if (!asked.size) { asked.set("train-flops", "1e22"); asked.set("inference-flops", "1.4e11"); }
  restore(asked);
  refresh();
  reach("laws", []).then((laws) => {
    byId("laws").replaceChildren(...laws.map((law) => element("option", law.title || "", { value: law.name })));
  });
}
