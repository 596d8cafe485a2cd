/* NVML's errors by name, values that swing, and fatal errors. */
#include "fake_nvml.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {0, "SUCCESS", "Success"},
    {1, "UNINITIALIZED", "Uninitialized"},
    {2, "INVALID_ARGUMENT", "Invalid Argument"},
    {3, "NOT_SUPPORTED", "Not Supported"},
    {4, "NO_PERMISSION", "Insufficient Permissions"},
    {5, "ALREADY_INITIALIZED", "Already Initialized"},
    {6, "NOT_FOUND", "Not Found"},
    {7, "INSUFFICIENT_SIZE", "Insufficient Size"},
    {8, "INSUFFICIENT_POWER", "Insufficient External Power"},
    {9, "DRIVER_NOT_LOADED", "Driver Not Loaded"},
    {10, "TIMEOUT", "Timeout"},
    {11, "IRQ_ISSUE", "Interrupt Request Issue"},
    {12, "LIBRARY_NOT_FOUND", "NVML Shared Library Not Found"},
    {13, "FUNCTION_NOT_FOUND", "Function Not Found"},
    {14, "CORRUPTED_INFOROM", "Corrupted infoROM"},
    {15, "GPU_IS_LOST", "GPU is lost"},
    {16, "RESET_REQUIRED", "GPU requires reset"},
    {17, "OPERATING_SYSTEM", "GPU access blocked by the operating system"},
    {18, "LIB_RM_VERSION_MISMATCH", "Driver/library version mismatch"},
    {19, "IN_USE", "In use by another client"},
    {20, "MEMORY", "Insufficient Memory"},
    {21, "NO_DATA", "No data"},
    {22, "VGPU_ECC_NOT_SUPPORTED", "vGPU ECC not supported"},
    {23, "INSUFFICIENT_RESOURCES", "Insufficient Resources"},
    {24, "FREQ_NOT_SUPPORTED", "Invalid Frequency"},
    {25, "ARGUMENT_VERSION_MISMATCH", "Argument version mismatch"},
    {26, "DEPRECATED", "Requested functionality has been deprecated"},
    {27, "NOT_READY", "System is not in ready state"},
    {28, "GPU_NOT_FOUND", "No supported GPUs were found"},
    {29, "INVALID_STATE", "Resource not in correct state to perform requested operation"},
    {30, "RESET_TYPE_NOT_SUPPORTED", "Unknown Error"},
    {999, "UNKNOWN", "Unknown Error"},
};
enum { ERROR_COUNT = sizeof errors / sizeof errors[0] };

_Noreturn void stop_loudly(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("fake NVML: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    fflush(stderr);
    abort();
}

const char *error_text(int code)
{
    for (int i = 0; i < ERROR_COUNT; i++)
        if (errors[i].code == code)
            return errors[i].text;
    return "Unknown Error";
}

int error_code(const char *name)
{
    char *rest;
    long number = strtol(name, &rest, 10);
    for (int i = 0; i < ERROR_COUNT; i++)
        if (strcmp(errors[i].name, name) == 0 || (*name && !*rest && errors[i].code == number))
            return errors[i].code;
    return -1;
}

double value_now(const struct value *value, int number)
{
    if (value->low == value->high || isnan(value->low))
        return value->low;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    /* Each GPU has its own phase, so that a fleet looks alive. */
    double turns = ((double)now.tv_sec + now.tv_nsec / 1e9) / value->period_seconds + number * 0.381966;
    double phase = turns - (double)(long long)turns;
    double up = phase < 0.5 ? 2 * phase : 2 - 2 * phase;
    return value->low + (value->high - value->low) * up;
}
