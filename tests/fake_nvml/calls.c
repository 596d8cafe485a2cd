/* The frame of every call: the current scenario, its rules for this call, and the device. */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_EVERY_NS = 5000000, HANG_STEP_NS = 10000000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Read and written only under the lock, which is never held while a call hangs, sleeps or answers. */
static struct {
    char path[4096]; /* "" with chosen: no library */
    int chosen;
    struct scenario *scenario;
    struct stat seen;
    long long looked_at;
    int inits, generation;
    int fallen[MAX_GPUS];                 /* GPUs that were lost since then: they stay so until the next nvmlInit */
    int visible[MAX_GPUS], visible_count; /* as NVML counted the GPUs when it was initialised */
} state;

static atomic_int hanging;

/* Handles are addresses in this array: for each GPU its own, followed by those of its slices. Behind them, each has
   a second one. */
enum { PER_GPU = 1 + MAX_MIGS, FIRST_HANDLES = MAX_GPUS * PER_GPU, HANDLES = 2 * FIRST_HANDLES };
static struct device devices[HANDLES];

__attribute__((constructor)) static void number_the_handles(void)
{
    for (int i = 0; i < HANDLES; i++)
        devices[i] = (struct device){i % FIRST_HANDLES / PER_GPU, i % PER_GPU ? i % PER_GPU - 1 : NONE};
}

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_ns(long long ns)
{
    struct timespec rest = {.tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL};
    while (nanosleep(&rest, &rest) != 0) {
    }
}

static void drop(struct scenario *scenario)
{
    if (scenario && --scenario->references == 0)
        free_scenario(scenario);
}

static int same_file(const struct stat *one, const struct stat *other)
{
    return one->st_ino == other->st_ino && one->st_size == other->st_size &&
           one->st_mtim.tv_sec == other->st_mtim.tv_sec && one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

static void look(void)
{
    struct stat seen;
    if (!state.chosen) {
        const char *path = getenv("FAKE_NVML_SCENARIO");
        if (!path || !*path)
            stop_loudly("the environment variable FAKE_NVML_SCENARIO names no scenario file");
        snprintf(state.path, sizeof state.path, "%s", path);
        state.chosen = 1;
    }
    if (!*state.path)
        return;
    if (stat(state.path, &seen) != 0)
        stop_loudly("cannot read the scenario %s", state.path);
    if (state.scenario && same_file(&seen, &state.seen))
        return;
    struct scenario *scenario = read_scenario(state.path);
    scenario->references = 1;
    drop(state.scenario);
    state.scenario = scenario;
    state.seen = seen;
}

struct scenario *take_scenario(void)
{
    pthread_mutex_lock(&lock);
    long long now = now_ns();
    if (!state.chosen || (*state.path && (!state.scenario || now - state.looked_at >= LOOK_EVERY_NS))) {
        look();
        state.looked_at = now;
    }
    if (state.scenario)
        state.scenario->references++;
    struct scenario *scenario = state.scenario;
    pthread_mutex_unlock(&lock);
    return scenario;
}

void give_back(struct scenario *scenario)
{
    pthread_mutex_lock(&lock);
    drop(scenario);
    pthread_mutex_unlock(&lock);
}

/* The linker's names for the ends of the section that THIS_CALL fills. */
extern struct call __start_nvml_calls[], __stop_nvml_calls[];

int rule_names(const char *rule, const char *call)
{
    size_t length = strlen(rule);
    if (length && rule[length - 1] == '*')
        return strncmp(rule, call, length - 1) == 0;
    return strcmp(rule, call) == 0;
}

int rule_names_any(const char *rule)
{
    for (struct call *call = __start_nvml_calls; call < __stop_nvml_calls; call++)
        if (rule_names(rule, call->name))
            return 1;
    return 0;
}

static const struct rule *find_rule(const struct scenario *scenario, const char *call, const struct device *device)
{
    for (int i = 0; i < scenario->rule_count; i++) {
        const struct rule *rule = &scenario->rules[i];
        if (!rule_names(rule->name, call))
            continue;
        if (rule->gpu != ANY && (!device || device->gpu != rule->gpu))
            continue;
        if (rule->mig != ANY && (!device || device->mig != rule->mig))
            continue;
        return rule;
    }
    return NULL;
}

/* The error of a rule for one slice, when a call on its GPU opens that slice. */
int error_opening(const struct view *view, const char *call, const struct device *slice)
{
    const struct rule *rule = find_rule(view->scenario, call, slice);
    return rule && rule->mig == slice->mig ? rule->error : OK;
}

static int obey(struct call *call, const struct device *device, struct view *view)
{
    int waited = 0, error = OK;
    const struct rule *rule;
    *view = (struct view){0};
    atomic_fetch_add(&call->count, 1);
    for (;;) {
        view->scenario = take_scenario();
        if (!view->scenario) {
            error = LIBRARY_NOT_FOUND;
            break;
        }
        rule = find_rule(view->scenario, call->name, device);
        if (!rule || !rule->hang) {
            if (rule && rule->delay_ms)
                sleep_ns(rule->delay_ms * 1000000LL);
            error = rule ? rule->error : OK;
            break;
        }
        give_back(view->scenario);
        if (!waited++)
            atomic_fetch_add(&hanging, 1);
        sleep_ns(HANG_STEP_NS);
    }
    if (waited)
        atomic_fetch_sub(&hanging, 1);
    return error;
}

static int initialised(const struct scenario *scenario)
{
    pthread_mutex_lock(&lock);
    int yes = state.inits > 0 && state.generation == scenario->generation;
    pthread_mutex_unlock(&lock);
    return yes;
}

static int is_handle(const struct device *handle)
{
    if (handle < devices || handle >= devices + HANDLES)
        return 0;
    return ((const char *)handle - (const char *)devices) % sizeof *handle == 0;
}

struct device *device_handle(int gpu, int mig)
{
    return &devices[gpu * PER_GPU + (mig == NONE ? 0 : 1 + mig)];
}

struct device *second_handle(int gpu)
{
    return device_handle(gpu, NONE) + FIRST_HANDLES;
}

/* A counted GPU that is no longer in the scenario has fallen off the bus. */
int is_lost(const struct scenario *scenario, int gpu)
{
    pthread_mutex_lock(&lock);
    if (!scenario->gpus[gpu].present || scenario->gpus[gpu].lost)
        state.fallen[gpu] = 1;
    int lost = state.fallen[gpu];
    pthread_mutex_unlock(&lock);
    return lost;
}

/* A call without a device. */
int begin(struct call *call, struct view *view)
{
    int error = obey(call, NULL, view);
    if (error == OK && !initialised(view->scenario))
        error = UNINITIALIZED;
    return error;
}

int begin_device(struct call *call, struct device *handle, struct view *view)
{
    int known = is_handle(handle);
    int error = obey(call, known ? handle : NULL, view);
    if (error != OK)
        return error;
    if (!initialised(view->scenario))
        return UNINITIALIZED;
    if (!known)
        return INVALID_ARGUMENT;
    view->gpu = &view->scenario->gpus[handle->gpu];
    if (is_lost(view->scenario, handle->gpu))
        return GPU_IS_LOST;
    if (handle->mig != NONE) {
        view->mig = &view->gpu->migs[handle->mig];
        if (!view->mig->present)
            return NOT_FOUND;
    }
    return OK;
}

/* For a call that waits: replaces the scenario it began with by the current one. */
int look_again(struct view *view)
{
    give_back(view->scenario);
    view->scenario = take_scenario();
    if (!view->scenario)
        return LIBRARY_NOT_FOUND;
    return initialised(view->scenario) ? OK : UNINITIALIZED;
}

int end(struct view *view, int result)
{
    if (view->scenario)
        give_back(view->scenario);
    return result;
}

/* NVML counts GPUs when it is initialised: one added later appears after the next nvmlInit. */
static void enter(const struct scenario *scenario)
{
    pthread_mutex_lock(&lock);
    if (state.inits++ == 0 || state.generation != scenario->generation) {
        state.generation = scenario->generation;
        forget_event_sets();
        memset(state.fallen, 0, sizeof state.fallen);
        state.visible_count = 0;
        for (int i = 0; i < MAX_GPUS; i++)
            if (scenario->gpus[i].present)
                state.visible[state.visible_count++] = i;
    }
    pthread_mutex_unlock(&lock);
}

static int initialise(struct call *call)
{
    struct view view;
    int result = obey(call, NULL, &view);
    if (result == OK)
        result = view.scenario->init_error;
    if (result == OK)
        enter(view.scenario);
    return end(&view, result);
}

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    THIS_CALL;
    (void)flags;
    return initialise(&call);
}

EXPORT int nvmlInit_v2(void)
{
    THIS_CALL;
    return initialise(&call);
}

EXPORT int nvmlInit(void)
{
    THIS_CALL;
    return initialise(&call);
}

EXPORT int nvmlShutdown(void)
{
    THIS_CALL;
    struct view view;
    int result = obey(&call, NULL, &view);
    if (result == OK) {
        pthread_mutex_lock(&lock);
        if (state.inits == 0)
            result = UNINITIALIZED;
        else
            state.inits--;
        pthread_mutex_unlock(&lock);
    }
    return end(&view, result);
}

EXPORT const char *nvmlErrorString(int code)
{
    return error_text(code);
}

int is_open(void)
{
    pthread_mutex_lock(&lock);
    int open = state.inits > 0;
    pthread_mutex_unlock(&lock);
    return open;
}

int visible_count(void)
{
    pthread_mutex_lock(&lock);
    int number = state.visible_count;
    pthread_mutex_unlock(&lock);
    return number;
}

/* The section number of the GPU at an NVML index, or -1. */
int visible_gpu(unsigned index)
{
    pthread_mutex_lock(&lock);
    int gpu = index < (unsigned)state.visible_count ? state.visible[index] : -1;
    pthread_mutex_unlock(&lock);
    return gpu;
}

int visible_index(int gpu)
{
    int index = -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < state.visible_count; i++)
        if (state.visible[i] == gpu)
            index = i;
    pthread_mutex_unlock(&lock);
    return index;
}

int number(const struct view *view, enum gpu_key key, double scale, double *result)
{
    const struct value *value = &view->gpu->values[key];
    if (value->error == OK)
        *result = value_now(value, view->gpu->number) * scale;
    return value->error;
}

int physical(const struct view *view, enum gpu_key key, double scale, double *result)
{
    return view->mig ? NOT_SUPPORTED : number(view, key, scale, result);
}

unsigned long long whole(double number)
{
    return number <= 0 ? 0 : (unsigned long long)(number + 0.5);
}

/* What follows is not NVML: for tests and benchmarks. */

/* Number of calls of a function since the start or the last fakeNvmlReset; NULL: of all functions. */
EXPORT unsigned long long fakeNvmlCalls(const char *name)
{
    unsigned long long sum = 0;
    for (struct call *call = __start_nvml_calls; call < __stop_nvml_calls; call++)
        if (!name || strcmp(name, call->name) == 0)
            sum += atomic_load(&call->count);
    return sum;
}

/* Number of threads that currently hang in a call. */
EXPORT int fakeNvmlHanging(void)
{
    return atomic_load(&hanging);
}

/* Reads a changed scenario at once; otherwise a change takes effect within 5 ms. */
EXPORT void fakeNvmlReload(void)
{
    pthread_mutex_lock(&lock);
    look();
    state.looked_at = now_ns();
    pthread_mutex_unlock(&lock);
}

/* Starts anew: not initialised, no event set, no call counted, and the scenario at path from now on.
   "" means a machine without the library: every call fails accordingly, and hanging calls return. */
EXPORT void fakeNvmlReset(const char *path)
{
    forget_samples();
    pthread_mutex_lock(&lock);
    snprintf(state.path, sizeof state.path, "%s", path);
    state.chosen = 1;
    drop(state.scenario);
    state.scenario = NULL;
    state.inits = 0;
    for (struct call *call = __start_nvml_calls; call < __stop_nvml_calls; call++)
        atomic_store(&call->count, 0);
    pthread_mutex_unlock(&lock);
    forget_event_sets();
}
