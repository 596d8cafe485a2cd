/* Shared by the parts of the fake NVML: a scenario in memory, and the frame of every call. */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H

#include "answers.h"

#include <stdatomic.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    MAX_GPUS = 64,
    MAX_MIGS = 8,
    MAX_FIELDS = 32,
    MAX_XIDS = 16,
    TEXT_SIZE = 96,
    ANY = -1,  /* a rule without a GPU or without a slice */
    NONE = -2, /* a rule for physical GPUs only; a process in no slice */
    SELF = 0,    /* pid of the process that loaded the library */
    HIDDEN = -1, /* pid of a process that is listed as 0 */
};

/* Return codes as NVML numbers them. */
enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10,
    LIBRARY_NOT_FOUND = 12,
    GPU_IS_LOST = 15,
    ARGUMENT_VERSION_MISMATCH = 25,
};

/* The numeric keys of a [gpu] section and their defaults; AUTO follows another value (see scenario.c). */
#define AUTO (-1e300)
#define UNSUPPORTED (-2e300)
#define GPU_KEYS(KEY)                     \
    KEY(memory_total_mib, 81559)          \
    KEY(memory_used_mib, AUTO)            \
    KEY(memory_reserved_mib, 512)         \
    KEY(utilization_percent, 0)           \
    KEY(memory_controller_utilization_percent, 0)    \
    KEY(encoder_percent, 0)               \
    KEY(decoder_percent, 0)               \
    KEY(temperature_celsius, 40)          \
    KEY(memory_temperature_celsius, UNSUPPORTED) \
    KEY(margin_celsius, UNSUPPORTED)      \
    KEY(shutdown_celsius, 92)             \
    KEY(slowdown_celsius, 89)             \
    KEY(memory_max_celsius, 95)           \
    KEY(gpu_max_celsius, 87)              \
    KEY(power_watts, 70)                  \
    KEY(power_limit_watts, 700)           \
    KEY(power_management_limit_watts, AUTO) \
    KEY(power_default_limit_watts, 700)   \
    KEY(power_min_limit_watts, 200)       \
    KEY(power_max_limit_watts, 700)       \
    KEY(energy_joules, 1000)              \
    KEY(fan_percent, 30)                  \
    KEY(fans, 1)                          \
    KEY(sm_clock_mhz, 1980)               \
    KEY(graphics_clock_mhz, AUTO)         \
    KEY(memory_clock_mhz, 2619)           \
    KEY(video_clock_mhz, 1545)            \
    KEY(max_sm_clock_mhz, 1980)           \
    KEY(max_memory_clock_mhz, 2619)       \
    KEY(throttle_reasons, 0)              \
    KEY(performance_state, 0)             \
    KEY(persistence, 1)                   \
    KEY(compute_mode, 0)                  \
    KEY(numa_node, UNSUPPORTED)           \
    KEY(display_active, 0)                \
    KEY(ecc, 1)                           \
    KEY(ecc_corrected, 0)                 \
    KEY(ecc_uncorrected, 0)               \
    KEY(remapped_corrected, 0)            \
    KEY(remapped_uncorrected, 0)          \
    KEY(remapped_pending, 0)              \
    KEY(remapped_failed, 0)               \
    KEY(retired_pending, UNSUPPORTED)     \
    KEY(mig_mode, AUTO)                   \
    KEY(gpm, 1)                           \
    KEY(minor, AUTO)                      \
    KEY(compute_capability, 9)            \
    KEY(architecture, 9)                  \
    KEY(brand, 14)                        \
    KEY(cores, 16896)                     \
    KEY(bus_width, 5120)                  \
    KEY(pcie_generation, 5)               \
    KEY(pcie_width, 16)                   \
    KEY(pcie_max_generation, 5)           \
    KEY(pcie_max_width, 16)               \
    KEY(nvlinks, UNSUPPORTED)             \
    KEY(nvlinks_up, AUTO)                 \
    KEY(pcie_tx_kib, 0)                   \
    KEY(pcie_rx_kib, 0)

#define GPU_TEXTS(KEY) KEY(name) KEY(uuid) KEY(pci_bus_id) KEY(serial) KEY(vbios) KEY(part_number)

#define AS_ENUM(name, ...) KEY_##name,
#define AS_TEXT_ENUM(name) TEXT_##name,
enum gpu_key { GPU_KEYS(AS_ENUM) KEY_COUNT };
enum gpu_text { GPU_TEXTS(AS_TEXT_ENUM) TEXT_COUNT };

/* A constant (low == high), a number that swings between two bounds, or an error. */
struct value {
    int error;
    double low, high, period_seconds;
};

struct text {
    int error;
    char text[TEXT_SIZE];
};

struct process {
    int gpu, mig; /* mig: NONE, or the number of the slice's section */
    int pid;      /* SELF, HIDDEN or a number */
    double ahead_seconds; /* what its samples are stamped with: so far after the driver's clock */
    int compute, graphics, mps;
    struct value memory_mib, sm_utilization_percent; /* error != 0: not available */
    int gpu_instance, compute_instance;  /* NONE: no slice */
};

struct mig {
    int present;
    struct text uuid, profile;
    struct value memory_total_mib, memory_used_mib, utilization_percent;
    unsigned gpu_instance, compute_instance, slices, compute_slices, multiprocessors;
};

struct field {
    unsigned id;
    struct value value;
};

struct gpu {
    int present, number, lost;
    struct value values[KEY_COUNT];
    struct text texts[TEXT_COUNT];
    struct mig migs[MAX_MIGS];
    struct field fields[MAX_FIELDS];
    int field_count;
    unsigned xids[MAX_XIDS]; /* one per line of the file: events that have happened */
    int xid_count;
};

/* One [call NAME] section: which calls it affects, and how. */
struct rule {
    char name[TEXT_SIZE]; /* may end in * */
    int gpu, mig, error, hang, delay_ms;
};

struct scenario {
    int references;
    char driver_version[TEXT_SIZE], nvml_version[TEXT_SIZE];
    int cuda_version, init_error, generation;
    int process_row_bytes;       /* 24 by the header; some drivers write 32 */
    int other_event_handles;     /* whether events name a GPU by its second handle */
    int clock_offset_seconds;    /* of the driver's clock, which stamps samples */
    struct gpu gpus[MAX_GPUS];
    struct process *processes;
    struct rule *rules;
    int process_count, rule_count;
};

/* values.c */
_Noreturn void stop_loudly(const char *format, ...) __attribute__((format(printf, 1, 2)));
double value_now(const struct value *value, int number); /* number: shifts the phase of a swing */
int error_code(const char *name);                        /* by name or number; -1: no such error */
const char *error_text(int code);

/* scenario.c */
struct scenario *read_scenario(const char *path);
void free_scenario(struct scenario *scenario);

/* calls.c: the frame of a call. */
int rule_names(const char *rule, const char *call);
int rule_names_any(const char *rule);

struct device {
    int gpu, mig;
};

/* One per NVML function; the linker collects them, so that a rule that matches no function is detected. */
struct call {
    const char *name;
    atomic_ullong count;
};
#define CALL_NAMED(NAME) \
    static struct call call __attribute__((section("nvml_calls"), used, aligned(16))) = {.name = NAME}
#define THIS_CALL CALL_NAMED(__func__)

struct view {
    struct scenario *scenario;
    const struct gpu *gpu;
    const struct mig *mig; /* NULL for a physical GPU */
};

/* Counts the call, applies the scenario's rules, resolves the device (begin: a call without one).
   Whatever comes back, end() must follow: view holds the scenario. */
int begin(struct call *call, struct view *view);
int is_lost(const struct scenario *scenario, int gpu);
int begin_device(struct call *call, struct device *handle, struct view *view);
int look_again(struct view *view);
int error_opening(const struct view *view, const char *call, const struct device *slice);
int end(struct view *view, int result);
struct scenario *take_scenario(void); /* the current one; NULL if there is no library */
void give_back(struct scenario *scenario);
struct device *device_handle(int gpu, int mig); /* mig: NONE for the GPU itself */
struct device *second_handle(int gpu);          /* another one for the same GPU */
int is_open(void); /* whether nvmlInit was called more often than nvmlShutdown */
int visible_count(void);
int visible_gpu(unsigned index);
int visible_index(int gpu);
int number(const struct view *view, enum gpu_key key, double scale, double *result);
int physical(const struct view *view, enum gpu_key key, double scale, double *result); /* a slice has none */
unsigned long long whole(double number);

/* processes.c */
int private_compute_processes(struct device *handle, unsigned *count, void *rows);
int private_graphics_processes(struct device *handle, unsigned *count, void *rows);
int private_mps_processes(struct device *handle, unsigned *count, void *rows);

/* events.c */
void forget_event_sets(void);

/* gpm.c */
void forget_samples(void);

/* The frame as a macro: the code after HANDLE computes `result` from `view`. */
#define DEVICE_CALL(HANDLE, ...)                             \
    do {                                                     \
        THIS_CALL;                                           \
        struct view view;                                    \
        int result = begin_device(&call, (HANDLE), &view);   \
        if (result == OK) {                                  \
            __VA_ARGS__                                      \
        }                                                    \
        return end(&view, result);                           \
    } while (0)

#endif
