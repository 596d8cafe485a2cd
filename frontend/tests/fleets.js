// Small, complete documents for the tests.

/** A table of columns from rows; a value missing in a row is its default, or unknown. */
function table(rows, defaults) {
  const names = new Set([...Object.keys(defaults), ...rows.flatMap((row) => Object.keys(row))]);
  const columns = {};
  for (const name of names) {
    columns[name] = rows.map((row, number) => row[name] ?? (name === "index" ? number : defaults[name]) ?? null);
  }
  return columns;
}

export function gpus(...rows) {
  return table(rows, { index: 0, state: "ok" });
}

export function processes(...rows) {
  return table(rows, { gpu: 0, pid: 1 });
}

/** A table of warnings about the host, unless a row says otherwise. */
export function findings(...rows) {
  return table(rows, { kind: "disk_full", severity: "warning", gpu: null, since: null, words: null, advice: null });
}

export function host(members = {}) {
  return { state: "live", heard_at: 1000, gpus: gpus(), processes: processes(), findings: findings(), ...members };
}

export function fleet(hosts, members = {}) {
  return {
    version: 1,
    now: 1000,
    interval_seconds: 1,
    tick_seconds: 0.5,
    stale_after_seconds: 2,
    simulated: false,
    broker: { state: "live" },
    totals: {},
    users: {},
    hosts,
    ...members,
  };
}
