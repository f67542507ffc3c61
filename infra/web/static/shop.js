// The storefront's pixel: one event per page, cart moves as they happen, all through the gateway.
"use strict";
const page = document.body.dataset;
const store = window.localStorage;
const clientId = store.getItem("client") || crypto.randomUUID();
store.setItem("client", clientId);
const cartKey = `cart:${page.merchant}`;
const cart = () => JSON.parse(store.getItem(cartKey) || "[]");
const total = () => cart().reduce((sum, line) => sum + line.price, 0);

function send(name, fields = {}) {
  const device = matchMedia("(pointer: coarse)").matches ? "mobile" : "desktop";
  const event = { event_id: crypto.randomUUID(), merchant_id: page.merchant, client_id: clientId, event_name: name,
    occurred_at: Date.now(), url_path: location.pathname, device, ...fields };
  return fetch("/collect", { method: "POST", body: JSON.stringify(event), keepalive: true });
}

function product() {
  return { product_id: page.product, category: page.category, price_minor: Number(page.price), currency: page.currency };
}

function saveCart(lines) {
  store.setItem(cartKey, JSON.stringify(lines));
  showCart();
}

function showCart() {
  document.getElementById("cart-count").textContent = cart().length;
  const list = document.getElementById("cart");
  if (list) {
    list.replaceChildren(...cart().map((line, at) => {
      const item = document.createElement("li");
      item.textContent = `${line.id} – ${(line.price / 100).toFixed(2)} `;
      const remove = document.createElement("button");
      remove.textContent = "Remove";
      remove.onclick = () => {
        saveCart(cart().filter((_, other) => other !== at));
        send("product_removed_from_cart", { product_id: line.id, price_minor: line.price, quantity: 1 });
      };
      item.append(remove);
      return item;
    }));
  }
  const sum = document.getElementById("total");
  if (sum) sum.textContent = (total() / 100).toFixed(2);
}

async function showVisitor() {
  const answer = await fetch(`/api/visitor/${encodeURIComponent(page.merchant)}/${clientId}`);
  if (!answer.ok) return;
  const seen = await answer.json();
  if (!seen.events) return;
  document.getElementById("visitor").textContent =
    `After ${seen.events} events the stream takes you for: ${seen.name || seen.code_path} ` +
    `(${Math.round(100 * seen.confidence)} % sure). ${seen.sentence || ""}`;
}

if (page.event === "product_viewed") send(page.event, product());
else if (page.event === "search_submitted") send(page.event, { query: page.query });
else if (page.event === "collection_viewed") send(page.event, { category: page.category });
else if (["cart_viewed", "checkout_started", "checkout_completed"].includes(page.event))
  send(page.event, { price_minor: total(), quantity: 1 });
else send(page.event);
if (page.event === "checkout_completed") saveCart([]);

const add = document.getElementById("add");
if (add) add.onclick = () => {
  saveCart([...cart(), { id: page.product, price: Number(page.price) }]);
  send("product_added_to_cart", { ...product(), price_minor: total(), quantity: 1 });
};
const pay = document.getElementById("pay");
if (pay) pay.onclick = async () => {
  await send("payment_info_submitted", { price_minor: total(), quantity: 1 });
  location.href = `/shop/${page.merchant}/thanks`;
};
showCart();
showVisitor();
setInterval(showVisitor, 2000);
