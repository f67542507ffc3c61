// Ask two questions every two seconds, draw the answers. No state is kept here but the chosen merchant and window.
"use strict";
const REFRESH_MS = 2000;
// More than an encoder has types; no two closer than 0.12 in OKLab.
const PALETTE = ["#4063d8", "#e07b39", "#2a9d6f", "#c0426f", "#8d6bd1", "#d1a12e", "#3aa5b9", "#fe92e3",
  "#775c14", "#53da6e", "#146e80", "#a4b6fe", "#892f9b", "#b689a4", "#a4c8ad", "#147714",
  "#fe6589", "#4192fe", "#a42f14", "#f5a49b", "#805c77", "#9b8014", "#d15cbf", "#80ad14"];
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const mixChart = echarts.init($("mix"), dark ? "dark" : null);
const shareChart = echarts.init($("share"), dark ? "dark" : null);
const fitCharts = () => { mixChart.resize(); shareChart.resize(); };
addEventListener("resize", fitCharts);
let chosen = new URLSearchParams(location.search).get("merchant") || "";

const tint = (type) => PALETTE[(parseInt(type.replace(/\D/g, ""), 10) || 0) % PALETTE.length];
const coarse = (path) => (path || "?").split(".")[0];
const number = (value) => Number(value).toLocaleString("en", { maximumFractionDigits: 1 });
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const moment = (ms) => new Date(ms).toISOString().slice(5, 16).replace("T", " ");

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  return made;
}

function row(tag, cells) {
  const line = element("tr", null);
  line.append(...cells.map((cell) => element(tag, cell, tag === "th" ? { scope: "col" } : {})));
  return line;
}

function table(target, heads, rows) {
  target.replaceChildren(...(rows.length ? [row("th", heads), ...rows.map((cells) => row("td", cells))] : []));
}

async function ask(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

function showOverview(overview) {
  const { totals, progress, merchants } = overview;
  $("speed").textContent = progress.error ? "–" : number(progress.events_per_s);
  $("lag").textContent = progress.error ? "–" : number(progress.lag);
  $("finals").textContent = number(totals.final_sessions);
  $("open").textContent = number(totals.open_sessions);
  $("drift-count").textContent = number(totals.drifts);
  $("returned").textContent = totals.returned ? `${Math.round(100 * totals.returned_as_own_type / totals.returned)} %` : "–";
  $("books").textContent = totals.unbalanced_books ? `${totals.unbalanced_books} open` : "balanced";
  $("trouble").textContent = progress.error || "";
  table($("rejections"), ["reason", "events"], overview.rejections.map((r) => [r.reason, number(r.events)]));
  if (!chosen && merchants.length) chosen = merchants[0].merchant_id;
  showMerchants(merchants);
  const wasHidden = $("merchant").hidden;
  $("empty").hidden = Boolean(chosen);
  $("merchant").hidden = !chosen;
  if (wasHidden && chosen) fitCharts();
}

// Buttons stay the same ones, so that a click or the keyboard's focus outlives the next answer.
const buttons = new Map();

function buttonOf(id) {
  if (!buttons.has(id)) {
    const button = element("button", null);
    button.append(element("span", id), element("span", "", { class: "n" }));
    button.onclick = () => { chosen = id; showChosen(); refresh(); };
    const item = element("li", null);
    item.append(button);
    buttons.set(id, button);
  }
  return buttons.get(id);
}

function showChosen() {
  for (const [id, button] of buttons) button.setAttribute("aria-pressed", id === chosen);
}

function showMerchants(merchants) {
  const list = $("merchants");
  const focused = document.activeElement;
  merchants.forEach(({ merchant_id, sessions, open }, place) => {
    const button = buttonOf(merchant_id);
    const count = sessions || !open ? number(sessions) : `${number(open)} open`;
    if (button.lastChild.textContent !== count) button.lastChild.textContent = count;
    if (list.children[place] !== button.parentElement) list.insertBefore(button.parentElement, list.children[place] || null);
  });
  while (list.children.length > merchants.length) {
    buttons.delete(list.lastChild.querySelector("span").textContent);
    list.lastChild.remove();
  }
  // A moved button loses the focus.
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
  showChosen();
}

function namesOf(personas) {
  const names = {};
  personas.filter((p) => p.code < 0).forEach((p) => { names[p.code_path] = p.name; });
  return names;
}

const NOTHING = "No session has finished yet.";
const unless = (some) => some ? undefined : { text: NOTHING, left: "center", top: "middle", textStyle: { fontSize: 14, fontWeight: "normal" } };
const told = (shares) => shares.sort((a, b) => b[1] - a[1]).map(([name, share]) => `${name} ${percent(share)}`).join(", ");
const describe = (chart, some, text) => $(chart).setAttribute("aria-label", some ? text : NOTHING);

function showMix(answer, names) {
  const times = [...new Set(answer.mix.map((row) => row.at))].sort((a, b) => a - b);
  const at = new Map(times.map((time, position) => [time, position]));
  const totals = times.map(() => 0);
  answer.mix.forEach((row) => { totals[at.get(row.at)] += row.sessions; });
  const types = [...new Set(answer.mix.map((row) => row.type))].sort();
  const marks = answer.drifts.map((d) => ({ xAxis: d.at, label: { formatter: "drift" } }));
  const last = answer.mix.filter((row) => row.at === times.at(-1));
  describe("mix", times.length, `Shares of buyer types in ${times.length} windows of ${$("window").value}; in the last one, from ` +
    `${moment(times.at(-1) || 0)} UTC: ` + told(last.map((row) => [names[row.type] || row.type, row.sessions / totals.at(-1)])));
  mixChart.setOption({
    title: unless(times.length), backgroundColor: "transparent", animation: false,
    grid: { left: 45, right: 15, top: 15, bottom: 30 },
    tooltip: { trigger: "axis", valueFormatter: percent, confine: true, order: "valueDesc" },
    xAxis: { type: "time", show: times.length > 0 }, yAxis: { type: "value", max: 1, show: times.length > 0, axisLabel: { formatter: (v) => `${Math.round(100 * v)} %` } },
    series: types.map((type, position) => {
      const values = times.map((time) => [time, 0]);
      answer.mix.filter((row) => row.type === type)
        .forEach((row) => { values[at.get(row.at)][1] = row.sessions / totals[at.get(row.at)]; });
      return { name: `${type} ${names[type] || ""}`, type: "line", stack: "mix", areaStyle: { opacity: .85 }, symbol: "none",
        lineStyle: { width: 0 }, color: tint(type), data: values,
        markLine: position ? undefined : { symbol: "none", silent: true, data: marks, lineStyle: { color: "#d00", width: 2 } } };
    }),
  }, { notMerge: true });
}

function showShare(answer, names) {
  const weights = {};
  answer.latest.forEach((row) => { weights[coarse(row.code_path)] = (weights[coarse(row.code_path)] || 0) + row.weight; });
  const rows = Object.entries(weights).sort((a, b) => a[1] - b[1]);
  const first = answer.latest[0];
  $("asof").textContent = first ? `as of ${first.as_of.slice(5, 16)} UTC, worth ${number(first.n_effective)} sessions` : "";
  describe("share", rows.length, `Shares of buyer types now: ${told(rows.map(([type, value]) => [names[type] || type, value]))}`);
  const nameWidth = Math.min(215, shareChart.getWidth() / 2);
  shareChart.setOption({
    title: unless(rows.length), backgroundColor: "transparent", animation: false,
    grid: { left: nameWidth + 15, right: 50, top: 5, bottom: 5 }, xAxis: { type: "value", show: false },
    yAxis: { type: "category", show: rows.length > 0, data: rows.map(([type]) => names[type] || type), axisTick: { show: false },
      axisLabel: { width: nameWidth, overflow: "truncate" } },
    series: [{ type: "bar", data: rows.map(([type, value]) => ({ value, itemStyle: { color: tint(type) } })),
      label: { show: true, position: "right", formatter: (p) => percent(p.value) } }],
  }, { notMerge: true });
}

function showCards(answer) {
  const types = answer.personas.filter((p) => p.code < 0);
  const heaviest = Math.max(...types.map((p) => p.share), 1e-9);
  $("cards").replaceChildren(...types.map((persona) => {
    const card = element("article", null, { class: "card persona", style: `--tint:${tint(coarse(persona.code_path))}` });
    const bar = element("div", null, { class: "bar" });
    bar.append(element("i", "", { style: `width:${100 * persona.share / heaviest}%` }));
    card.append(element("h3", persona.name), element("span", `${persona.code_path} · ${percent(persona.share)}`, { class: "muted" }),
      element("p", persona.sentence), bar);
    return card;
  }));
}

const millinats = (nats) => nats === null ? "∞" : number(nats * 1000);

function showDrifts(answer) {
  $("no-drift").hidden = answer.drifts.length > 0;
  table($("drifts"), ["when (UTC)", "found by", "statistic"], answer.drifts.slice(0, 8)
    .map((d) => [moment(d.at), d.detector, `${millinats(d.statistic)} > ${millinats(d.threshold)} mnat`]));
}

async function refresh() {
  try {
    showOverview(await ask("/api/overview"));
    if (!chosen) return;
    const asked = { id: chosen, window: $("window").value };
    const answer = await ask(`/api/merchant?${new URLSearchParams(asked)}`);
    // Meanwhile another one may have been chosen, whose answer is on its way.
    if (asked.id !== chosen || asked.window !== $("window").value) return;
    const names = namesOf(answer.personas);
    $("who").textContent = chosen;
    showMix(answer, names);
    showShare(answer, names);
    showDrifts(answer);
    showCards(answer);
  } catch (error) {
    $("trouble").textContent = error.message;
  }
}

$("window").onchange = refresh;
async function forever() {
  await refresh();
  setTimeout(forever, REFRESH_MS);
}
forever();
