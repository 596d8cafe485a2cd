// The page's start: link to store, store to views, choices to URL; one paint per frame at most.

import { html, nothing, render } from "./vendor/lit-html.js";
import { count, many, timeOfDay } from "./format.js";
import { HostList } from "./hosts.js";
import { KEYS, actionOf } from "./keys.js";
import { Link, socketUrl } from "./socket.js";
import { Store } from "./store.js";
import { METRICS, SORTS, readView, writeView } from "./url.js";
import { choices } from "./views/bar.js";
import { banner, pill } from "./views/link.js";
import { summaryTiles } from "./views/summary.js";
import { UsersPanel } from "./views/users.js";

/** @import { View } from "./types.js" */

const REDRAW_SECONDS = 15;
const THEMES = ["auto", "light", "dark"];

const store = new Store();
let view = readView(location.search);
let drawAll = true;
let drawnAllAt = -Infinity;
let planned = false;
let wasLive = false;
let started = false;
let assets = /** @type {string | undefined} */ (undefined);

const clock = () => performance.now() / 1000;
const link = new Link(
  socketUrl(document.baseURI),
  {
    open: (url, protocols) => new WebSocket(url, protocols),
    clock,
    later: (run, seconds) => window.setTimeout(run, seconds * 1000),
    cancel: (timer) => window.clearTimeout(timer),
    random: Math.random,
  },
  (message) => {
    if (!store.take(message)) return false;
    if (message.type === "fleet") drawAll = true;
    if (store.fleet !== null) link.allowSilence(store.fleet.stale_after_seconds);
    plan();
    return true;
  },
  () => plan(),
);
const list = new HostList(at("hosts"), store, () => view, (open, opened) => choose({ open }, opened));
const panel = new UsersPanel(at("users"), (name) => choose({ q: view.q === name ? "" : name }), plan);

/** @param {string} id */
function at(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** Asks for a paint in the next frame; none while nobody looks. */
function plan() {
  if (planned || document.hidden) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    paint();
  });
}

/** The broker's time now: its last word and the time since, unless it is silent. */
function brokerNow() {
  const now = store.fleet?.now ?? 0;
  if (store.brokerLost() || link.state.state !== "live" || link.heardAt === null) return now;
  return now + (clock() - link.heardAt);
}

function paint() {
  const { fleet } = store;
  render(pill(link.state, fleet, clock(), link.heardAt), at("link"));
  render(banner(link.state, fleet, outdated()), at("banner"));
  if (fleet === null) return;
  if (!started) at("summary").replaceChildren(); // The skeleton was there for the first paint.
  started = true;
  const overview = store.overview();
  const live = link.state.state === "live" && !store.brokerLost();
  if (live !== wasLive || clock() - drawnAllAt > REDRAW_SECONDS) drawAll = true;
  wasLive = live;
  document.body.classList.toggle("not-live", !live);
  document.title = fleet.simulated ? "GPUs (simulated)" : "GPUs";
  at("simulated").hidden = !(fleet.simulated ?? false);
  const hosts = store.names().length;
  at("size").textContent = hosts === 0 ? "" : `${many(hosts, "host")} · ${many(overview.gpus, "GPU")}`;
  render(summaryTiles(fleet.totals, overview, (show) => choose({ show }), goTo), at("summary"));
  render(choices(view, fleet.totals, overview, choose, toggleUsers), at("bar"));
  const shown = list.update(store.takeDirty(), drawAll, brokerNow(), clock());
  if (drawAll) drawnAllAt = clock();
  drawAll = false;
  paintFound(shown, hosts);
  panel.paint(fleet.users, view.q, brokerNow(), clock());
  render(about(), at("about"));
}

/**
 * @param {number} shown
 * @param {number} hosts
 */
function paintFound(shown, hosts) {
  const filtered = view.q !== "" || view.show !== "all";
  at("found").textContent = filtered ? `${count(shown)} of ${many(hosts, "host")}` : "";
  at("hosts").hidden = shown === 0;
  if (hosts === 0) {
    render(html`<p class="card empty">${store.brokerLost()
      ? "No host is known before the broker is heard."
      : html`No host reports yet. On a machine with GPUs: <code>gpu-monitor collector</code>`}</p>`, at("empty"));
  } else if (shown === 0) {
    const what = [view.q && `“${view.q}”`, view.show !== "all" && `filter: ${view.show}`].filter(Boolean).join(", ");
    render(html`<p class="card empty">No host matches ${what}.
      <button type="button" @click=${clear}>Clear (Esc)</button></p>`, at("empty"));
  } else render(nothing, at("empty"));
}

function about() {
  const { broker, web } = store.fleet ?? {};
  const refused = Object.entries(broker?.refused ?? {}).map(([reason, n]) => `${reason} ${count(n)}`);
  return html`${broker?.started_at === undefined
    ? nothing
    : html`<span>broker ${broker.version} since ${timeOfDay(broker.started_at)}</span>`}
    <span>web ${web?.version ?? ""}</span>${refused.length === 0
      ? nothing
      : html`<span>refused messages: ${refused.join(", ")}</span>`}`;
}

/** Whether the server's files have changed since this page was loaded. */
function outdated() {
  const current = store.fleet?.web?.assets;
  assets ??= current;
  return current !== assets;
}

/**
 * Takes a choice over into the view and the address.
 * @param {Partial<View>} change
 * @param {boolean} [step] whether Back should undo it
 */
function choose(change, step = false) {
  if (change.sort !== undefined) list.reorder();
  view = { ...view, ...change };
  const address = location.pathname + writeView(view);
  if (step) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  show();
}

function show() {
  const search = /** @type {HTMLInputElement} */ (at("search"));
  if (search.value !== view.q) search.value = view.q;
  drawAll = true;
  plan();
}

function clear() {
  at("search").blur();
  choose({ q: "", show: "all" });
}

/** Opens a host and goes there, out of whatever filter. @param {string} name */
function goTo(name) {
  choose({ q: "", show: "all", open: new Set([...list.open(), name]) }, true);
  requestAnimationFrame(() => list.focus(name));
}

function toggleUsers() {
  if (document.body.classList.toggle("show-users")) at("users").querySelector("button")?.focus();
}

function nextTheme() {
  const root = document.documentElement;
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length] ?? "auto";
  root.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage may be forbidden; the choice then lasts until the page is left.
  }
}

function help() {
  const dialog = /** @type {HTMLDialogElement} */ (at("keys"));
  render(html`<h2>Keys</h2><dl>${Object.entries(KEYS).map(
    ([key, words]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${words}</dd></div>`,
  )}</dl><form method="dialog"><button>Close</button></form>`, dialog);
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

/**
 * The choice after the one that holds.
 * @template T
 * @param {readonly T[]} all
 * @param {T} one
 */
function after(all, one) {
  return /** @type {T} */ (all[(all.indexOf(one) + 1) % all.length]);
}

/** @type {Record<string, () => void>} */
const actions = {
  "/": () => at("search").focus(),
  j: () => list.focusNext(1),
  k: () => list.focusNext(-1),
  a: () => choose({ show: "all" }),
  i: () => choose({ show: "idle" }),
  m: () => choose({ metric: after(METRICS, view.metric) }),
  s: () => choose({ sort: after(SORTS, view.sort) }),
  u: toggleUsers,
  t: nextTheme,
  "?": help,
  Esc: clear,
};

document.addEventListener("keydown", (event) => {
  const dialog = /** @type {HTMLDialogElement} */ (at("keys"));
  const action = actionOf(event);
  if (action === null || (dialog.open && action !== "?")) return;
  event.preventDefault();
  actions[action]?.();
});
at("search").addEventListener("input", (event) => choose({ q: /** @type {HTMLInputElement} */ (event.target).value }));
at("theme").addEventListener("click", nextTheme);
at("help").addEventListener("click", help);
window.addEventListener("popstate", () => {
  view = readView(location.search);
  show();
});
window.addEventListener("online", () => link.retryNow());
document.addEventListener("visibilitychange", () => {
  link.check();
  drawAll = true;
  plan();
});

let tickedAt = Date.now();
window.setInterval(() => {
  // Timers stand still while the machine sleeps, and so may the page's clock; the wall clock does
  // not. What is on the page is old then, whatever the socket thinks.
  const slept = (Date.now() - tickedAt) / 1000;
  tickedAt = Date.now();
  if (!document.hidden && slept > 5 + (store.fleet?.stale_after_seconds ?? 2)) link.restart();
  if (link.state.state !== "live") plan();
}, 1000);
show();
