// The order of hosts and users; pure.

/** @import { User, UserSort } from "../types.js" */

/** Rows change places at most this often. */
export const ORDER_SECONDS = 5;

const natural = new Intl.Collator("en", { numeric: true });

/**
 * Host names in natural order: node2 before node10.
 * @param {Iterable<string>} names
 */
export function byName(names) {
  return [...names].sort(natural.compare);
}

/**
 * Names by a number, most first; equals stay as they are.
 * @param {string[]} names
 * @param {(name: string) => number} key
 * @returns {string[]}
 */
export function mostFirst(names, key) {
  const keys = new Map(names.map((name) => [name, key(name)]));
  return [...names].sort((a, b) => (keys.get(b) ?? 0) - (keys.get(a) ?? 0));
}

/**
 * User names in the order of a column, most first, equals by name.
 * @param {Record<string, User>} users
 * @param {UserSort} sort
 * @returns {string[]}
 */
export function sortedUsers(users, sort) {
  const names = byName(Object.keys(users));
  if (sort === "user") return names;
  return mostFirst(names, (name) => userKey(/** @type {User} */ (users[name]), sort));
}

/**
 * @param {User} user
 * @param {Exclude<UserSort, "user">} sort
 */
function userKey(user, sort) {
  if (sort === "gpus") return user.gpus;
  if (sort === "gib") return user.gpu_memory_mib ?? -1;
  if (sort === "idle") return user.held_idle_gpus;
  if (sort === "time") return -(user.oldest_started_at ?? Infinity);
  return user.utilization_percent ?? -1;
}
