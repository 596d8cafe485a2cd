// In which order hosts and users stand; pure.

/** @import { HostSummary, Sort, User, UserSort } from "./types.js" */

const natural = new Intl.Collator("en", { numeric: true });

/**
 * Host names as people count: node2 before node10.
 * @param {Iterable<string>} names
 */
export function byName(names) {
  return [...names].sort(natural.compare);
}

/**
 * Hosts in the order asked for, most first; what is not live comes last, equals by name.
 * @param {string[]} names by name already
 * @param {Sort} sort
 * @param {(name: string) => HostSummary} summary
 * @returns {string[]}
 */
export function sortedHosts(names, sort, summary) {
  if (sort === "host") return names;
  const keys = new Map(names.map((name) => [name, hostKey(summary(name), sort)]));
  return mostFirst(names, keys);
}

/**
 * @param {HostSummary} host
 * @param {Exclude<Sort, "host">} sort
 */
function hostKey(host, sort) {
  if (host.state !== "live") return -1;
  if (sort === "free") return host.free;
  if (sort === "idle") return host.heldGibHours;
  return host.utilization ?? -0.5;
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
  const keys = new Map(names.map((name) => [name, userKey(/** @type {User} */ (users[name]), sort)]));
  return mostFirst(names, keys);
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

/**
 * @param {string[]} names
 * @param {Map<string, number>} keys
 */
function mostFirst(names, keys) {
  return [...names].sort((a, b) => (keys.get(b) ?? -1) - (keys.get(a) ?? -1));
}
