/* The functions that nvidia-smi calls without a name, so that NVIDIA's own nvidia-smi runs on this library.

   It asks for a table of them: the table's size in bytes, then addresses. The meaning of four entries was
   found by what nvidia-smi of 470, 535 and 550 prints when they answer; all others are not supported. */
#include "fake_nvml.h"

#include <stdint.h>

enum { ENTRIES = 400, POWER_LIMIT = 108, COMPUTE_PROCESSES = 213, MPS_PROCESSES, GRAPHICS_PROCESSES };

int nvmlDeviceGetEnforcedPowerLimit(struct device *handle, unsigned *milliwatts);

static int not_supported(void)
{
    return NOT_SUPPORTED;
}

static uintptr_t table[ENTRIES];

__attribute__((constructor)) static void fill(void)
{
    for (int i = 0; i < ENTRIES; i++)
        table[i] = (uintptr_t)not_supported;
    table[0] = sizeof table;
    table[POWER_LIMIT] = (uintptr_t)nvmlDeviceGetEnforcedPowerLimit;
    table[COMPUTE_PROCESSES] = (uintptr_t)private_compute_processes;
    table[GRAPHICS_PROCESSES] = (uintptr_t)private_graphics_processes;
    table[MPS_PROCESSES] = (uintptr_t)private_mps_processes;
}

EXPORT int nvmlInternalGetExportTable(const void **answer, const void *id)
{
    (void)id;
    *answer = table;
    return OK;
}
