// The page's start: link to store, store to views, choices to URL; one paint per frame at most.

import { html, nothing, render } from "./vendor/lit-html.js";
import { Filter } from "./filter/filter.js";
import { toCsv } from "./csv.js";
import { count, many, timeOfDay } from "./format.js";
import { Recent } from "./state/last-hour.js";
import { HostList } from "./list/host-list.js";
import { KEYS, QUERY_HELP, SHOWN, actionOf } from "./keyboard.js";
import { valueOf, withValue } from "./filter/query.js";
import { Link, socketUrl } from "./link/socket.js";
import { Store } from "./state/store.js";
import { openWithTicket } from "./link/ticket.js";
import { METRICS, SORTS, readView, writeView } from "./pages/live-url.js";
import { choices } from "./views/filter-bar.js";
import { answer, question, toldBanner } from "./views/finder-panel.js";
import { banner, pill } from "./views/link-status.js";
import { FleetMap } from "./map/fleet-map.js";
import { summaryTiles } from "./views/summary-tiles.js";
import { UsersPanel } from "./views/users-panel.js";
import { Watch } from "./filter/watch.js";

/** @import { View } from "./types.js" */

const REDRAW_SECONDS = 15;
const THEMES = ["auto", "light", "dark"];

const store = new Store();
const filter = new Filter(store);
const watch = new Watch(window.Notification, () => {
  retitle();
  plan();
});
let view = readView(location.search);
let drawAll = true;
let drawnAllAt = -Infinity;
let planned = false;
let wasLive = false;
let started = false;
let screenTheme = "auto";
let assets = /** @type {string | undefined} */ (undefined);

const clock = () => performance.now() / 1000;
const link = new Link(
  socketUrl(document.baseURI),
  {
    open: (url, protocols) => openWithTicket(url, protocols, () => ask("ticket")),
    clock,
    wall: () => Date.now() / 1000,
    later: (run, seconds) => window.setTimeout(run, seconds * 1000),
    cancel: (timer) => window.clearTimeout(timer),
    random: Math.random,
  },
  (message, old) => {
    if (!store.take(message)) return false;
    if (message.type === "fleet") {
      drawAll = true;
      recent.renew();
      assets ??= store.fleet?.web?.assets; // before a patch may tell of others
    }
    if (store.fleet !== null) link.allowSilence(store.fleet.stale_after_seconds);
    if (old) return true;
    if (!store.brokerLost()) watch.look(store.fleet?.hosts ?? {});
    plan();
    return true;
  },
  () => plan(),
);
const recent = new Recent(async (path) => {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}, clock, () => {
  drawAll = true;
  plan();
});
const list = new HostList(at("hosts"), store, filter, recent, () => view, (open, opened) => choose({ open }, opened));
const map = new FleetMap(at("map"), { store, view: () => view, mask: (name) => list.mask(name), goTo, choose, plan });
const panel = new UsersPanel(at("users"), chooseUser, (by) => choose({ by }), plan);

/** @param {string} path below api/v1/ */
function ask(path) {
  return fetch(new URL(`api/v1/${path}`, document.baseURI), { redirect: "manual" });
}

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
  render([banner(link.state, fleet, outdated()), toldBanner(watch)], at("banner"));
  if (fleet === null) return;
  if (!started) at("summary").replaceChildren(); // The skeleton was there for the first paint.
  started = true;
  const overview = store.overview();
  const live = link.state.state === "live" && !store.brokerLost();
  if (live !== wasLive || clock() - drawnAllAt > REDRAW_SECONDS) drawAll = true;
  wasLive = live;
  document.body.classList.toggle("not-live", !live);
  retitle();
  at("simulated").hidden = !(fleet.simulated ?? false);
  const hosts = store.names().length;
  render(hosts === 0 ? nothing : `${many(hosts, "host")} · ${many(overview.gpus, "GPU")}`, at("size"));
  if (filter.update(view, live, at("answer").matches(":hover, :focus-within"))) drawAll = true;
  const totals = Object.entries(live ? fleet.totals : {});
  const hours = recent.hours("recent", totals, brokerNow());
  render(summaryTiles({
    totals: fleet.totals,
    overview,
    hottest: store.rows(overview.hottestHost)[overview.hottestRow]?.label ?? "",
    bestFit: view.need === null ? overview.bestFit : (filter.offers[0]?.host ?? ""),
    hours,
  }, chooseState, goTo), at("summary"));
  render(choices(view, fleet.totals, overview, choose, toUsers, download), at("bar"));
  paintFinder(live);
  const dirty = store.takeDirty();
  const shown = list.update(dirty, drawAll, brokerNow(), clock());
  map.update(dirty, drawAll);
  if (drawAll) drawnAllAt = clock();
  drawAll = false;
  paintFound(shown, hosts);
  panel.paint(fleet.users, fleet.web?.role, view, brokerNow(), clock());
  render(about(), at("about"));
}

/**
 * @param {number} shown
 * @param {number} hosts
 */
function paintFound(shown, hosts) {
  at("unknown").textContent = filter.query.unknown.length === 0
    ? ""
    : `not understood: ${filter.query.unknown.join(" ")}`;
  at("found").textContent = filter.query.terms.length > 0 ? `${count(shown)} of ${many(hosts, "host")}` : "";
  at("hosts").hidden = shown === 0;
  if (hosts === 0) {
    render(html`<p class="card empty">${store.brokerLost()
      ? "No host is known before the broker is heard."
      : html`No host reports yet. On a machine with GPUs: <code>gpu-monitor collector</code>`}</p>`, at("empty"));
  } else if (shown === 0) {
    render(html`<p class="card empty">No host matches “${view.q}”.
      <button type="button" @click=${clear}>Clear (Esc)</button></p>`, at("empty"));
  } else render(nothing, at("empty"));
}

/** @param {boolean} live */
function paintFinder(live) {
  const { need } = view;
  render(question(need, (asked) => choose({ need: asked })), at("finder"));
  render(answer({ need, offers: filter.offers, live, watch, goTo, close: () => choose({ need: null }) }), at("answer"));
}

/** The title says what came while nobody looked, where no notification can. */
function retitle() {
  const title = `${watch.told && "✓ free · "}GPUs${store.fleet?.simulated ? " (simulated)" : ""}`;
  if (document.title !== title) document.title = title; // Even the same one costs half a millisecond.
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
  return store.fleet?.web?.assets !== assets;
}

/**
 * Takes a change over into the view and the address.
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
  /** @type {HTMLElement | null} */ (document.activeElement)?.blur();
  choose({ q: "", need: null });
}

/** @param {string} state "" for all */
function chooseState(state) {
  choose({ q: withValue(view.q, "state", state) });
}

/** Shows what a user has, or everybody's when it was shown. @param {string} name */
function chooseUser(name) {
  const again = valueOf(view.q, "user") === name.toLowerCase();
  choose({ q: withValue(view.q, "user", again ? "" : name) });
}

/** Opens a host and goes there, out of whatever filter. @param {string} name */
function goTo(name) {
  choose({ q: "", open: new Set([...list.open(), name]) }, true);
  requestAnimationFrame(() => list.focus(name));
}

function toUsers() {
  at("users").scrollIntoView({ block: "nearest" });
  /** @type {HTMLElement | null} */ (at("users").querySelector("tbody button"))?.focus();
}

/** What is shown, as a file. */
function download() {
  const shown = store.names().flatMap((name) => {
    const [host, mask] = [store.host(name), filter.mask(name)];
    return host === undefined || mask === null ? [] : [{ name, state: store.stateOf(name), host, mask }];
  });
  const file = document.createElement("a");
  const taken = new Date((store.fleet?.now ?? 0) * 1000).toISOString().slice(0, 19).replaceAll(":", "-");
  file.download = `gpus${store.fleet?.simulated ? "-simulated" : ""}-${taken}Z.csv`;
  file.href = URL.createObjectURL(new Blob([toCsv(shown)], { type: "text/csv" }));
  file.click();
  // The browser has taken the file by then; until it is revoked it stays in memory.
  setTimeout(() => URL.revokeObjectURL(file.href), 60_000);
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

/** Paper is light, has no search, and nothing on it is ever filled later. */
function toPaper() {
  const { dataset } = document.documentElement;
  screenTheme = dataset.theme ?? "auto";
  dataset.theme = "light";
  map.redraw();
  const left = list.fillAll();
  const taken = new Date((store.fleet?.now ?? 0) * 1000).toLocaleString();
  render(html`As of ${taken} ${view.q} ${left > 0 ? `· ${many(left, "more host")} not printed: search for less` : nothing}`, at("paper"));
}

function help() {
  const dialog = /** @type {HTMLDialogElement} */ (at("keys"));
  render(html`<h2>Search</h2><dl class="queries">${QUERY_HELP.map(
    ([query, words]) => html`<div><dt><code>${query}</code></dt><dd>${words}</dd></div>`,
  )}</dl><h2>Keys</h2><dl>${Object.entries(KEYS).map(
    ([key, words]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${words}</dd></div>`,
  )}</dl><p class="sub">You are shown ${SHOWN[store.fleet?.web?.role ?? "commands"]}.</p><form method="dialog"><button class="plain">Close</button></form>`, dialog);
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

/**
 * The value after the present one, the first after the last.
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
  f: () => at("finder").querySelector("input")?.select(),
  a: () => chooseState(""),
  i: () => chooseState("idle"),
  m: () => choose({ metric: after(METRICS, view.metric) }),
  s: () => choose({ sort: after(SORTS, view.sort) }),
  u: toUsers,
  d: download,
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
window.addEventListener("beforeprint", toPaper);
window.addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = screenTheme;
  list.emptyFar();
});
document.addEventListener("visibilitychange", () => {
  link.check();
  recent.renew(); // Nothing was noted while nobody looked.
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
