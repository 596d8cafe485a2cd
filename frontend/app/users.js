// The users panel: its own small choices, and an order that does not jump.

import { render } from "./vendor/lit-html.js";
import { sortedUsers } from "./order.js";
import { usersTable } from "./views/users.js";

/** @import { User, UserSort } from "./types.js" */

const ORDER_SECONDS = 5;

export class UsersPanel {
  /** @type {UserSort} */
  #sort = "gpus";
  #all = false;
  #order = /** @type {string[]} */ ([]);
  #orderedAt = -Infinity;

  /**
   * @param {HTMLElement} container
   * @param {(name: string) => void} choose
   * @param {() => void} plan asks for a paint
   */
  constructor(container, choose, plan) {
    this.container = container;
    this.choose = choose;
    this.plan = plan;
  }

  /**
   * @param {Record<string, User>} users
   * @param {string} query
   * @param {number} now unix seconds by the broker's clock
   * @param {number} clock seconds of the page's own clock
   */
  paint(users, query, now, clock) {
    if (this.#mayOrder(clock)) {
      this.#order = sortedUsers(users, this.#sort);
      this.#orderedAt = clock;
    }
    const table = usersTable({
      users,
      order: this.#order,
      sort: this.#sort,
      all: this.#all,
      query,
      now,
      sortBy: (sort) => {
        this.#sort = sort;
        this.#orderedAt = -Infinity;
        this.plan();
      },
      choose: this.choose,
      showAll: () => {
        this.#all = true;
        this.plan();
      },
    });
    render(table, this.container);
  }

  /**
   * Rows do not move under the pointer or the focus, nor more often than every 5 s.
   * @param {number} clock
   */
  #mayOrder(clock) {
    if (this.#orderedAt === -Infinity) return true;
    return clock - this.#orderedAt >= ORDER_SECONDS && !this.container.matches(":hover, :focus-within");
  }
}
