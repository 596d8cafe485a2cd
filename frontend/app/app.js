// The start of the page: link and store, the page that is open, and what all pages share: one paint
// per frame at most, header, banner, title, theme and keys.

import { nothing, render } from "./vendor/lit-html.js";
import { byId } from "./element.js";
import { Watch } from "./filter/watch.js";
import { many } from "./format.js";
import { actionOf } from "./keyboard.js";
import { fetchApi } from "./link/api.js";
import { Link, socketUrl } from "./link/socket.js";
import { openWithTicket } from "./link/ticket.js";
import { LivePage } from "./pages/live.js";
import { Router } from "./pages/router.js";
import { Store } from "./state/store.js";
import { nextTheme } from "./theme-switch.js";
import { about } from "./views/about.js";
import { newsBanner } from "./views/finder-panel.js";
import { toggleHelp } from "./views/help.js";
import { banner, pill } from "./views/link-status.js";

/** @import { Message, Shell } from "./types.js" */

/** Names the files that this page was loaded from; undefined before the first document. */
let assets = /** @type {string | undefined} */ (undefined);
/** Whether everything may have changed, not only what the store calls dirty. */
let renewed = true;
let planned = false;

const clock = () => performance.now() / 1000;
const store = new Store();
const watch = new Watch(window.Notification, () => {
  retitle();
  plan();
});
const link = new Link(socketUrl(document.baseURI), {
  open: (url, protocols) => openWithTicket(url, protocols, () => fetchApi("ticket")),
  clock,
  wall: () => Date.now() / 1000,
  later: (run, seconds) => window.setTimeout(run, seconds * 1000),
  cancel: (timer) => window.clearTimeout(timer),
  random: Math.random,
}, receive, () => plan());
/** @type {Shell} */
const shell = { store, link, watch, clock, brokerNow, plan };
const router = new Router({ live: () => new LivePage(shell) }, renew);

/**
 * @param {Message} message
 * @param {boolean} old whether it waited while the page was suspended
 */
function receive(message, old) {
  if (!store.apply(message)) return false;
  if (message.type === "fleet") {
    renewed = true;
    assets ??= store.fleet?.web?.assets; // A patch may name newer ones later.
  }
  if (store.fleet !== null) link.allowSilence(store.fleet.stale_after_seconds);
  if (old) return true;
  if (!store.brokerLost()) watch.check(store.fleet?.hosts ?? {});
  plan();
  return true;
}

/** Asks for a paint in the next frame; a hidden page is painted when it is shown again. */
function plan() {
  if (planned || document.hidden) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    paint();
  });
}

function renew() {
  renewed = true;
  plan();
}

/** The broker's time now: that of its newest message, plus the time since while it is live. */
function brokerNow() {
  const now = store.fleet?.now ?? 0;
  if (!isLive() || link.heardAt === null) return now;
  return now + (clock() - link.heardAt);
}

function isLive() {
  return link.state.state === "live" && !store.brokerLost();
}

function paint() {
  const { fleet } = store;
  const outdated = fleet?.web?.assets !== assets;
  render(pill(link.state, fleet, clock(), link.heardAt), byId("link"));
  render([banner(link.state, fleet, outdated), newsBanner(watch)], byId("banner"));
  if (fleet === null) return;
  document.body.classList.toggle("not-live", !isLive());
  retitle();
  byId("simulated").hidden = !(fleet.simulated ?? false);
  const hosts = store.names().length;
  render(hosts === 0 ? nothing : `${many(hosts, "host")} · ${many(store.overview().gpus, "GPU")}`, byId("size"));
  if (router.page !== null) {
    router.page.update({ live: isLive(), renewed });
    renewed = false;
  }
  render(about(fleet), byId("about"));
}

/** The title announces what became free where no notification can. */
function retitle() {
  const title = `${watch.news && "✓ free · "}GPUs${store.fleet?.simulated ? " (simulated)" : ""}`;
  if (document.title !== title) document.title = title; // Setting the same title costs half a millisecond.
}

function help() {
  toggleHelp(/** @type {HTMLDialogElement} */ (byId("keys")), store.fleet?.web?.role ?? "commands");
}

/** @type {Record<string, () => void>} */
const actions = { t: nextTheme, "?": help };

document.addEventListener("keydown", (event) => {
  const action = actionOf(event);
  const { open } = /** @type {HTMLDialogElement} */ (byId("keys"));
  if (action === null || (open && action !== "?")) return;
  event.preventDefault();
  (actions[action] ?? router.page?.actions[action])?.();
});
byId("theme").addEventListener("click", nextTheme);
byId("help").addEventListener("click", help);
window.addEventListener("popstate", () => router.open(location.search));
window.addEventListener("online", () => link.retryNow());
document.addEventListener("visibilitychange", () => {
  link.check();
  renew();
});

let tickedAt = Date.now();
window.setInterval(() => {
  // Timers stop while the machine sleeps, and so may the page's clock; the wall clock does not.
  // What is on the page is old then, whatever the socket reports.
  const slept = (Date.now() - tickedAt) / 1000;
  tickedAt = Date.now();
  if (!document.hidden && slept > 5 + (store.fleet?.stale_after_seconds ?? 2)) link.restart();
  if (link.state.state !== "live") plan();
}, 1000);
router.open(location.search);
