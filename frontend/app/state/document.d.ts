// The document as wire/document.py declares it, which wins: names, units, and what may be absent.
// Written by tools/document_types.py; edit that, or its source.

import type { Broker, Totals, User, Web } from "../types.js";

/** One value per row; null is not known. */
export type Column<T> = (T | null)[];

/** The broker's verdict on a GPU. */
export type Use = "busy" | "free" | "held_idle";

/** `use` and `use_reason` are added by the broker. */
export interface Gpus {
  index: Column<number>;
  uuid?: Column<string>;
  name?: Column<string>;
  pci_bus_id?: Column<string>;
  state: Column<"ok" | "asleep" | "error" | "lost">;
  reason?: Column<string>;
  state_since?: Column<number>;
  parent?: Column<number>;
  mig_profile?: Column<string>;
  mig_mode?: Column<string>;
  compute_mode?: Column<string>;
  memory_kind?: Column<string>;
  memory_total_mib?: Column<number>;
  slowdown_celsius?: Column<number>;
  power_limit_watts?: Column<number>;
  activity?: Column<"quiet" | "unmeasured" | "working">;
  idle_since?: Column<number>;
  stalled_since?: Column<number>;
  throttle?: Column<string[]>;
  health?: Column<string>;
  health_reasons?: Column<string[]>;
  processes_unread?: Column<string>;
  memory_used_mib?: Column<number>;
  process_memory_mib?: Column<number>;
  utilization_percent?: Column<number>;
  temperature_celsius?: Column<number>;
  power_watts?: Column<number>;
  memory_controller_utilization_percent?: Column<number>;
  fan_percent?: Column<number>;
  sm_clock_mhz?: Column<number>;
  memory_clock_mhz?: Column<number>;
  energy_joules?: Column<number>;
  pcie_generation?: Column<number>;
  pcie_width?: Column<number>;
  nvlinks_up?: Column<number>;
  use?: Column<Use>;
  use_reason?: Column<string>;
}

export interface Processes {
  gpu: Column<number>;
  pid: Column<number>;
  user?: Column<string>;
  uid?: Column<number>;
  group?: Column<string>;
  effective_user?: Column<string>;
  command?: Column<string>;
  container?: Column<string>;
  slurm_job_id?: Column<string>;
  pod_uid?: Column<string>;
  state?: Column<string>;
  started_at?: Column<number>;
  idle_since?: Column<number>;
  type?: Column<"C" | "C+G" | "G">;
  mps?: Column<string>;
  gpu_memory_mib?: Column<number>;
  sm_utilization_percent?: Column<number>;
  cpu_percent?: Column<number>;
  host_memory_mib?: Column<number>;
}

export interface Disks {
  mount: Column<string>;
  total_mib?: Column<number>;
  used_mib?: Column<number>;
}

/** One row for each fault of a host. */
export interface Findings {
  kind: Column<string>;
  severity: Column<"critical" | "warning" | "info">;
  gpu?: Column<number>;
  since?: Column<number>;
  words?: Column<string>;
  advice?: Column<string>;
}

export interface System {
  hostname?: string;
  os?: string;
  kernel?: string;
  driver_version?: string;
  cuda_version?: string;
  booted_at?: number;
  cpu_count?: number;
  memory_total_mib?: number;
  swap_total_mib?: number;
  cpu_percent?: number;
  memory_used_mib?: number;
  load_1m?: number;
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

/** `heard_at` is unix seconds by the broker's clock, exact unless live. */
export interface Host {
  state: "live" | "stale" | "missing" | "conflict";
  heard_at?: number;
  sequence?: number;
  clock_offset_seconds?: number;
  system?: System;
  gpus?: Gpus;
  processes?: Processes;
  disks?: Disks;
  findings?: Findings;
  collector?: Collector;
}

/** `now` is unix seconds by the broker's clock. */
export interface Fleet {
  version: number;
  now?: number;
  interval_seconds?: number;
  tick_seconds?: number;
  stale_after_seconds: number;
  simulated?: boolean;
  broker: Broker;
  totals: Partial<Totals>;
  users: Record<string, User>;
  hosts: Record<string, Host>;
  web?: Web;
}
