/* GPM: samples of the utilization of a GPU or GPU instance; two samples yield the metrics in between. */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { GRAPHICS_UTIL = 1, SM_UTIL = 2, VERSION = 1, WHOLE_GPU = -1 };

/* Never returned to the system, so that using a freed sample is detected. */
struct sample {
    int freed, filled, epoch;
    int gpu, instance, error;
    double percent;
    struct timespec at;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int allocated, epoch;

EXPORT int nvmlGpmQueryDeviceSupport(struct device *handle, struct gpm_support *answer)
{
    DEVICE_CALL(handle, {
        double gpm = 0;
        if (answer->version != VERSION)
            result = ARGUMENT_VERSION_MISMATCH;
        else
            result = physical(&view, KEY_gpm, 1, &gpm);
        if (result == OK)
            answer->supported = gpm != 0;
    });
}

EXPORT int nvmlGpmSampleAlloc(struct sample **answer)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result == OK) {
        struct sample *sample = calloc(1, sizeof *sample);
        pthread_mutex_lock(&lock);
        sample->epoch = epoch;
        allocated++;
        pthread_mutex_unlock(&lock);
        *answer = sample;
    }
    return end(&view, result);
}

static void check(const struct sample *sample)
{
    if (sample->freed)
        stop_loudly("a freed GPM sample was used");
}

/* Samples are the library's own memory: they survive a driver reload, but not nvmlShutdown. */
EXPORT int nvmlGpmSampleFree(struct sample *sample)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result == UNINITIALIZED && is_open())
        result = OK;
    if (result == OK && !sample)
        result = INVALID_ARGUMENT;
    if (result == OK) {
        pthread_mutex_lock(&lock);
        check(sample);
        sample->freed = 1;
        allocated -= sample->epoch == epoch;
        pthread_mutex_unlock(&lock);
    }
    return end(&view, result);
}

/* The utilization of a GPU instance is the mean over its slices. */
static int busy_instance(const struct view *view, int instance, struct sample *sample)
{
    int slices = 0;
    double sum = 0;
    for (int m = 0; m < MAX_MIGS; m++) {
        const struct mig *mig = &view->gpu->migs[m];
        if (!mig->present || (int)mig->gpu_instance != instance)
            continue;
        slices++;
        sum += value_now(&mig->utilization_percent, view->gpu->number);
        if (mig->utilization_percent.error)
            sample->error = mig->utilization_percent.error;
    }
    sample->percent = slices ? sum / slices : 0;
    return slices ? OK : NOT_FOUND;
}

static int take(const struct view *view, int instance, struct sample *sample)
{
    double gpm = 0, divided = 0;
    int result = physical(view, KEY_gpm, 1, &gpm);
    if (!sample)
        return INVALID_ARGUMENT;
    check(sample);
    if (result == OK && !gpm)
        result = NOT_SUPPORTED;
    if (result == OK)
        result = number(view, KEY_mig_mode, 1, &divided);
    /* Either one or the other: it is not documented what a divided GPU answers about itself. */
    if (result == OK && (divided != 0) != (instance != WHOLE_GPU))
        result = NOT_SUPPORTED;
    sample->error = OK;
    if (result == OK)
        result = instance == WHOLE_GPU ? number(view, KEY_utilization_percent, 1, &sample->percent)
                                       : busy_instance(view, instance, sample);
    sample->filled = result == OK;
    sample->gpu = view->gpu->number;
    sample->instance = instance;
    clock_gettime(CLOCK_MONOTONIC, &sample->at);
    return result;
}

EXPORT int nvmlGpmSampleGet(struct device *handle, struct sample *sample)
{
    DEVICE_CALL(handle, { result = take(&view, WHOLE_GPU, sample); });
}

EXPORT int nvmlGpmMigSampleGet(struct device *handle, unsigned instance, struct sample *sample)
{
    DEVICE_CALL(handle, { result = take(&view, (int)instance, sample); });
}

static int is_pair(const struct sample *before, const struct sample *after)
{
    double seconds = (double)(after->at.tv_sec - before->at.tv_sec) + (after->at.tv_nsec - before->at.tv_nsec) / 1e9;
    return before->filled && after->filled && before->gpu == after->gpu && before->instance == after->instance &&
           seconds > 0;
}

/* Counters are assumed to have advanced evenly from the earlier sample to the later one. */
EXPORT int nvmlGpmMetricsGet(struct metrics *answer)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result == OK && answer->version != VERSION)
        result = ARGUMENT_VERSION_MISMATCH;
    if (result == OK && (!answer->before || !answer->after || !answer->count || answer->count > METRICS))
        result = INVALID_ARGUMENT;
    if (result == OK) {
        check(answer->before);
        check(answer->after);
        if (!is_pair(answer->before, answer->after))
            result = INVALID_ARGUMENT;
    }
    for (unsigned i = 0; result == OK && i < answer->count; i++) {
        struct metric *metric = &answer->metrics[i];
        int known = metric->id == GRAPHICS_UTIL || metric->id == SM_UTIL;
        metric->result = known ? answer->after->error : NOT_SUPPORTED;
        metric->value = metric->result ? NAN : (answer->before->percent + answer->after->percent) / 2;
    }
    return end(&view, result);
}

void forget_samples(void)
{
    pthread_mutex_lock(&lock);
    allocated = 0;
    epoch++;
    pthread_mutex_unlock(&lock);
}

/* Not NVML: number of samples allocated since the start or the last fakeNvmlReset. */
EXPORT int fakeNvmlSamples(void)
{
    pthread_mutex_lock(&lock);
    int samples = allocated;
    pthread_mutex_unlock(&lock);
    return samples;
}
