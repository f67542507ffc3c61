// The storefront's pixel and its basket: one event per page, cart moves as they happen, all through the gateway.
// Which events there are, and which columns they carry, is the merchant's own: data-events, data-fields.
"use strict";
const page = document.body.dataset;
const store = window.localStorage;
const events = new Set(JSON.parse(page.events));
const fields = JSON.parse(page.fields);
const RECENT = 8;
const clientId = store.getItem("client") || crypto.randomUUID();
store.setItem("client", clientId);
const cartKey = `cart:${page.merchant}`;
const recentKey = `recent:${page.merchant}`;
const read = (key) => JSON.parse(store.getItem(key) || "[]");
const cart = () => read(cartKey);
const total = () => cart().reduce((sum, line) => sum + line.price * line.quantity, 0);
const money = (minor, currency) => `${(minor / 100).toFixed(2)} ${currency}`.trim();

function send(name, values = {}) {
  if (!events.has(name)) return Promise.resolve();
  const carried = Object.fromEntries((fields[name] || []).filter((column) => values[column]).map((column) => [column, values[column]]));
  if (carried.price_minor) carried.currency = values.currency;
  const device = matchMedia("(pointer: coarse)").matches ? "mobile" : "desktop";
  const event = { event_id: crypto.randomUUID(), merchant_id: page.merchant, client_id: clientId, event_name: name,
    occurred_at: Date.now(), url_path: location.pathname, device, ...carried };
  return fetch("/collect", { method: "POST", body: JSON.stringify(event), keepalive: true });
}

const itemOf = ({ id, title, category, price, currency }) => ({ id, title, category, price: Number(price), currency });
const product = (item, quantity = 1) =>
  ({ product_id: item.id, category: item.category, price_minor: item.price, currency: item.currency, quantity });

// On steps of the checkout the price is the whole cart's, and the product its last line.
function whole() {
  const last = cart().at(-1);
  return last ? { ...product(last), price_minor: total() } : {};
}

function saveCart(lines) {
  store.setItem(cartKey, JSON.stringify(lines));
  showCart();
}

function add(item, quantity) {
  saveCart([...cart(), { ...item, quantity }]);
  send("product_added_to_cart", product(item, quantity));
}

function line(entry, at) {
  const item = document.createElement("li");
  item.textContent = `${entry.quantity} × ${entry.title} ${entry.price ? money(entry.price, entry.currency) : ""} `;
  if (page.removable) {
    const remove = document.createElement("button");
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove ${entry.id}`);
    remove.onclick = () => {
      saveCart(cart().filter((_, other) => other !== at));
      send("product_removed_from_cart", product(entry, entry.quantity));
    };
    item.append(remove);
  }
  return item;
}

function showCart() {
  const lines = cart();
  const count = document.getElementById("cart-count");
  if (count) count.textContent = lines.length;
  const basket = document.getElementById("basket");
  if (basket) {
    basket.hidden = !lines.length;
    document.getElementById("lines").replaceChildren(...lines.map(line));
  }
  const sum = document.getElementById("total");
  if (sum) sum.textContent = money(total(), lines.at(-1)?.currency || "");
}

function showRecent() {
  const section = document.getElementById("recent");
  if (!section) return;
  const items = read(recentKey);
  section.hidden = !items.length;
  section.querySelector("ul").replaceChildren(...items.map((item) => {
    const entry = document.createElement("li");
    const link = document.createElement("a");
    link.href = `${page.base}/product/${encodeURIComponent(item.id)}`;
    const told = [item.title, item.category, page.priced && item.price ? money(item.price, item.currency) : ""];
    link.setAttribute("aria-label", told.filter(Boolean).join(" · "));
    link.textContent = item.title;
    entry.append(link);
    return entry;
  }));
}

function showDialogs() {
  for (const cover of document.querySelectorAll("[data-dialog]")) {
    const isCookies = cover.dataset.dialog === "cookies";
    if (isCookies) cover.hidden = store.getItem("cookies") === "accepted";
    cover.querySelector("button").onclick = () => {
      if (isCookies) store.setItem("cookies", "accepted");
      cover.remove();
    };
  }
}

async function showVisitor() {
  const answer = await fetch(`/api/visitor?${new URLSearchParams({ merchant: page.merchant, client: clientId })}`);
  if (!answer.ok) return;
  const seen = await answer.json();
  if (!seen.events) return;
  document.getElementById("visitor").textContent =
    `After ${seen.events} events the stream takes you for: ${seen.name || seen.code_path} ` +
    `(${Math.round(100 * seen.confidence)} % sure). ${seen.sentence || ""}`;
}

const shown = document.getElementById("product");
if (shown) {
  const item = itemOf(shown.dataset);
  store.setItem(recentKey, JSON.stringify([item, ...read(recentKey).filter((other) => other.id !== item.id)].slice(0, RECENT)));
  const button = document.getElementById("add");
  if (button) button.onclick = () => add(item, Number(document.getElementById("quantity").value));
}
for (const button of document.querySelectorAll("[data-add]"))
  button.onclick = () => add(itemOf(button.parentElement.dataset), 1);
showDialogs();
showRecent();
showCart();

// Last of all, so that whoever hears of the event finds the page complete.
if (shown) send(page.event, product(itemOf(shown.dataset)));
else if (page.event === "search_submitted") send(page.event, { query: page.query });
else if (page.event === "collection_viewed") send(page.event, { category: page.category });
else if (page.event === "page_viewed") send(page.event);
else if (page.event !== "checkout_completed") send(page.event, whole());
// An order is placed by coming to its page, not by loading that again.
else if (performance.getEntriesByType("navigation")[0].type === "navigate") {
  send(page.event, whole());
  saveCart([]);
}
if (page.visitor) {
  showVisitor();
  setInterval(showVisitor, 2000);
}
