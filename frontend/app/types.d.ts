// The document as wire/document.py has it: names, units, and what may be absent.

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** One value per row; null is "not known". */
type Column<T> = (T | null)[];

export interface Gpus {
  index: Column<number>;
  uuid?: Column<string>;
  name?: Column<string>;
  pci_bus_id?: Column<string>;
  state: Column<"ok" | "lost" | "asleep" | "error">;
  reason?: Column<string>;
  state_since?: Column<number>;
  parent?: Column<number>;
  mig_profile?: Column<string>;
  memory_kind?: Column<string>;
  memory_total_mib?: Column<number>;
  memory_used_mib?: Column<number>;
  utilization_percent?: Column<number>;
  memory_controller_utilization_percent?: Column<number>;
  temperature_celsius?: Column<number>;
  slowdown_celsius?: Column<number>;
  power_watts?: Column<number>;
  power_limit_watts?: Column<number>;
  fan_percent?: Column<number>;
  sm_clock_mhz?: Column<number>;
  memory_clock_mhz?: Column<number>;
  throttle?: Column<string[]>;
  health?: Column<"ok" | "degraded" | "failed">;
  health_reasons?: Column<string[]>;
  idle_since?: Column<number>;
  stalled_since?: Column<number>;
  /** Added by the broker. */
  use?: Column<Use>;
}

export type Use = "busy" | "free" | "held_idle";

export interface Processes {
  gpu: Column<number>;
  pid: Column<number>;
  user?: Column<string>;
  uid?: Column<number>;
  command?: Column<string>;
  container?: Column<string>;
  slurm_job_id?: Column<string>;
  pod_uid?: Column<string>;
  effective_user?: Column<string>;
  state?: Column<string>;
  started_at?: Column<number>;
  idle_since?: Column<number>;
  gpu_memory_mib?: Column<number>;
  sm_utilization_percent?: Column<number>;
  type?: Column<"C" | "G" | "C+G">;
}

export interface Disks {
  mount: Column<string>;
  total_mib?: Column<number>;
  used_mib?: Column<number>;
}

export interface System {
  hostname?: string;
  os?: string;
  kernel?: string;
  driver_version?: string;
  cuda_version?: string;
  booted_at?: number;
  cpu_count?: number;
  cpu_percent?: number;
  load_1m?: number;
  memory_total_mib?: number;
  memory_used_mib?: number;
  swap_total_mib?: number;
  swap_used_mib?: number;
  network_receive_kib_per_second?: number;
  network_send_kib_per_second?: number;
}

export interface Collector {
  version?: string;
  cpu_percent?: number;
  memory_mib?: number;
  sample_seconds?: number;
}

export interface Host {
  state: "live" | "stale" | "missing" | "conflict";
  /** Unix seconds by the broker's clock; exact when the state is not live. */
  heard_at?: number;
  sequence?: number;
  clock_offset_seconds?: number;
  problems?: string[];
  system?: System;
  gpus?: Gpus;
  processes?: Processes;
  disks?: Disks;
  collector?: Collector;
}

export interface Totals {
  hosts: number;
  hosts_live: number;
  hosts_stale: number;
  hosts_missing: number;
  gpus: number;
  gpus_busy: number;
  gpus_free: number;
  gpus_held_idle: number;
  gpus_lost: number;
  memory_total_mib: number;
  memory_used_mib: number;
  power_watts: number;
  utilization_percent: number;
  users: number;
  processes: number;
}

export interface User {
  gpus: number;
  gpu_memory_mib?: number;
  processes: number;
  utilization_percent?: number;
  held_idle_gpus: number;
  hosts: string[];
  oldest_started_at?: number;
}

export interface Broker {
  state: "live" | "lost";
  heard_at?: number;
  started_at?: number;
  version?: string;
  refused?: Record<string, number>;
  warnings?: string[];
}

/** What this viewer is shown: the server sends no more. */
export type Role = "counts" | "names" | "commands";

export interface Fleet {
  version: number;
  /** Unix seconds by the broker's clock; absent, as much else, until a broker was heard. */
  now?: number;
  interval_seconds?: number;
  tick_seconds?: number;
  stale_after_seconds: number;
  simulated?: boolean;
  broker: Broker;
  web?: { version: string; assets: string; role?: Role; warnings?: string[] };
  totals: Partial<Totals>;
  users: Record<string, User>;
  hosts: Record<string, Host>;
}

export type Message =
  | { type: "fleet"; sequence: number; fleet: Json }
  | { type: "patch"; sequence: number; patch: Json };

/** One process on one GPU. */
export interface ProcessRow {
  pid: number | null;
  user: string;
  command: string | null;
  container: string | null;
  slurmJobId: string | null;
  podUid: string | null;
  /** As whom it runs, where that is not its user. */
  actsAs: string | null;
  /** What has become of it, as "ended"; null for an ordinary one. */
  state: string | null;
  startedAt: number | null;
  idleSince: number | null;
  memoryMib: number | null;
  smPercent: number | null;
}

/** One GPU (or MIG slice) of one host with its processes. */
export interface GpuRow {
  /** Position in the columns. */
  row: number;
  label: string;
  uuid: string | null;
  busId: string | null;
  name: string | null;
  /** MIG profile of a slice, such as 3g.40gb. */
  profile: string | null;
  state: string;
  reason: string | null;
  stateSince: number | null;
  /** Whether MIG slices of it follow as rows of their own. */
  sliced: boolean;
  use: Use | null;
  memoryKind: string | null;
  memoryTotalMib: number | null;
  memoryUsedMib: number | null;
  utilization: number | null;
  /** Share of time in which memory was read or written, in percent. */
  memoryUtilization: number | null;
  temperature: number | null;
  power: number | null;
  powerLimit: number | null;
  throttle: string[];
  /** What is known to be wrong with the card; of a slice, with the card that it is part of. */
  health_reasons: string[];
  hot: boolean;
  /** Since when it is busy all the time at low power (unix s). */
  stalledSince: number | null;
  idleSince: number | null;
  processes: ProcessRow[];
}

export type Metric = "util" | "mem" | "temp" | "power";
export type Sort = "host" | "free" | "util" | "idle";

export type UserSort = "user" | "gpus" | "gib" | "util" | "idle" | "time";

/** What the finder looks for. */
export interface Need {
  gpus: number;
  /** Free on each of them; 0: any. */
  gib: number;
  /** A part of the name; "": any. */
  model: string;
  /** Whether they may be on several hosts. */
  anywhere: boolean;
}

/** GPUs to take on one host; `leftOver` of its free GPUs stay free. */
export interface Offer {
  host: string;
  gpus: {
    row: number;
    index: number;
    label: string;
    slice: boolean;
    uuid: string | null;
    freeMib: number | null;
    unhealthy: boolean;
    fits: boolean;
  }[];
  /** For CUDA_VISIBLE_DEVICES. */
  devices: string;
  leftOver: number;
}

/** How the fleet map is drawn; auto: by the size of the fleet and of the window. */
export type MapMode = "auto" | "off" | "strips" | "blocks" | "hosts";

/** Places of the fleet map, in px; see layout.js. */
export interface MapLayout {
  mode: "strips" | "blocks" | "hosts";
  /** From one cell to the next; the cell is one less. */
  pitch: number;
  /** Cells of a host, and how many of them stand beside each other. */
  slots: number;
  columns: number;
  hostWidth: number;
  hostHeight: number;
  perLine: number;
  hosts: number;
  height: number;
}

/** What the viewer chose; kept in the URL. */
export interface View {
  q: string;
  metric: Metric;
  sort: Sort;
  map: MapMode;
  /** How the users are ordered. */
  by: UserSort;
  need: Need | null;
  /** null: by the size of the fleet. */
  open: Set<string> | null;
}

/** What a closed row and the summary need of one host. */
export interface HostSummary {
  name: string;
  state: Host["state"];
  gpus: number;
  /** GPUs one can touch: a GPU in slices counts once, as it does not in `gpus`. */
  cards: number;
  free: number;
  /** Free ones of which nothing is known to be wrong. */
  sound: number;
  heldIdle: number;
  lost: number;
  errors: number;
  /** Cards with something wrong. */
  unhealthy: number;
  hot: number;
  /** GPUs that are busy all the time at low power. */
  stalled: number;
  hottest: number | null;
  hottestRow: number;
  models: string;
  problems: string[];
}

/** What the fleet's totals do not say; counts of live hosts unless named for another state. */
export interface Overview {
  /** Of all hosts, whatever their state. */
  gpus: number;
  hottest: number | null;
  hottestHost: string;
  hottestRow: number;
  wholeHosts: number;
  /** Where a single GPU is best taken: a sound one, of the fewest that are free; "" when none is. */
  bestFit: string;
  heldIdle: number;
  hot: number;
  /** GPUs that are busy all the time at low power. */
  stalled: number;
  lost: number;
  errors: number;
  unhealthy: number;
  stale: number;
  missing: number;
  conflict: number;
  problems: number;
  /** Of any one host: how many cells a row must hold. */
  mostGpus: number;
  mostCards: number;
}

/** State of the link to the web server. */
export interface LinkState {
  state: "connecting" | "live" | "reconnecting" | "signedOut";
  /** When the next try starts, in seconds of the page's own clock; null while trying. */
  retryAt: number | null;
}

/** What the link needs of a WebSocket. */
export interface Socket {
  /** Of text, or of an ArrayBuffer. */
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  close(): void;
}
