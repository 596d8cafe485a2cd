// The live page: who is on which GPU now.

import { render } from "../vendor/lit-html.js";
import { saveCsv } from "../csv.js";
import { byId } from "../element.js";
import { Filter } from "../filter/filter.js";
import { complaint, valueFor, withValue } from "../filter/query.js";
import { count, many } from "../format.js";
import { fetchJson } from "../link/api.js";
import { HostList } from "../list/host-list.js";
import { FleetMap } from "../map/fleet-map.js";
import { Recent } from "../state/last-hour.js";
import { filterBar } from "../views/filter-bar.js";
import { answer, question } from "../views/finder-panel.js";
import { noHosts } from "../views/no-hosts.js";
import { summaryTiles } from "../views/summary-tiles.js";
import { UsersPanel } from "../views/users-panel.js";
import { METRICS, SORTS, readView, writeView } from "./live-url.js";
import { Paper } from "./paper.js";

/** @import { Fleet, Frame, Page, Shell, View } from "../types.js" */

const REDRAW_SECONDS = 15;

/** @implements {Page} */
export class LivePage {
  /** @type {Page["actions"]} */
  actions = {
    "/": () => byId("search").focus(),
    j: () => this.#list.focusNext(1),
    k: () => this.#list.focusNext(-1),
    f: () => byId("finder").querySelector("input")?.select(),
    a: () => this.#chooseState(""),
    i: () => this.#chooseState("held_idle"),
    m: () => this.#choose({ metric: after(METRICS, this.#view.metric) }),
    s: () => this.#choose({ sort: after(SORTS, this.#view.sort) }),
    u: () => this.#toUsers(),
    d: () => this.#download(),
    Esc: () => this.#clear(),
  };
  #shell;
  #filter;
  #recent;
  #list;
  #map;
  #panel;
  #view = readView("");
  /** Whether everything is drawn in the next frame, not only what the store calls dirty. */
  #drawAll = true;
  #drawnAllAt = -Infinity;
  #wasLive = false;
  #hasSkeleton = true;
  #listeners = new AbortController();

  /** @param {Shell} shell */
  constructor(shell) {
    this.#shell = shell;
    const { store, clock, plan } = shell;
    const view = () => this.#view;
    const goTo = (/** @type {string} */ name) => this.#goTo(name);
    const choose = (/** @type {Partial<View>} */ change) => this.#choose(change);
    this.#filter = new Filter(store);
    this.#recent = new Recent(fetchJson, clock, () => this.#redraw());
    this.#list = new HostList(byId("hosts"), store, this.#filter, this.#recent, view,
      (open, opened) => this.#choose({ open }, opened));
    const mask = (/** @type {string} */ name) => this.#list.mask(name);
    this.#map = new FleetMap(byId("map"), { store, view, mask, goTo, choose, plan });
    this.#panel = new UsersPanel(byId("users"), (name) => this.#chooseUser(name), (by) => choose({ by }), plan);
  }

  mount() {
    this.#listeners = new AbortController();
    const { signal } = this.#listeners;
    byId("search").addEventListener("input", ({ target }) => {
      this.#choose({ q: /** @type {HTMLInputElement} */ (target).value });
    }, { signal });
    const paper = new Paper(this.#list, this.#map);
    window.addEventListener("beforeprint", () => paper.prepare(this.#shell.store.fleet?.now, this.#view.q), { signal });
    window.addEventListener("afterprint", () => paper.restore(), { signal });
    this.#show(true);
    this.readAddress();
  }

  unmount() {
    this.#listeners.abort();
    this.#show(false);
  }

  /** Shows what the address asks for; called again when that changes by Back or Forward. */
  readAddress() {
    this.#view = readView(location.search);
    this.#viewChanged();
  }

  /** @param {Frame} frame */
  update({ live, renewed }) {
    const { store, clock, brokerNow } = this.#shell;
    const { users, totals, web } = /** @type {Fleet} */ (store.fleet);
    if (renewed) this.#recent.renew(); // Minutes may have passed unseen.
    if (renewed || live !== this.#wasLive || clock() - this.#drawnAllAt > REDRAW_SECONDS) this.#drawAll = true;
    this.#wasLive = live;
    const answering = byId("answer").matches(":hover, :focus-within");
    if (this.#filter.update(this.#view, live, answering)) this.#drawAll = true;
    this.#paintTiles(live ? totals : {});
    render(filterBar(this.#view, store.overview(), {
      choose: (change) => this.#choose(change),
      toUsers: () => this.#toUsers(),
      download: () => this.#download(),
    }), byId("bar"));
    this.#paintFinder(live);
    const dirty = store.drainDirty();
    const shown = this.#list.update(dirty, this.#drawAll, brokerNow(), clock());
    this.#map.update(dirty, this.#drawAll);
    if (this.#drawAll) this.#drawnAllAt = clock();
    this.#drawAll = false;
    this.#paintFound(shown);
    this.#panel.paint(users, web?.role, this.#view, brokerNow(), clock());
  }

  /** @param {Partial<Fleet["totals"]>} current none while the page is not live */
  #paintTiles(current) {
    const { store, brokerNow } = this.#shell;
    const { totals } = /** @type {Fleet} */ (store.fleet);
    const overview = store.overview();
    if (this.#hasSkeleton) byId("summary").replaceChildren(); // It was there for the first paint.
    this.#hasSkeleton = false;
    render(summaryTiles({
      totals,
      overview,
      hottest: store.rows(overview.hottestHost)[overview.hottestRow]?.label ?? "",
      bestFit: this.#view.need === null ? overview.bestFit : (this.#filter.offers[0]?.host ?? ""),
      hours: this.#recent.hours("recent", Object.entries(current), brokerNow()),
    }, (state) => this.#chooseState(state), (name) => this.#goTo(name)), byId("summary"));
  }

  /** @param {boolean} live */
  #paintFinder(live) {
    const { need } = this.#view;
    render(question(need, (asked) => this.#choose({ need: asked })), byId("finder"));
    render(answer({
      need,
      offers: this.#filter.offers,
      live,
      watch: this.#shell.watch,
      goTo: (name) => this.#goTo(name),
      close: () => this.#choose({ need: null }),
    }), byId("answer"));
  }

  /** @param {number} shown hosts that the filter leaves */
  #paintFound(shown) {
    const { store } = this.#shell;
    const { terms, unknown } = this.#filter.query;
    const hosts = store.names().length;
    byId("unknown").textContent = unknown.map(complaint).join(" ");
    byId("found").textContent = terms.length > 0 ? `${count(shown)} of ${many(hosts, "host")}` : "";
    byId("hosts").hidden = shown === 0;
    const { q } = this.#view;
    render(noHosts({ hosts, shown, q, brokerLost: store.brokerLost(), clear: () => this.#clear() }), byId("empty"));
  }

  /**
   * Applies a change to the view and the address.
   * @param {Partial<View>} change
   * @param {boolean} [step] whether Back should undo it
   */
  #choose(change, step = false) {
    if (change.sort !== undefined) this.#list.reorder();
    this.#view = { ...this.#view, ...change };
    const address = location.pathname + writeView(this.#view);
    if (step) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.#viewChanged();
  }

  #viewChanged() {
    const search = /** @type {HTMLInputElement} */ (byId("search"));
    if (search.value !== this.#view.q) search.value = this.#view.q;
    this.#redraw();
  }

  #redraw() {
    this.#drawAll = true;
    this.#shell.plan();
  }

  /** @param {boolean} shown */
  #show(shown) {
    for (const element of [byId("live"), byId("search-box")]) element.hidden = !shown;
  }

  #clear() {
    /** @type {HTMLElement | null} */ (document.activeElement)?.blur();
    this.#choose({ q: "", need: null });
  }

  /** @param {string} state "" for all */
  #chooseState(state) {
    this.#choose({ q: withValue(this.#view.q, "state", state) });
  }

  /** Shows what a user has, or everyone's GPUs when that is shown already. @param {string} name */
  #chooseUser(name) {
    const again = valueFor(this.#view.q, "user") === name.toLowerCase();
    this.#choose({ q: withValue(this.#view.q, "user", again ? "" : name) });
  }

  /** Opens a host and goes there, whatever the filter left out. @param {string} name */
  #goTo(name) {
    this.#choose({ q: "", open: new Set([...this.#list.open(), name]) }, true);
    requestAnimationFrame(() => this.#list.focus(name));
  }

  #toUsers() {
    byId("users").scrollIntoView({ block: "nearest" });
    /** @type {HTMLElement | null} */ (byId("users").querySelector("tbody button"))?.focus();
  }

  /** Saves what is shown. */
  #download() {
    const { store } = this.#shell;
    const shown = store.names().flatMap((name) => {
      const [host, mask] = [store.host(name), this.#filter.mask(name)];
      return host === undefined || mask === null ? [] : [{ name, state: store.stateOf(name), host, mask }];
    });
    saveCsv(shown, store.fleet);
  }
}

/**
 * The value after the present one; the first after the last.
 * @template T
 * @param {readonly T[]} all
 * @param {T} one
 */
function after(all, one) {
  return /** @type {T} */ (all[(all.indexOf(one) + 1) % all.length]);
}
