// Ask two questions every two seconds, draw the answers. No state is kept here but the chosen merchant and window.
"use strict";
const REFRESH_MS = 2000;
const PALETTE = ["#4063d8", "#e07b39", "#2a9d6f", "#c0426f", "#8d6bd1", "#d1a12e", "#3aa5b9", "#9c5a3c",
  "#6b8e23", "#e26d8f", "#50719c", "#b06ad6", "#2f7f5f", "#d8583f", "#7a7f87", "#c7a0d8"];
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const mixChart = echarts.init($("mix"), dark ? "dark" : null);
const shareChart = echarts.init($("share"), dark ? "dark" : null);
addEventListener("resize", () => { mixChart.resize(); shareChart.resize(); });
let chosen = new URLSearchParams(location.search).get("merchant") || "";

const tint = (type) => PALETTE[(parseInt(type.replace(/\D/g, ""), 10) || 0) % PALETTE.length];
const coarse = (path) => (path || "?").split(".")[0];
const number = (value) => Number(value).toLocaleString("en", { maximumFractionDigits: 1 });
const moment = (ms) => new Date(ms).toISOString().slice(5, 16).replace("T", " ");

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  return made;
}

function table(target, rows) {
  target.replaceChildren(...rows.map((cells) => {
    const line = element("tr", null);
    line.append(...cells.map((cell) => element("td", cell)));
    return line;
  }));
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
  table($("rejections"), overview.rejections.map((r) => [r.reason, number(r.events)]));
  if (!chosen && merchants.length) chosen = merchants[0].merchant_id;
  $("merchants").replaceChildren(...merchants.map((merchant) => {
    const item = element("li", null);
    const button = element("button", null, { "aria-pressed": merchant.merchant_id === chosen });
    button.append(element("span", merchant.merchant_id), element("span", number(merchant.sessions), { class: "n" }));
    button.onclick = () => { chosen = merchant.merchant_id; refresh(); };
    item.append(button);
    return item;
  }));
}

function namesOf(personas) {
  const names = {};
  personas.filter((p) => p.code < 0).forEach((p) => { names[p.code_path] = p.name; });
  return names;
}

function showMix(answer, names) {
  const times = [...new Set(answer.mix.map((row) => row.at))].sort((a, b) => a - b);
  const at = new Map(times.map((time, position) => [time, position]));
  const totals = times.map(() => 0);
  answer.mix.forEach((row) => { totals[at.get(row.at)] += row.sessions; });
  const types = [...new Set(answer.mix.map((row) => row.type))].sort();
  const marks = answer.drifts.map((d) => ({ xAxis: d.at, label: { formatter: "drift" } }));
  mixChart.setOption({
    backgroundColor: "transparent", animation: false,
    grid: { left: 45, right: 15, top: 15, bottom: 30 },
    tooltip: { trigger: "axis", valueFormatter: (v) => `${(100 * v).toFixed(1)} %`, confine: true, order: "valueDesc" },
    xAxis: { type: "time" }, yAxis: { type: "value", max: 1, axisLabel: { formatter: (v) => `${Math.round(100 * v)} %` } },
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
  shareChart.setOption({
    backgroundColor: "transparent", animation: false,
    grid: { left: 230, right: 50, top: 5, bottom: 5 }, xAxis: { type: "value", show: false },
    yAxis: { type: "category", data: rows.map(([type]) => names[type] || type), axisTick: { show: false }, axisLabel: { width: 215, overflow: "truncate" } },
    series: [{ type: "bar", data: rows.map(([type, value]) => ({ value, itemStyle: { color: tint(type) } })),
      label: { show: true, position: "right", formatter: (p) => `${(100 * p.value).toFixed(1)} %` } }],
  }, { notMerge: true });
}

function showCards(answer) {
  const types = answer.personas.filter((p) => p.code < 0);
  const heaviest = Math.max(...types.map((p) => p.share), 1e-9);
  $("cards").replaceChildren(...types.map((persona) => {
    const card = element("article", null, { class: "card persona", style: `--tint:${tint(coarse(persona.code_path))}` });
    const bar = element("div", null, { class: "bar" });
    bar.append(element("i", "", { style: `width:${100 * persona.share / heaviest}%` }));
    card.append(element("h3", persona.name), element("span", `${persona.code_path} · ${(100 * persona.share).toFixed(1)} %`, { class: "muted" }),
      element("p", persona.sentence), bar);
    return card;
  }));
}

function showDrifts(answer) {
  table($("drifts"), answer.drifts.length
    ? answer.drifts.slice(0, 8).map((d) => [moment(d.at), d.detector, `${number(d.statistic * 1000)} > ${number(d.threshold * 1000)} mnat`])
    : [["No drift so far."]]);
}

async function refresh() {
  try {
    showOverview(await ask("/api/overview"));
    if (!chosen) return;
    const answer = await ask(`/api/merchant/${encodeURIComponent(chosen)}?window=${$("window").value}`);
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
