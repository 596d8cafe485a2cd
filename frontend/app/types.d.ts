// The types of the page. Those of the document are written by a tool: state/document.d.ts.

import type { Host, Use } from "./state/document.js";
import type { Watch } from "./filter/watch.js";
import type { Link } from "./link/socket.js";
import type { GpuState } from "./state/states.js";
import type { Store } from "./state/store.js";

export * from "./state/document.js";

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

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

/** What the web server says of itself. */
export interface Web {
  version: string;
  /** Of the files it serves, as in their addresses. */
  assets: string;
  role?: Role;
  warnings?: string[];
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
  job: string | null;
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
  ailments: string[];
  hot: boolean;
  /** States that are marked on its cell, whatever else it shows. */
  badges: GpuState[];
  /** Since when it is busy all the time at low power (unix s). */
  lowPowerSince: number | null;
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
    ailing: boolean;
    fits: boolean;
  }[];
  /** For CUDA_VISIBLE_DEVICES. */
  devices: string;
  leftOver: number;
}

/** How the fleet map is drawn; auto: by the size of the fleet and of the window. */
export type MapMode = "auto" | "off" | "strips" | "blocks" | "hosts";

/** Places of the fleet map, in px; see map/layout.js. */
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
  /** GPUs in each state of states.js that needs attention, by its key. */
  counts: Record<string, number>;
  /** Whether any of its GPUs has a problem. */
  trouble: boolean;
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
  /** GPUs, or hosts, in each state of states.js that needs attention, by its key. */
  counts: Record<string, number>;
  /** Hosts with a problem of their own or of a GPU: those that `state:trouble` finds. */
  trouble: number;
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

/** What app.js lends to the page that is open. */
export interface Shell {
  store: Store;
  link: Link;
  watch: Watch;
  /** Seconds of the page's own clock, never going back. */
  clock(): number;
  /** Unix seconds by the broker's clock. */
  brokerNow(): number;
  /** Asks for a paint in the next frame. */
  plan(): void;
}

/** What a page is told with each paint. */
export interface Frame {
  live: boolean;
  /** Whether everything may have changed, not only what the store calls dirty. */
  renewed: boolean;
}

/** One of the pages that `?page=` names. */
export interface Page {
  /** What its keys do, by the key. */
  actions: Record<string, () => void>;
  mount(): void;
  /** Called once per frame at most, and never before there is a document. */
  update(frame: Frame): void;
  /** Shows what the address asks for, when Back or Forward has changed it. */
  readAddress(): void;
  unmount(): void;
}
