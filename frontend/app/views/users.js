// The users table: who holds how much, and how much of it without use.

import { html, nothing } from "../vendor/lit-html.js";
import { count, many, percent, shortSpan, size } from "../format.js";

/** @import { User, UserSort } from "../types.js" */

const SHORT_LIST = 20;

/** @type {[UserSort, string][]} */
const COLUMNS = [["user", "user"], ["gpus", "GPUs"], ["gib", "GiB"], ["util", "util"], ["idle", "idle"]];

/**
 * @param {object} given
 * @param {Record<string, User>} given.users
 * @param {string[]} given.order names, some of which may have left since it was made
 * @param {UserSort} given.sort
 * @param {boolean} given.all whether to show more than the first 20
 * @param {string} given.query
 * @param {number} given.now unix seconds by the broker's clock
 * @param {(sort: UserSort) => void} given.sortBy
 * @param {(name: string) => void} given.choose
 * @param {() => void} given.showAll
 */
export function usersTable({ users, order, sort, all, query, now, sortBy, choose, showAll }) {
  const present = order.filter((name) => users[name] !== undefined);
  const shown = all ? present : present.slice(0, SHORT_LIST);
  return html`<div class="card users">
    <h2>Users</h2>
    <table>
      <thead><tr>${COLUMNS.map(
        ([column, words]) => html`<th scope="col" aria-sort=${ariaSort(column, sort)}>
          <button type="button" @click=${() => sortBy(column)}>${words}</button></th>`,
      )}</tr></thead>
      <tbody>${shown.map((name) => userRow(name, /** @type {User} */ (users[name]), query, now, choose))}</tbody>
    </table>
    ${present.length === 0 && now > 0 ? html`<p class="sub">Nobody holds a GPU.</p>` : nothing}
    ${present.length > shown.length
      ? html`<button type="button" class="link more" @click=${showAll}>all ${many(present.length, "user")}</button>`
      : nothing}
  </div>`;
}

/**
 * @param {string} name
 * @param {User} user
 * @param {string} query
 * @param {number} now
 * @param {(name: string) => void} choose
 */
function userRow(name, user, query, now, choose) {
  const since = user.oldest_started_at;
  const title = `${many(user.processes, "process")} on ${many(user.hosts.length, "host")}`
    + (since === undefined ? "" : `, the oldest for ${shortSpan(now - since)}`);
  return html`<tr title=${title}>
    <th scope="row"><button type="button" aria-pressed=${query === name} @click=${() => choose(name)}>${name}</button></th>
    <td>${count(user.gpus)}</td>
    <td>${size(user.gpu_memory_mib)}</td>
    <td>${percent(user.utilization_percent)}</td>
    <td class="amber">${user.held_idle_gpus > 0 ? html`<span aria-hidden="true">▨</span> ${count(user.held_idle_gpus)}` : nothing}</td>
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
