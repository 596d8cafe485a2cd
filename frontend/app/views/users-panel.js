// The users panel: what each user holds and how much of it is idle, in an order that stays put.

import { html, nothing, render } from "../vendor/lit-html.js";
import { count, many, percent, shortSpan, size } from "../format.js";
import { ORDER_SECONDS, sortedUsers } from "../state/sort-order.js";
import { valueFor } from "../filter/query.js";

/** @import { Role, User, UserSort, View } from "../types.js" */

const SHORT_LIST = 20;

/** @type {[UserSort, string][]} */
const USER_COLUMNS = [["user", "user"], ["gpus", "GPUs"], ["gib", "GiB"], ["util", "util"], ["idle", "held idle"], ["time", "oldest job"]];

export class UsersPanel {
  #all = false;
  #order = /** @type {string[]} */ ([]);
  #orderedBy = "";
  #orderedAt = -Infinity;
  #users = /** @type {Record<string, User>} */ ({});

  /**
   * @param {HTMLElement} container
   * @param {(name: string) => void} choose
   * @param {(sort: UserSort) => void} sortBy
   * @param {() => void} plan asks for a paint
   */
  constructor(container, choose, sortBy, plan) {
    this.container = container;
    this.choose = choose;
    this.sortBy = sortBy;
    this.plan = plan;
    // A title is set when the pointer arrives: as an attribute it would change all the time.
    container.addEventListener("pointerover", ({ target }) => {
      const line = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest("tbody tr"));
      const user = line === null ? undefined : this.#users[line.querySelector("button")?.textContent ?? ""];
      if (line !== null && user !== undefined) {
        line.title = `${many(user.processes, "process")} on ${many(user.hosts.length, "host")}`;
      }
    });
  }

  /**
   * @param {Record<string, User>} users
   * @param {Role | undefined} role of the viewer
   * @param {View} view
   * @param {number} now unix seconds by the broker's clock
   * @param {number} clock seconds of the page's own clock
   */
  paint(users, role, { q, by }, now, clock) {
    this.#users = users;
    if (by !== this.#orderedBy || this.#mayOrder(clock)) {
      this.#order = sortedUsers(users, by);
      this.#orderedBy = by;
      this.#orderedAt = clock;
    }
    const table = usersTable({
      users,
      role,
      order: this.#order,
      sort: by,
      all: this.#all,
      chosen: valueFor(q, "user"),
      now,
      sortBy: this.sortBy,
      choose: this.choose,
      showAll: () => {
        this.#all = true;
        this.plan();
      },
    });
    render(table, this.container);
  }

  /**
   * Rows do not move under the pointer or the focus, and at most every 5 s.
   * @param {number} clock
   */
  #mayOrder(clock) {
    return clock - this.#orderedAt >= ORDER_SECONDS && !this.container.matches(":hover, :focus-within");
  }
}

/**
 * @param {object} given
 * @param {Record<string, User>} given.users
 * @param {Role | undefined} given.role of the viewer
 * @param {string[]} given.order names, some of which may have left since it was made
 * @param {UserSort} given.sort
 * @param {boolean} given.all whether to show more than the first 20
 * @param {string} given.chosen the user named by the query, in lower case
 * @param {number} given.now unix seconds by the broker's clock
 * @param {(sort: UserSort) => void} given.sortBy
 * @param {(name: string) => void} given.choose
 * @param {() => void} given.showAll
 */
function usersTable({ users, role, order, sort, all, chosen, now, sortBy, choose, showAll }) {
  const present = order.filter((name) => users[name] !== undefined);
  const shown = all ? present : present.slice(0, SHORT_LIST);
  return html`<div class="card users">
    <h2>Users</h2>
    <table>
      <thead><tr>${USER_COLUMNS.map(
        ([column, words]) => html`<th scope="col" class=${column} aria-sort=${ariaSort(column, sort)}>
          <button type="button" @click=${() => sortBy(column)}>${words}</button></th>`,
      )}</tr></thead>
      <tbody>${shown.map((name) => userRow(name, /** @type {User} */ (users[name]), chosen, now, choose))}</tbody>
    </table>
    ${present.length === 0 && now > 0 ? html`<p class="sub">${role === "counts" ? "Hidden for your role." : "No one is using a GPU."}</p>` : nothing}
    ${present.length > shown.length
      ? html`<button type="button" class="link more" @click=${showAll}>Show all ${many(present.length, "user")}</button>`
      : nothing}
  </div>`;
}

/**
 * @param {string} name
 * @param {User} user
 * @param {string} chosen
 * @param {number} now
 * @param {(name: string) => void} choose
 */
function userRow(name, user, chosen, now, choose) {
  const since = user.oldest_started_at;
  return html`<tr>
    <th scope="row"><button type="button" aria-pressed=${chosen === name.toLowerCase()} @click=${() => choose(name)}>${name}</button></th>
    <td>${count(user.gpus)}</td>
    <td>${size(user.gpu_memory_mib)}</td>
    <td>${percent(user.utilization_percent)}</td>
    <td class="amber">${user.held_idle_gpus > 0 ? html`<span aria-hidden="true">▨</span> ${count(user.held_idle_gpus)}` : nothing}</td>
    <td>${shortSpan(since === undefined ? null : now - since)}</td>
  </tr>`;
}

/**
 * @param {UserSort} column
 * @param {UserSort} sort
 */
function ariaSort(column, sort) {
  if (column !== sort) return "none";
  return column === "user" ? "ascending" : "descending";
}
