/* Processes on a GPU, and its slices. */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOT_AVAILABLE (~0ULL)
#define NO_INSTANCE (~0u)

enum kind { COMPUTE, GRAPHICS, MPS };

static int is_here(const struct view *view, const struct process *process)
{
    if (process->gpu != view->gpu->number)
        return 0;
    return !view->mig || process->mig == view->mig - view->gpu->migs;
}

static int is_kind(const struct process *process, enum kind kind)
{
    return kind == COMPUTE ? process->compute : kind == GRAPHICS ? process->graphics : process->mps;
}

static unsigned pid_of(const struct process *process)
{
    return process->pid == HIDDEN ? 0 : process->pid == SELF ? (unsigned)getpid() : (unsigned)process->pid;
}

static unsigned long long memory_of(const struct process *process)
{
    if (process->memory_mib.error)
        return NOT_AVAILABLE;
    return (unsigned long long)(value_now(&process->memory_mib, process->gpu) * 1048576.0);
}

/* The rows of some drivers have the use of protected memory at their end, whatever the header says. */
struct wide_row {
    struct process_info narrow;
    unsigned long long protected_memory;
};

/* In the lists that nvidia-smi reads. */
struct named_row {
    struct wide_row row;
    char name[4096];
};

/* The first word of its command line; a zero follows each word. */
static int read_name(unsigned pid, char *buffer, unsigned size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return NOT_FOUND;
    buffer[fread(buffer, 1, size - 1, file)] = 0;
    fclose(file);
    return OK;
}

static void write_row(char *at, const struct process *process, size_t size)
{
    struct wide_row row = {
        .narrow.pid = pid_of(process),
        .narrow.memory = memory_of(process),
        .narrow.gpu_instance = process->gpu_instance == NONE ? NO_INSTANCE : (unsigned)process->gpu_instance,
        .narrow.compute_instance =
            process->compute_instance == NONE ? NO_INSTANCE : (unsigned)process->compute_instance,
    };
    memcpy(at, &row, size);
}

/* Like NVML: without a buffer, or with one too small, the call returns the required size. Rows follow
   each other `stride` bytes apart. */
static int list(const struct view *view, enum kind kind, unsigned *count, void *rows, size_t size, size_t stride)
{
    const struct scenario *scenario = view->scenario;
    unsigned needed = 0, room;
    if (!count || (!rows && *count))
        return INVALID_ARGUMENT;
    room = *count;
    for (int i = 0; i < scenario->process_count; i++) {
        const struct process *process = &scenario->processes[i];
        if (!is_here(view, process) || !is_kind(process, kind))
            continue;
        char *at = (char *)rows + needed * stride;
        if (needed < room)
            write_row(at, process, size);
        if (needed < room && stride == sizeof(struct named_row) && read_name(pid_of(process), at + size, 4096) != OK)
            at[size] = 0;
        needed++;
    }
    *count = needed;
    return needed > room ? INSUFFICIENT_SIZE : OK;
}

#define LIST(NAME, KIND)                                                                    \
    EXPORT int NAME(struct device *handle, unsigned *count, struct process_info *infos)     \
    {                                                                                       \
        DEVICE_CALL(handle, {                                                               \
            size_t size = (size_t)view.scenario->process_row_bytes;                         \
            result = list(&view, KIND, count, infos, size, size);                           \
        });                                                                                 \
    }

LIST(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, MPS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS)

/* The same for nvidia-smi; rules for the function named apply. */
#define PRIVATE_LIST(NAME, FUNCTION, KIND)                                                            \
    int NAME(struct device *handle, unsigned *count, void *rows)                                      \
    {                                                                                                 \
        CALL_NAMED(FUNCTION);                                                                         \
        struct view view;                                                                             \
        int result = begin_device(&call, handle, &view);                                              \
        if (result == OK)                                                                             \
            result = list(&view, KIND, count, rows, sizeof(struct wide_row), sizeof(struct named_row));      \
        return end(&view, result);                                                                    \
    }

PRIVATE_LIST(private_compute_processes, "nvmlDeviceGetComputeRunningProcesses_v3", COMPUTE)
PRIVATE_LIST(private_graphics_processes, "nvmlDeviceGetGraphicsRunningProcesses_v3", GRAPHICS)
PRIVATE_LIST(private_mps_processes, "nvmlDeviceGetMPSComputeRunningProcesses_v3", MPS)

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *buffer, unsigned size)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result == OK)
        result = buffer && size ? read_name(pid, buffer, size) : INVALID_ARGUMENT;
    return end(&view, result);
}

/* --- utilization by process ------------------------------------------------------------------------------ */

static unsigned long long now_us(const struct scenario *scenario)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += scenario->clock_offset_seconds;
    return (unsigned long long)now.tv_sec * 1000000ULL + (unsigned long long)now.tv_nsec / 1000ULL;
}

static unsigned long long stamp(const struct process *process, unsigned long long now)
{
    return now + (unsigned long long)(process->ahead_seconds * 1e6);
}

/* The number of samples, or the error to return. NVML has no samples for slices or divided GPUs. */
static int samples(const struct view *view, unsigned *needed)
{
    double mig = 0;
    *needed = 0;
    if (view->mig || (number(view, KEY_mig_mode, 1, &mig) == OK && mig))
        return NOT_SUPPORTED;
    for (int i = 0; i < view->scenario->process_count; i++) {
        const struct process *process = &view->scenario->processes[i];
        *needed += is_here(view, process) && !process->sm_utilization_percent.error;
    }
    return OK;
}

static unsigned sm_utilization_percent(const struct process *process)
{
    return (unsigned)(value_now(&process->sm_utilization_percent, process->gpu + (int)pid_of(process)) + 0.5);
}

EXPORT int nvmlDeviceGetProcessUtilization(struct device *handle, struct process_sample *answer, unsigned *count,
                                           unsigned long long last_seen)
{
    DEVICE_CALL(handle, {
        unsigned needed;
        unsigned long long now = now_us(view.scenario);
        result = samples(&view, &needed);
        if (result == OK && !answer) {
            /* NVML returns the size its buffer may need, even if there are no samples. */
            *count = needed + 1;
            result = INSUFFICIENT_SIZE;
        } else if (result == OK && (!needed || last_seen >= now))
            result = NOT_FOUND;
        else if (result == OK && *count < needed) {
            *count = needed;
            result = INSUFFICIENT_SIZE;
        } else if (result == OK) {
            unsigned filled = 0;
            for (int i = 0; i < view.scenario->process_count; i++) {
                const struct process *process = &view.scenario->processes[i];
                if (is_here(&view, process) && !process->sm_utilization_percent.error)
                    answer[filled++] = (struct process_sample){pid_of(process), stamp(process, now), sm_utilization_percent(process), 0, 0, 0};
            }
            *count = filled;
        }
    });
}

EXPORT int nvmlDeviceGetProcessesUtilizationInfo(struct device *handle, struct samples_v1 *answer)
{
    DEVICE_CALL(handle, {
        unsigned needed = 0;
        unsigned long long now = now_us(view.scenario);
        if (!answer)
            result = INVALID_ARGUMENT;
        else if (answer->version != (0x1000000u | sizeof *answer))
            result = ARGUMENT_VERSION_MISMATCH;
        else
            result = samples(&view, &needed);
        if (result == OK && !answer->array) {
            answer->count = needed + 1;
            result = INSUFFICIENT_SIZE;
        } else if (result == OK && (!needed || answer->last_seen >= now))
            result = NOT_FOUND;
        else if (result == OK && answer->count < needed) {
            answer->count = needed;
            result = INSUFFICIENT_SIZE;
        } else if (result == OK) {
            unsigned filled = 0;
            for (int i = 0; i < view.scenario->process_count; i++) {
                const struct process *process = &view.scenario->processes[i];
                if (is_here(&view, process) && !process->sm_utilization_percent.error)
                    answer->array[filled++] =
                        (struct sample_info){.timestamp = stamp(process, now), .pid = pid_of(process), .sm = sm_utilization_percent(process)};
            }
            answer->count = filled;
        }
    });
}

/* --- slices ---------------------------------------------------------------------------------------------- */

EXPORT int nvmlDeviceGetMigMode(struct device *handle, unsigned *now, unsigned *pending)
{
    DEVICE_CALL(handle, {
        double mode = 0;
        result = view.mig ? NOT_SUPPORTED : number(&view, KEY_mig_mode, 1, &mode);
        if (result == OK)
            *now = *pending = mode != 0;
    });
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(struct device *handle, unsigned *most)
{
    DEVICE_CALL(handle, {
        double mode = 0;
        *most = number(&view, KEY_mig_mode, 1, &mode) == OK && mode ? MAX_MIGS - 1 : 0;
    });
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(struct device *handle, unsigned index, struct device **slice)
{
    DEVICE_CALL(handle, {
        if (view.mig)
            result = INVALID_ARGUMENT;
        else if (index >= MAX_MIGS || !view.gpu->migs[index].present)
            result = NOT_FOUND;
        else
            result = error_opening(&view, call.name, device_handle(view.gpu->number, (int)index));
        if (result == OK)
            *slice = device_handle(view.gpu->number, (int)index);
    });
}

EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct device *handle, struct device **parent)
{
    DEVICE_CALL(handle, {
        if (!view.mig)
            result = INVALID_ARGUMENT;
        else
            *parent = device_handle(view.gpu->number, NONE);
    });
}

EXPORT int nvmlDeviceIsMigDeviceHandle(struct device *handle, unsigned *is_slice)
{
    DEVICE_CALL(handle, { *is_slice = view.mig != NULL; });
}

EXPORT int nvmlDeviceGetGpuInstanceId(struct device *handle, unsigned *id)
{
    DEVICE_CALL(handle, {
        if (!view.mig)
            result = INVALID_ARGUMENT;
        else
            *id = view.mig->gpu_instance;
    });
}

EXPORT int nvmlDeviceGetComputeInstanceId(struct device *handle, unsigned *id)
{
    DEVICE_CALL(handle, {
        if (!view.mig)
            result = INVALID_ARGUMENT;
        else
            *id = view.mig->compute_instance;
    });
}

EXPORT int nvmlDeviceGetAttributes_v2(struct device *handle, struct attributes *answer)
{
    DEVICE_CALL(handle, {
        if (!view.mig)
            result = NOT_SUPPORTED;
        else if (view.mig->memory_total_mib.error)
            result = view.mig->memory_total_mib.error;
        else
            *answer = (struct attributes){
                .multiprocessors = view.mig->multiprocessors,
                .copy_engines = 1,
                .gpu_slices = view.mig->slices,
                .compute_slices = view.mig->compute_slices,
                .memory_mib = (unsigned long long)view.mig->memory_total_mib.low,
            };
    });
}
