/* Event sets. Critical Xids are the only events. */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <pthread.h>
#include <time.h>

enum { MAX_SETS = 64, XID_CRITICAL_ERROR = 8, STEP_NS = 1000000, NO_INSTANCE = -1 };

/* delivered: how many of a GPU's xid lines were delivered or present at registration; -1: not registered. */
struct event_set {
    int used, delivered[MAX_GPUS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct event_set sets[MAX_SETS];

static int is_set(const struct event_set *set)
{
    return set >= sets && set < sets + MAX_SETS && set->used;
}

/* The next undelivered Xid, or 0. */
static int next_event(struct event_set *set, const struct scenario *scenario, struct event_data *data)
{
    for (int i = 0; i < MAX_GPUS; i++) {
        const struct gpu *gpu = &scenario->gpus[i];
        if (set->delivered[i] > gpu->xid_count)
            set->delivered[i] = gpu->xid_count;
        if (set->delivered[i] < 0 || set->delivered[i] == gpu->xid_count)
            continue;
        *data = (struct event_data){
            .device = scenario->other_event_handles ? second_handle(i) : device_handle(i, NONE), .type = XID_CRITICAL_ERROR, .data = gpu->xids[set->delivered[i]++],
            .gpu_instance = (unsigned)NO_INSTANCE, .compute_instance = (unsigned)NO_INSTANCE,
        };
        return 1;
    }
    return 0;
}

/* Not under the lock: nvmlInit takes it while it holds the other one. */
static int has_lost_gpu(const struct event_set set, const struct scenario *scenario)
{
    for (int i = 0; i < MAX_GPUS; i++)
        if (set.delivered[i] >= 0 && is_lost(scenario, i))
            return 1;
    return 0;
}

EXPORT int nvmlEventSetCreate(struct event_set **result_set)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result == OK) {
        pthread_mutex_lock(&lock);
        int i = 0;
        while (i < MAX_SETS && sets[i].used)
            i++;
        if (i == MAX_SETS)
            stop_loudly("more than %d event sets: they are not freed", MAX_SETS);
        sets[i].used = 1;
        for (int gpu = 0; gpu < MAX_GPUS; gpu++)
            sets[i].delivered[gpu] = -1;
        *result_set = &sets[i];
        pthread_mutex_unlock(&lock);
    }
    return end(&view, result);
}

EXPORT int nvmlDeviceGetSupportedEventTypes(struct device *handle, unsigned long long *types)
{
    DEVICE_CALL(handle, *types = view.mig ? 0 : XID_CRITICAL_ERROR;);
}

EXPORT int nvmlDeviceRegisterEvents(struct device *handle, unsigned long long types, struct event_set *set)
{
    DEVICE_CALL(handle, {
        pthread_mutex_lock(&lock);
        if (!is_set(set))
            result = INVALID_ARGUMENT;
        else if (view.mig || (types & ~(unsigned long long)XID_CRITICAL_ERROR))
            result = NOT_SUPPORTED;
        else
            set->delivered[handle->gpu] = view.gpu->xid_count;
        pthread_mutex_unlock(&lock);
    });
}

EXPORT int nvmlEventSetWait_v2(struct event_set *set, struct event_data *data, unsigned milliseconds)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    for (unsigned waited = 0; result == OK; waited++) {
        pthread_mutex_lock(&lock);
        int known = is_set(set), found = known && next_event(set, view.scenario, data);
        struct event_set copy = known ? *set : (struct event_set){0};
        pthread_mutex_unlock(&lock);
        if (found)
            break;
        if (known && has_lost_gpu(copy, view.scenario)) {
            result = GPU_IS_LOST;
            break;
        }
        if (!known || waited >= milliseconds) {
            result = known ? TIMEOUT : INVALID_ARGUMENT;
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
        result = look_again(&view);
    }
    return end(&view, result);
}

EXPORT int nvmlEventSetFree(struct event_set *set)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result == OK) {
        pthread_mutex_lock(&lock);
        if (is_set(set))
            set->used = 0;
        else
            result = INVALID_ARGUMENT;
        pthread_mutex_unlock(&lock);
    }
    return end(&view, result);
}

/* Not NVML: number of sets that were created and not freed. */
EXPORT int fakeNvmlEventSets(void)
{
    int count = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_SETS; i++)
        count += sets[i].used;
    pthread_mutex_unlock(&lock);
    return count;
}

void forget_event_sets(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_SETS; i++)
        sets[i].used = 0;
    pthread_mutex_unlock(&lock);
}
