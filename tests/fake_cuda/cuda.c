/* libcuda.so.1 without a GPU: the functions that a load calls. What a process holds on the GPU is written into
   FAKE_CUDA_FOLDER/PID, as MiB, for whoever plays the GPU. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { OK = 0, INVALID_VALUE = 1, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, MISALIGNED_ADDRESS = 716 };

static const char *const kernels[] = {"burn", "spin", "wild", "misaligned"};
static unsigned long long allocated;

static void publish(void)
{
    const char *folder = getenv("FAKE_CUDA_FOLDER");
    char path[4096];
    FILE *file;
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
    file = fopen(path, "w");
    if (file) {
        fprintf(file, "%llu\n", allocated >> 20);
        fclose(file);
    }
}

EXPORT int cuInit(unsigned flags)
{
    return flags ? INVALID_VALUE : OK;
}

EXPORT int cuDeviceGetByPCIBusId(int *device, const char *bus_id)
{
    *device = 0;
    return strlen(bus_id) == 12 ? OK : INVALID_VALUE;
}

EXPORT int cuCtxCreate_v2(void **context, unsigned flags, int device)
{
    *context = &allocated;
    return flags || device ? INVALID_VALUE : OK;
}

EXPORT int cuModuleLoadData(void **module, const void *image)
{
    *module = &allocated;
    return strstr(image, ".target") ? OK : INVALID_VALUE;
}

EXPORT int cuMemAlloc_v2(unsigned long long *address, size_t bytes)
{
    *address = 0x700000000ULL + allocated;
    allocated += bytes;
    publish();
    return OK;
}

EXPORT int cuMemsetD8_v2(unsigned long long address, unsigned char value, size_t bytes)
{
    return address && !value && bytes ? OK : INVALID_VALUE;
}

EXPORT int cuModuleGetFunction(const void **function, void *module, const char *name)
{
    if (module != &allocated)
        return INVALID_VALUE;
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++)
        if (strcmp(name, kernels[k]) == 0) {
            *function = kernels[k];
            return OK;
        }
    return NOT_FOUND;
}

EXPORT int cuLaunchKernel(const char *function, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y,
                          unsigned block_z, unsigned shared, void *stream, void **arguments, void **extra)
{
    const double cycles_per_second = 1.5e9;
    unsigned long long cycles;
    if (!x || y != 1 || z != 1 || !block_x || block_y != 1 || block_z != 1 || shared || stream || !arguments || extra)
        return INVALID_VALUE;
    memcpy(&cycles, arguments[0], sizeof cycles);
    if (strcmp(function, "burn") != 0 && strcmp(function, "spin") != 0)
        cycles *= 20; /* long enough to be noticed */
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * (double)cycles / cycles_per_second)}, NULL);
    return strcmp(function, "wild") == 0         ? ILLEGAL_ADDRESS
           : strcmp(function, "misaligned") == 0 ? MISALIGNED_ADDRESS
                                                 : OK;
}

EXPORT int cuCtxSynchronize(void)
{
    return OK;
}

EXPORT int cuGetErrorName(int code, const char **name)
{
    *name = code == ILLEGAL_ADDRESS       ? "CUDA_ERROR_ILLEGAL_ADDRESS"
            : code == MISALIGNED_ADDRESS ? "CUDA_ERROR_MISALIGNED_ADDRESS"
                                         : "CUDA_ERROR_INVALID_VALUE";
    return OK;
}
