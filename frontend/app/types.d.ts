// The types of the page. Those of the document are written by a tool: state/document.d.ts.

import type { Host, Use } from "./state/document.js";
import type { Watch } from "./filter/watch.js";
import type { Link } from "./link/socket.js";
import type { Faults, GpuState } from "./state/states.js";
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

/** What the server sends to this viewer. */
export type Role = "counts" | "names" | "commands";

/** The web server's own member of the document. */
export interface Web {
  version: string;
  /** Hash of the files it serves, as in their addresses. */
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
  slurmJobId: string | null;
  podUid: string | null;
  /** Its effective user, if that is not `user`. */
  actsAs: string | null;
  /** "client" or "server" of MPS. */
  mps: string | null;
  /** The primary group of `user`. */
  group: string | null;
  /** Such as "ended" or "zombie"; null for an ordinary process. */
  state: string | null;
  startedAt: number | null;
  idleSince: number | null;
  memoryMib: number | null;
  smPercent: number | null;
  /** Of one core: 612 is six cores. */
  cpuPercent: number | null;
  /** Resident in the host's memory. */
  hostMemoryMib: number | null;
}

/** One GPU (or MIG slice) of one host with its processes. */
export interface GpuRow {
  /** Position in the columns. */
  row: number;
  label: string;
  uuid: string | null;
  /** Tells the GPUs of a host apart even where two have one UUID; null when that is not known. */
  key: string | null;
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
  /** Why it is not free, or why nothing can start beside its process. */
  useReason: string | null;
  memoryKind: string | null;
  memoryTotalMib: number | null;
  memoryUsedMib: number | null;
  /** What its processes hold, where the operating system manages the memory. */
  processMemoryMib: number | null;
  utilization: number | null;
  /** Share of time in which memory was read or written, in percent. */
  memoryUtilization: number | null;
  temperature: number | null;
  power: number | null;
  powerLimit: number | null;
  /** Used since the driver was loaded. */
  energyJoules: number | null;
  pcieGeneration: number | null;
  /** Lanes of its PCIe link. */
  pcieWidth: number | null;
  /** null for a GPU without NVLink. */
  nvlinksUp: number | null;
  throttle: string[];
  /** What is wrong with it, the worst first; a slice has those of its GPU, too. */
  findings: Finding[];
  /** States that are marked on its cell, whatever else it shows. */
  badges: GpuState[];
  idleSince: number | null;
  processes: ProcessRow[];
}

/** A fault of a host or of one of its GPUs. */
export interface Finding {
  kind: string;
  /** `info` needs no attention. */
  severity: "critical" | "warning" | "info";
  /** A row of `gpus`; null for one of the host, or of several GPUs. */
  gpu: number | null;
  /** What that GPU is called on its host; "" for none. */
  label: string;
  /** Unix seconds by the host's clock. */
  since: number | null;
  /** What is wrong, in one sentence; by its kind alone where the document has no words. */
  words: string;
  /** What helps. */
  advice: string | null;
  /** Whether the document has no words, as for the role `counts`. */
  isBare: boolean;
}

export type Metric = "util" | "mem" | "temp" | "power";
export type Sort = "host" | "free" | "util" | "idle";

export type UserSort = "user" | "gpus" | "gib" | "util" | "idle" | "time";

/** What the finder looks for. */
export interface Need {
  gpus: number;
  /** Free memory on each; 0 for any. */
  gib: number;
  /** A part of the model's name; "" for any. */
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
    /** Its name for CUDA_VISIBLE_DEVICES; null for a slice that has none. */
    device: string | null;
    freeMib: number | null;
    unhealthy: boolean;
    fits: boolean;
  }[];
  /** For CUDA_VISIBLE_DEVICES. */
  devices: string;
  leftOver: number;
}

/** How the fleet map is drawn; `auto` depends on the sizes of the fleet and the window. */
export type MapMode = "auto" | "off" | "strips" | "blocks" | "hosts";

/** Places of the fleet map, in px; see map/layout.js. */
export interface MapLayout {
  mode: "strips" | "blocks" | "hosts";
  /** From one cell to the next; a cell is one px smaller. */
  pitch: number;
  /** Cells of a host, and how many of them are in a line. */
  slots: number;
  columns: number;
  hostWidth: number;
  hostHeight: number;
  perLine: number;
  hosts: number;
  height: number;
}

/** The viewer's choices, kept in the URL. */
export interface View {
  q: string;
  metric: Metric;
  sort: Sort;
  map: MapMode;
  /** How the users are ordered. */
  by: UserSort;
  need: Need | null;
  /** null for the default, which depends on the size of the fleet. */
  open: Set<string> | null;
}

/** What a closed row and the summary need of one host. */
export interface HostSummary {
  name: string;
  state: Host["state"];
  gpus: number;
  /** Whole GPUs; `gpus` counts the slices of a GPU instead of the GPU itself. */
  cards: number;
  free: number;
  /** Free GPUs that are not unhealthy. */
  sound: number;
  /** GPUs in each state of states.js that needs attention, by its key. */
  counts: Record<string, number>;
  /** Whether any of its GPUs has a problem. */
  hasProblem: boolean;
  hottest: number | null;
  hottestRow: number;
  models: string;
  /** The worst first. */
  findings: Finding[];
  /** Those of its GPUs that need attention. */
  faults: Faults;
  /** Whether a finding of the host itself needs attention. */
  isFaulty: boolean;
}

/** What the document's totals leave out; of live hosts unless a state is named. */
export interface Overview {
  /** Of all hosts, whatever their state. */
  gpus: number;
  hottest: number | null;
  hottestHost: string;
  hottestRow: number;
  wholeHosts: number;
  /** The host to take a single healthy GPU on, that with the fewest free; "" for none. */
  bestFit: string;
  /** GPUs, or hosts, in each state of states.js that needs attention, by its key. */
  counts: Record<string, number>;
  /** Hosts with a problem of their own or of a GPU: those that `state:problems` finds. */
  withProblems: number;
  /** Of the largest host: how many cells a row must hold. */
  mostGpus: number;
  mostCards: number;
}

/** State of the link to the web server. */
export interface LinkState {
  state: "connecting" | "live" | "reconnecting" | "signedOut";
  /** When the next attempt starts, in seconds of the page's clock; null during one. */
  retryAt: number | null;
}

/** The part of a WebSocket that the link uses. */
export interface Socket {
  /** Its data are a string or an ArrayBuffer. */
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

/** What a page gets with each paint. */
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
