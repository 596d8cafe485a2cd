// The naive page: the same views, rewritten entirely from a whole document at every tick.
// Replaces app.js. It does not react to clicks.

import { html, nothing, render } from "./vendor/lit-html.js";
import { count, many, timeOfDay } from "./format.js";
import { Recent, pathOf } from "./state/last-hour.js";
import { Store } from "./state/store.js";
import { sentence } from "./state/summary.js";
import { readView } from "./pages/live-url.js";
import { filterBar } from "./views/filter-bar.js";
import { question } from "./views/finder-panel.js";
import { closedRow, openRow } from "./views/host-view.js";
import { pill } from "./views/link-status.js";
import { FleetMap } from "./map/fleet-map.js";
import { summaryTiles } from "./views/summary-tiles.js";
import { UsersPanel } from "./views/users-panel.js";

/** The same as in host-list.js. */
const FEW_HOSTS = 8;
const CELLS = 8;

const store = new Store();
const view = readView(location.search);
const clock = () => performance.now() / 1000;
const ask = async (path) => (await fetch(new URL(`api/v1/${path}`, document.baseURI))).json();
const recent = new Recent(ask, clock, plan);
const map = new FleetMap(at("map"), { store, view: () => view, mask: () => [], plan });
const panel = new UsersPanel(at("users"));
let sequence = 0;
let planned = false;

const socket = new WebSocket(new URL("ws", document.baseURI.replace("http", "ws")));
socket.onmessage = ({ data }) => {
  sequence += 1;
  store.apply({ type: "fleet", sequence, fleet: JSON.parse(data) });
  plan();
};

function at(id) {
  return document.getElementById(id);
}

function plan() {
  if (planned || store.fleet === null) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    draw(store.fleet);
  });
}

function draw(fleet) {
  const overview = store.overview();
  const names = store.names();
  render(pill({ state: "live", retryAt: null }, fleet, clock(), clock()), at("link"));
  render(`${many(names.length, "host")} · ${many(overview.gpus, "GPU")}`, at("size"));
  at("simulated").hidden = !fleet.simulated;
  render(summaryTiles({
    totals: fleet.totals,
    overview,
    hottest: store.rows(overview.hottestHost)[overview.hottestRow]?.label ?? "",
    bestFit: overview.bestFit,
    hours: recent.hours("recent", Object.entries(fleet.totals), fleet.now),
  }), at("summary"));
  render(filterBar(view, overview, {}), at("bar"));
  render(question(view.need), at("finder"));
  map.update(new Set(), true);
  const columns = Math.min(CELLS, overview.mostGpus);
  at("hosts").style.setProperty("--columns", String(columns));
  render(html`<div class="stretch">${names.map((name) => host(name, columns))}</div>`, at("hosts"));
  panel.paint(fleet.users, undefined, view, fleet.now, clock());
  const { broker } = fleet;
  render(html`<span>broker ${broker.version} since ${timeOfDay(broker.started_at)}</span>`, at("about"));
}

function host(name, columns) {
  const rows = store.rows(name);
  const summary = store.summary(name);
  const state = store.stateOf(name);
  const open = store.names().length <= FEW_HOSTS && summary.free < summary.gpus;
  const drawn = {
    host: store.host(name),
    summary,
    rows,
    lines: Math.max(1, Math.ceil(rows.length / columns)),
    hours: open ? recent.hours(pathOf(name), rows.map(({ uuid, utilization }) => [uuid, utilization]), store.fleet.now) : new Map(),
    state,
    metric: view.metric,
    mask: [],
    now: store.fleet.now,
    brokerLost: false,
  };
  return html`<details class="host" data-name=${name} .open=${open} .style=${`--lines:${drawn.lines}`}><summary><span class="spoken">${sentence(summary, state)}</span
    ><div class="closed" aria-hidden="true">${closedRow(drawn)}</div></summary
    ><div class="detail">${openRow(drawn)}</div></details>`;
}
