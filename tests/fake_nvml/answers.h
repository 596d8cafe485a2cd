/* The structs that NVML fills, laid out as in NVIDIA's nvml.h: tests/real_nvml compares the two. */
#ifndef ANSWERS_H
#define ANSWERS_H

enum { METRICS = 98 };

struct utilization {
    unsigned gpu, memory;
};

struct memory_v1 {
    unsigned long long total, free, used;
};

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct bar1 {
    unsigned long long total, free, used;
};

struct temperature_v1 {
    unsigned version, sensor;
    int celsius;
};

struct margin_v1 {
    unsigned version;
    int celsius;
};

struct pci_info {
    char legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};

struct pci_info_ext {
    unsigned version, domain, bus, device, device_id, subsystem_id, base_class, sub_class;
    char bus_id[32];
};

struct field_value {
    unsigned id, scope;
    long long timestamp, latency;
    unsigned type;
    int result;
    union {
        unsigned uint;
        int sint;
        unsigned long long ulonglong;
        long long longlong;
    } value;
};

/* Versions 2 and 3 of the list have the same layout. */
struct process_info {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
};

struct process_sample {
    unsigned pid;
    unsigned long long timestamp;
    unsigned sm, memory, encoder, decoder;
};

struct sample_info {
    unsigned long long timestamp;
    unsigned pid, sm, memory, encoder, decoder, jpeg, optical_flow;
};

struct samples_v1 {
    unsigned version, count;
    unsigned long long last_seen;
    struct sample_info *array;
};

struct attributes {
    unsigned multiprocessors, copy_engines, decoders, encoders, jpegs, optical_flows, gpu_slices, compute_slices;
    unsigned long long memory_mib;
};

struct gpm_support {
    unsigned version, supported;
};

struct metric {
    unsigned id;
    int result;
    double value;
    const char *short_name, *long_name, *unit;
};

struct metrics {
    unsigned version, count;
    struct sample *before, *after;
    struct metric metrics[METRICS];
};

struct event_data {
    struct device *device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

#endif
