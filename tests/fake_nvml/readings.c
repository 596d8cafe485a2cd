/* Readings of a GPU: numbers, and memory, which slices have too. */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <time.h>

#define MIB 1048576.0

/* --- one number per call ----------------------------------------------------------------------------------- */

#define NUMBER(NAME, KEY, SCALE, TYPE)                                         \
    EXPORT int NAME(struct device *handle, TYPE *answer)                       \
    {                                                                          \
        DEVICE_CALL(handle, {                                                  \
            double found = 0;                                                  \
            result = !answer ? INVALID_ARGUMENT : physical(&view, KEY_##KEY, SCALE, &found); \
            if (result == OK)                                                  \
                *answer = (TYPE)whole(found);                                  \
        });                                                                    \
    }

NUMBER(nvmlDeviceGetMinorNumber, minor, 1, unsigned)
NUMBER(nvmlDeviceGetPowerUsage, power_watts, 1000, unsigned)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, power_limit_watts, 1000, unsigned)
NUMBER(nvmlDeviceGetPowerManagementLimit, power_management_limit_watts, 1000, unsigned)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, power_default_limit_watts, 1000, unsigned)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, energy_joules, 1000, unsigned long long)
NUMBER(nvmlDeviceGetFanSpeed, fan_percent, 1, unsigned)
NUMBER(nvmlDeviceGetNumFans, fans, 1, unsigned)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, throttle_reasons, 1, unsigned long long)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, throttle_reasons, 1, unsigned long long)
NUMBER(nvmlDeviceGetPerformanceState, performance_state, 1, unsigned)
NUMBER(nvmlDeviceGetPowerState, performance_state, 1, unsigned)
NUMBER(nvmlDeviceGetPersistenceMode, persistence, 1, unsigned)
NUMBER(nvmlDeviceGetComputeMode, compute_mode, 1, unsigned)
NUMBER(nvmlDeviceGetNumaNodeId, numa_node, 1, unsigned)
NUMBER(nvmlDeviceGetDisplayActive, display_active, 1, unsigned)
NUMBER(nvmlDeviceGetDisplayMode, display_active, 1, unsigned)
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, retired_pending, 1, unsigned)
NUMBER(nvmlDeviceGetArchitecture, architecture, 1, unsigned)
NUMBER(nvmlDeviceGetBrand, brand, 1, unsigned)
NUMBER(nvmlDeviceGetNumGpuCores, cores, 1, unsigned)
NUMBER(nvmlDeviceGetMemoryBusWidth, bus_width, 1, unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, pcie_generation, 1, unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, pcie_width, 1, unsigned)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, pcie_max_generation, 1, unsigned)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, pcie_max_width, 1, unsigned)

/* All that NVML has bits for. */
#define ALL_THROTTLE_REASONS 0x1ffULL

#define SUPPORTED(NAME)                                                        \
    EXPORT int NAME(struct device *handle, unsigned long long *answer)         \
    {                                                                          \
        DEVICE_CALL(handle, {                                                  \
            result = view.mig ? NOT_SUPPORTED : OK;                            \
            if (result == OK)                                                  \
                *answer = ALL_THROTTLE_REASONS;                                \
        });                                                                    \
    }
SUPPORTED(nvmlDeviceGetSupportedClocksThrottleReasons)
SUPPORTED(nvmlDeviceGetSupportedClocksEventReasons)

/* One of several numbers, chosen by an argument; UNKNOWN_CHOICE if the argument is invalid. */
enum { UNKNOWN_CHOICE = KEY_COUNT };

static int chosen(const struct view *view, int key, double scale, unsigned *answer)
{
    double found = 0;
    if (key == UNKNOWN_CHOICE || !answer)
        return INVALID_ARGUMENT;
    int result = physical(view, (enum gpu_key)key, scale, &found);
    if (result == OK)
        *answer = (unsigned)whole(found);
    return result;
}

EXPORT int nvmlDeviceGetTemperature(struct device *handle, unsigned sensor, unsigned *celsius)
{
    DEVICE_CALL(handle, { result = chosen(&view, sensor ? UNKNOWN_CHOICE : KEY_temperature_celsius, 1, celsius); });
}

EXPORT int nvmlDeviceGetTemperatureV(struct device *handle, struct temperature_v1 *answer)
{
    DEVICE_CALL(handle, {
        double found = 0;
        if (!answer || answer->sensor)
            result = INVALID_ARGUMENT;
        else if (answer->version != (0x1000000u | sizeof *answer))
            result = ARGUMENT_VERSION_MISMATCH;
        else
            result = physical(&view, KEY_temperature_celsius, 1, &found);
        if (result == OK)
            answer->celsius = (int)found;
    });
}

EXPORT int nvmlDeviceGetMarginTemperature(struct device *handle, struct margin_v1 *answer)
{
    DEVICE_CALL(handle, {
        double found = 0;
        if (!answer)
            result = INVALID_ARGUMENT;
        else if (answer->version != (0x1000000u | sizeof *answer))
            result = ARGUMENT_VERSION_MISMATCH;
        else
            result = physical(&view, KEY_margin_celsius, 1, &found);
        if (result == OK)
            answer->celsius = (int)found;
    });
}

EXPORT int nvmlDeviceGetTemperatureThreshold(struct device *handle, unsigned threshold, unsigned *celsius)
{
    static const int keys[] = {KEY_shutdown_celsius, KEY_slowdown_celsius, KEY_memory_max_celsius, KEY_gpu_max_celsius};
    DEVICE_CALL(handle, {
        /* Thresholds 4 to 7 (acoustic) exist only on hardware that is not simulated here. */
        result = threshold >= 4 && threshold < 8
                     ? NOT_SUPPORTED
                     : chosen(&view, threshold < 4 ? keys[threshold] : UNKNOWN_CHOICE, 1, celsius);
    });
}

EXPORT int nvmlDeviceGetFanSpeed_v2(struct device *handle, unsigned fan, unsigned *percent)
{
    DEVICE_CALL(handle, {
        double fans = 0;
        result = physical(&view, KEY_fans, 1, &fans);
        if (result == OK)
            result = chosen(&view, fan < fans ? KEY_fan_percent : UNKNOWN_CHOICE, 1, percent);
    });
}

static const int clock_keys[] = {KEY_graphics_clock_mhz, KEY_sm_clock_mhz, KEY_memory_clock_mhz, KEY_video_clock_mhz};

EXPORT int nvmlDeviceGetClockInfo(struct device *handle, unsigned clock, unsigned *mhz)
{
    DEVICE_CALL(handle, { result = chosen(&view, clock < 4 ? clock_keys[clock] : UNKNOWN_CHOICE, 1, mhz); });
}

EXPORT int nvmlDeviceGetClock(struct device *handle, unsigned clock, unsigned kind, unsigned *mhz)
{
    DEVICE_CALL(handle, {
        result = kind ? NOT_SUPPORTED : chosen(&view, clock < 4 ? clock_keys[clock] : UNKNOWN_CHOICE, 1, mhz);
    });
}

EXPORT int nvmlDeviceGetMaxClockInfo(struct device *handle, unsigned clock, unsigned *mhz)
{
    static const int keys[] = {KEY_max_sm_clock_mhz, KEY_max_sm_clock_mhz, KEY_max_memory_clock_mhz, KEY_max_sm_clock_mhz};
    DEVICE_CALL(handle, { result = chosen(&view, clock < 4 ? keys[clock] : UNKNOWN_CHOICE, 1, mhz); });
}

EXPORT int nvmlDeviceGetPcieThroughput(struct device *handle, unsigned counter, unsigned *kib)
{
    static const int keys[] = {KEY_pcie_tx_kib, KEY_pcie_rx_kib};
    DEVICE_CALL(handle, {
        /* NVML measures for 20 ms here; tests should notice a call in a fast path. */
        struct timespec window = {.tv_nsec = 20000000};
        nanosleep(&window, NULL);
        result = chosen(&view, counter < 2 ? keys[counter] : UNKNOWN_CHOICE, 1, kib);
    });
}

EXPORT int nvmlDeviceGetTotalEccErrors(struct device *handle, unsigned kind, unsigned counter, unsigned long long *errors)
{
    DEVICE_CALL(handle, {
        double ecc = 0, found = 0;
        if (kind > 1 || counter > 1)
            result = INVALID_ARGUMENT;
        else
            result = physical(&view, KEY_ecc, 1, &ecc);
        if (result == OK && !ecc)
            result = NOT_SUPPORTED;
        if (result == OK)
            result = physical(&view, kind ? KEY_ecc_uncorrected : KEY_ecc_corrected, 1, &found);
        if (result == OK)
            *errors = whole(found);
    });
}

/* All errors are in the GPU's memory (location 1), none in a slice of it. */
EXPORT int nvmlDeviceGetMemoryErrorCounter(struct device *handle, unsigned kind, unsigned counter, unsigned location,
                                           unsigned long long *errors)
{
    DEVICE_CALL(handle, {
        double ecc = 0, found = 0;
        int key = kind ? KEY_ecc_uncorrected : KEY_ecc_corrected;
        result = kind > 1 || counter > 1 ? INVALID_ARGUMENT : number(&view, KEY_ecc, 1, &ecc);
        if (result == OK && !ecc)
            result = NOT_SUPPORTED;
        if (result == OK && !view.mig && location == 1)
            result = number(&view, (enum gpu_key)key, 1, &found);
        if (result == OK)
            *errors = whole(found);
    });
}

/* --- several numbers per call ------------------------------------------------------------------------------ */

/* Two keys, two answers. */
static int pair(const struct view *view, int one, int other, double scale, unsigned *first, unsigned *second)
{
    int result = chosen(view, one, scale, first);
    return result == OK ? chosen(view, other, scale, second) : result;
}

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(struct device *handle, unsigned *least, unsigned *most)
{
    DEVICE_CALL(handle, { result = pair(&view, KEY_power_min_limit_watts, KEY_power_max_limit_watts, 1000, least, most); });
}

EXPORT int nvmlDeviceGetEccMode(struct device *handle, unsigned *now, unsigned *pending)
{
    DEVICE_CALL(handle, { result = pair(&view, KEY_ecc, KEY_ecc, 1, now, pending); });
}

EXPORT int nvmlDeviceGetRemappedRows(struct device *handle, unsigned *corrected, unsigned *uncorrected,
                                     unsigned *pending, unsigned *failed)
{
    DEVICE_CALL(handle, {
        result = pair(&view, KEY_remapped_corrected, KEY_remapped_uncorrected, 1, corrected, uncorrected);
        if (result == OK)
            result = pair(&view, KEY_remapped_pending, KEY_remapped_failed, 1, pending, failed);
    });
}

/* NVML reports no utilization for a divided GPU. */
static int busy(const struct view *view, int one, int other, unsigned *first, unsigned *second)
{
    double mig = 0;
    if (number(view, KEY_mig_mode, 1, &mig) == OK && mig)
        return NOT_SUPPORTED;
    return pair(view, one, other, 1, first, second);
}

EXPORT int nvmlDeviceGetUtilizationRates(struct device *handle, struct utilization *answer)
{
    DEVICE_CALL(handle, {
        unsigned memory = 0;
        /* One NVML call, so one error; memory_controller_utilization_percent = N/A reads as 0. */
        result = busy(&view, KEY_utilization_percent, KEY_utilization_percent, &answer->gpu, &answer->memory);
        if (result == OK) {
            answer->memory = 0;
            if (chosen(&view, KEY_memory_controller_utilization_percent, 1, &memory) == OK)
                answer->memory = memory;
        }
    });
}

static int codec(const struct view *view, int key, unsigned *percent, unsigned *period_us)
{
    unsigned same;
    *period_us = 167000;
    return busy(view, key, key, percent, &same);
}

EXPORT int nvmlDeviceGetEncoderUtilization(struct device *handle, unsigned *percent, unsigned *period_us)
{
    DEVICE_CALL(handle, { result = codec(&view, KEY_encoder_percent, percent, period_us); });
}

EXPORT int nvmlDeviceGetDecoderUtilization(struct device *handle, unsigned *percent, unsigned *period_us)
{
    DEVICE_CALL(handle, { result = codec(&view, KEY_decoder_percent, percent, period_us); });
}

EXPORT int nvmlDeviceGetCudaComputeCapability(struct device *handle, int *major, int *minor)
{
    DEVICE_CALL(handle, {
        double found = 0;
        result = physical(&view, KEY_compute_capability, 10, &found);
        if (result == OK) {
            *major = (int)whole(found) / 10;
            *minor = (int)whole(found) % 10;
        }
    });
}

/* --- memory ---------------------------------------------------------------------------------------------- */

struct memory {
    unsigned long long total, reserved, free, used;
};

/* The sum over its processes, unless the scenario gives a value. */
static double held_mib(const struct view *view, int mig)
{
    double sum = 0;
    for (int i = 0; i < view->scenario->process_count; i++) {
        const struct process *process = &view->scenario->processes[i];
        if (process->gpu == view->gpu->number && (mig == NONE || process->mig == mig) && !process->memory_mib.error)
            sum += value_now(&process->memory_mib, view->gpu->number);
    }
    return sum;
}

static int memory_of(const struct view *view, struct memory *memory)
{
    const struct value *values = view->gpu->values;
    struct value total = values[KEY_memory_total_mib], used = values[KEY_memory_used_mib];
    struct value reserved = values[KEY_memory_reserved_mib];
    int mig = NONE;
    if (view->mig) {
        total = view->mig->memory_total_mib;
        used = view->mig->memory_used_mib;
        reserved = (struct value){0};
        mig = (int)(view->mig - view->gpu->migs);
    }
    if (total.error || used.error || reserved.error)
        return total.error ? total.error : used.error ? used.error : reserved.error;
    double used_mib = used.low == AUTO ? held_mib(view, mig) : value_now(&used, view->gpu->number);
    memory->total = whole(value_now(&total, view->gpu->number) * MIB);
    memory->used = whole(used_mib * MIB);
    memory->reserved = whole(value_now(&reserved, view->gpu->number) * MIB);
    unsigned long long taken = memory->used + memory->reserved;
    memory->free = taken < memory->total ? memory->total - taken : 0;
    return OK;
}

EXPORT int nvmlDeviceGetMemoryInfo(struct device *handle, struct memory_v1 *answer)
{
    DEVICE_CALL(handle, {
        struct memory memory;
        result = memory_of(&view, &memory);
        /* The first version counts reserved memory as used. */
        if (result == OK)
            *answer = (struct memory_v1){memory.total, memory.free, memory.used + memory.reserved};
    });
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(struct device *handle, struct memory_v2 *answer)
{
    DEVICE_CALL(handle, {
        struct memory memory;
        if (answer->version != (0x2000000u | sizeof *answer))
            result = ARGUMENT_VERSION_MISMATCH;
        else
            result = memory_of(&view, &memory);
        if (result == OK)
            *answer = (struct memory_v2){answer->version, memory.total, memory.reserved, memory.free, memory.used};
    });
}

EXPORT int nvmlDeviceGetBAR1MemoryInfo(struct device *handle, struct bar1 *answer)
{
    DEVICE_CALL(handle, {
        struct memory memory;
        result = memory_of(&view, &memory);
        if (result == OK)
            *answer = (struct bar1){memory.total, memory.total, 0};
    });
}
