/* Reads a scenario file; anything unknown ends the process, so that a typo cannot make a test pass. */
#include "fake_nvml.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The position of the parser, named in every error message. */
struct reader {
    const char *path;
    int line;
    struct scenario *scenario;
    enum { NO_SECTION, DRIVER, GPU, MIG, CALL } section;
    int first_gpu, last_gpu, mig;
    char name[TEXT_SIZE]; /* of the section, for error messages */
};

#define COMPLAIN(reader, format, ...) \
    stop_loudly("%s line %d: " format, (reader)->path, (reader)->line, __VA_ARGS__)

static int read_error(struct reader *reader, const char *word)
{
    int code = error_code(word);
    if (code < 0)
        COMPLAIN(reader, "'%s' is not an NVML error, by name or number", word);
    return code;
}

static double read_number(struct reader *reader, const char *word, char **rest)
{
    double number = strtod(word, rest);
    /* strtod also reads "nan" and "inf" */
    if (*rest == word || number - number != 0)
        COMPLAIN(reader, "'%s' is not a number, LOW..HIGH, N/A or error:NAME", word);
    return number;
}

static int read_integer(struct reader *reader, const char *word, int low, int high)
{
    char *rest;
    long number = strtol(word, &rest, 0);
    if (rest == word || *rest || number < low || number > high)
        COMPLAIN(reader, "'%s' is not a whole number from %d to %d", word, low, high);
    return (int)number;
}

static int read_switch(struct reader *reader, const char *word)
{
    if (strcmp(word, "yes") == 0)
        return 1;
    if (strcmp(word, "no") != 0)
        COMPLAIN(reader, "'%s' is neither yes nor no", word);
    return 0;
}

/* 5, 20..90, 20..90/30 (there and back in 30 seconds), N/A, none or error:NAME */
static struct value read_value(struct reader *reader, const char *word)
{
    struct value value = {.period_seconds = 60};
    char *rest;
    if (strcmp(word, "N/A") == 0 || strcmp(word, "none") == 0) {
        value.error = NOT_SUPPORTED;
        return value;
    }
    if (strncmp(word, "error:", 6) == 0) {
        value.error = read_error(reader, word + 6);
        return value;
    }
    value.low = value.high = read_number(reader, word, &rest);
    /* strtod takes the first dot of "20..90" as its own */
    if (rest > word && rest[-1] == '.' && rest[0] == '.')
        rest--;
    if (strncmp(rest, "..", 2) == 0)
        value.high = read_number(reader, rest + 2, &rest);
    if (*rest == '/')
        value.period_seconds = read_number(reader, rest + 1, &rest);
    if (*rest || value.period_seconds <= 0)
        COMPLAIN(reader, "'%s' is not a number, LOW..HIGH, N/A or error:NAME", word);
    return value;
}

static void read_plain(struct reader *reader, const char *word, char *target)
{
    if (!*word || strlen(word) >= TEXT_SIZE)
        COMPLAIN(reader, "'%s' is empty or longer than %d", word, TEXT_SIZE - 1);
    strcpy(target, word);
}

static struct text read_text(struct reader *reader, const char *word)
{
    struct text text = {0};
    if (strcmp(word, "N/A") == 0)
        text.error = NOT_SUPPORTED;
    else if (strncmp(word, "error:", 6) == 0)
        text.error = read_error(reader, word + 6);
    else
        read_plain(reader, word, text.text);
    return text;
}

static struct value default_value(double number)
{
    struct value value = {.low = number, .high = number};
    if (number == UNSUPPORTED)
        value.error = NOT_SUPPORTED;
    return value;
}

static void new_gpu(struct gpu *gpu, int number)
{
#define AS_DEFAULT(name, number) gpu->values[KEY_##name] = default_value(number);
    GPU_KEYS(AS_DEFAULT)
    gpu->present = 1;
    gpu->number = number;
    for (int i = 0; i < TEXT_COUNT; i++)
        gpu->texts[i].error = NOT_SUPPORTED;
    struct text *name = &gpu->texts[TEXT_name], *uuid = &gpu->texts[TEXT_uuid], *pci = &gpu->texts[TEXT_pci_bus_id];
    name->error = uuid->error = pci->error = OK;
    strcpy(name->text, "NVIDIA H100 80GB HBM3");
    snprintf(uuid->text, TEXT_SIZE, "GPU-fa4e0000-0000-4000-8000-%012d", number);
    snprintf(pci->text, TEXT_SIZE, "00000000:%02X:00.0", number + 16);
}

static void new_mig(struct mig *mig, int gpu, int number)
{
    mig->present = 1;
    snprintf(mig->uuid.text, TEXT_SIZE, "MIG-fa4e0000-0000-4000-8000-%06d%06d", gpu, number);
    strcpy(mig->profile.text, "1g.10gb");
    mig->memory_total_mib = default_value(9856);
    mig->memory_used_mib = default_value(AUTO);
    mig->utilization_percent = default_value(0);
    mig->gpu_instance = (unsigned)number + 7;
    mig->compute_instance = 0;
    mig->slices = mig->compute_slices = 1;
    mig->multiprocessors = 16;
}

static void open_section(struct reader *reader, const char *line)
{
    char call[TEXT_SIZE];
    int end = 0, length = (int)strlen(line);
    snprintf(reader->name, TEXT_SIZE, "%s", line);
    if (strcmp(line, "[driver]") == 0) {
        reader->section = DRIVER;
        return;
    }
    if (sscanf(line, "[call %94[A-Za-z0-9_*]]%n", call, &end) == 1 && end == length) {
        if (!rule_names_any(call))
            COMPLAIN(reader, "%s: the fake NVML has no such function", line);
        struct scenario *scenario = reader->scenario;
        scenario->rules = realloc(scenario->rules, (size_t)(scenario->rule_count + 1) * sizeof(struct rule));
        struct rule *rule = &scenario->rules[scenario->rule_count++];
        *rule = (struct rule){.gpu = ANY, .mig = ANY};
        strcpy(rule->name, call);
        reader->section = CALL;
        return;
    }
    int first = -1, last = -1, mig = -1;
    if (sscanf(line, "[gpu %d]%n", &first, &end) == 1 && end == length)
        last = first;
    else if (!(sscanf(line, "[gpu %d-%d]%n", &first, &last, &end) == 2 && end == length)) {
        if (!(sscanf(line, "[gpu %d mig %d]%n", &first, &mig, &end) == 2 && end == length && mig >= 0 && mig < MAX_MIGS))
            COMPLAIN(reader, "no such section: %s", line);
        last = first;
    }
    if (first < 0 || last < first || last >= MAX_GPUS)
        COMPLAIN(reader, "%s: GPUs are numbered 0 to %d", line, MAX_GPUS - 1);
    reader->section = mig < 0 ? GPU : MIG;
    reader->first_gpu = first;
    reader->last_gpu = last;
    reader->mig = mig;
    for (int i = first; i <= last; i++)
        if (!reader->scenario->gpus[i].present)
            new_gpu(&reader->scenario->gpus[i], i);
    if (mig >= 0 && !reader->scenario->gpus[first].migs[mig].present)
        new_mig(&reader->scenario->gpus[first].migs[mig], first, mig);
}

static _Noreturn void unknown_key(struct reader *reader, const char *key)
{
    COMPLAIN(reader, "%s has no key '%s'", reader->name, key);
}

/* pid=42 memory_mib=1024 type=C sm_utilization_percent=40 gpu_instance=1 compute_instance=0 */
static void read_process(struct reader *reader, int gpu, char *words)
{
    struct process process = {
        .gpu = gpu, .mig = reader->section == MIG ? reader->mig : NONE, .pid = NONE, .compute = 1,
        .memory_mib = default_value(1024), .sm_utilization_percent = default_value(0),
        .gpu_instance = NONE, .compute_instance = NONE,
    };
    char *rest = NULL;
    for (char *word = strtok_r(words, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        char *is = strchr(word, '=');
        if (!is)
            COMPLAIN(reader, "process: '%s' is not key=value", word);
        *is = 0;
        char *text = is + 1;
        if (strcmp(word, "pid") == 0)
            process.pid = strcmp(text, "self") == 0     ? SELF
                          : strcmp(text, "hidden") == 0 ? HIDDEN
                                                        : read_integer(reader, text, 1, 0x7fffffff);
        else if (strcmp(word, "ahead_seconds") == 0)
            process.ahead_seconds = read_integer(reader, text, 0, 1000000000);
        else if (strcmp(word, "memory_mib") == 0)
            process.memory_mib = read_value(reader, text);
        else if (strcmp(word, "sm_utilization_percent") == 0)
            process.sm_utilization_percent = read_value(reader, text);
        else if (strcmp(word, "gpu_instance") == 0)
            process.gpu_instance = read_integer(reader, text, 0, 1000);
        else if (strcmp(word, "compute_instance") == 0)
            process.compute_instance = read_integer(reader, text, 0, 1000);
        else if (strcmp(word, "type") == 0) {
            process.compute = strcmp(text, "C") == 0 || strcmp(text, "C+G") == 0;
            process.graphics = strcmp(text, "G") == 0 || strcmp(text, "C+G") == 0;
            process.mps = strcmp(text, "M") == 0;
            if (!process.compute && !process.graphics && !process.mps)
                COMPLAIN(reader, "type '%s' is not C, G, C+G or M", text);
        } else
            COMPLAIN(reader, "process has no key '%s'", word);
    }
    if (process.pid == NONE)
        COMPLAIN(reader, "%s", "a process without pid");
    struct scenario *scenario = reader->scenario;
    scenario->processes = realloc(scenario->processes, (size_t)(scenario->process_count + 1) * sizeof process);
    scenario->processes[scenario->process_count++] = process;
}

static void driver_key(struct reader *reader, const char *key, const char *text)
{
    struct scenario *scenario = reader->scenario;
    int major, minor, end = 0;
    if (strcmp(key, "version") == 0)
        read_plain(reader, text, scenario->driver_version);
    else if (strcmp(key, "nvml_version") == 0)
        read_plain(reader, text, scenario->nvml_version);
    else if (strcmp(key, "cuda_version") == 0) {
        if (sscanf(text, "%d.%d%n", &major, &minor, &end) != 2 || text[end])
            COMPLAIN(reader, "cuda_version '%s' is not like 12.4", text);
        scenario->cuda_version = major * 1000 + minor * 10;
    } else if (strcmp(key, "init_error") == 0)
        scenario->init_error = read_error(reader, text);
    else if (strcmp(key, "process_row_bytes") == 0)
        scenario->process_row_bytes = read_integer(reader, text, 24, 32);
    else if (strcmp(key, "other_event_handles") == 0)
        scenario->other_event_handles = read_switch(reader, text);
    else if (strcmp(key, "clock_offset_seconds") == 0)
        scenario->clock_offset_seconds = read_integer(reader, text, -1000000000, 1000000000);
    else if (strcmp(key, "generation") == 0)
        scenario->generation = read_integer(reader, text, 0, 1000000);
    else
        unknown_key(reader, key);
}

static void call_key(struct reader *reader, const char *key, const char *text)
{
    struct rule *rule = &reader->scenario->rules[reader->scenario->rule_count - 1];
    if (strcmp(key, "gpu") == 0)
        rule->gpu = read_integer(reader, text, 0, MAX_GPUS - 1);
    else if (strcmp(key, "mig") == 0)
        rule->mig = strcmp(text, "none") == 0 ? NONE : read_integer(reader, text, 0, MAX_MIGS - 1);
    else if (strcmp(key, "error") == 0)
        rule->error = read_error(reader, text);
    else if (strcmp(key, "hang") == 0)
        rule->hang = read_switch(reader, text);
    else if (strcmp(key, "delay_ms") == 0)
        rule->delay_ms = read_integer(reader, text, 0, 600000);
    else
        unknown_key(reader, key);
}

static void mig_key(struct reader *reader, const char *key, char *text)
{
    struct mig *mig = &reader->scenario->gpus[reader->first_gpu].migs[reader->mig];
    if (strcmp(key, "process") == 0)
        read_process(reader, reader->first_gpu, text);
    else if (strcmp(key, "uuid") == 0)
        mig->uuid = read_text(reader, text);
    else if (strcmp(key, "profile") == 0)
        mig->profile = read_text(reader, text);
    else if (strcmp(key, "memory_total_mib") == 0)
        mig->memory_total_mib = read_value(reader, text);
    else if (strcmp(key, "memory_used_mib") == 0)
        mig->memory_used_mib = read_value(reader, text);
    else if (strcmp(key, "utilization_percent") == 0)
        mig->utilization_percent = strcmp(text, "nan") == 0 ? default_value(NAN) : read_value(reader, text);
    else if (strcmp(key, "gpu_instance") == 0)
        mig->gpu_instance = (unsigned)read_integer(reader, text, 0, 1000);
    else if (strcmp(key, "compute_instance") == 0)
        mig->compute_instance = (unsigned)read_integer(reader, text, 0, 1000);
    else if (strcmp(key, "slices") == 0)
        mig->slices = (unsigned)read_integer(reader, text, 1, 8);
    else if (strcmp(key, "compute_slices") == 0)
        mig->compute_slices = (unsigned)read_integer(reader, text, 1, 8);
    else if (strcmp(key, "multiprocessors") == 0)
        mig->multiprocessors = (unsigned)read_integer(reader, text, 1, 1000);
    else
        unknown_key(reader, key);
}

static void field_key(struct reader *reader, struct gpu *gpu, const char *id, const char *text)
{
    if (gpu->field_count == MAX_FIELDS)
        COMPLAIN(reader, "more than %d fields", MAX_FIELDS);
    struct field *field = &gpu->fields[gpu->field_count++];
    field->id = (unsigned)read_integer(reader, id, 1, 100000);
    field->value = read_value(reader, text);
}

static void gpu_key(struct reader *reader, struct gpu *gpu, const char *key, const char *text)
{
    if (strcmp(key, "lost") == 0) {
        gpu->lost = read_switch(reader, text);
        return;
    }
    if (strcmp(key, "xid") == 0) {
        if (gpu->xid_count == MAX_XIDS)
            COMPLAIN(reader, "more than %d Xids", MAX_XIDS);
        gpu->xids[gpu->xid_count++] = (unsigned)read_integer(reader, text, 0, 100000);
        return;
    }
    if (strncmp(key, "field_", 6) == 0) {
        field_key(reader, gpu, key + 6, text);
        return;
    }
    if (strcmp(key, "process") == 0) {
        char words[256]; /* a copy: a range of GPUs parses the line several times */
        if (snprintf(words, sizeof words, "%s", text) >= (int)sizeof words)
            COMPLAIN(reader, "process: longer than %d", (int)sizeof words - 1);
        read_process(reader, gpu->number, words);
        return;
    }
#define READ_VALUE(name, ...)                              \
    if (strcmp(key, #name) == 0) {                         \
        gpu->values[KEY_##name] = read_value(reader, text); \
        return;                                            \
    }
#define READ_TEXT(name)                                   \
    if (strcmp(key, #name) == 0) {                        \
        gpu->texts[TEXT_##name] = read_text(reader, text); \
        return;                                           \
    }
    GPU_KEYS(READ_VALUE)
    GPU_TEXTS(READ_TEXT)
    unknown_key(reader, key);
}

static char *trim(char *line)
{
    char *comment = *line == '#' ? line : strstr(line, " #");
    if (comment)
        *comment = 0;
    while (isspace((unsigned char)*line))
        line++;
    char *end = line + strlen(line);
    while (end > line && isspace((unsigned char)end[-1]))
        *--end = 0;
    return line;
}

static void read_line(struct reader *reader, char *line)
{
    line = trim(line);
    if (!*line)
        return;
    if (*line == '[') {
        open_section(reader, line);
        return;
    }
    char *is = strchr(line, '=');
    if (!is)
        COMPLAIN(reader, "'%s' is neither [section] nor key = value", line);
    *is = 0;
    char *key = trim(line), *text = trim(is + 1);
    switch (reader->section) {
    case NO_SECTION:
        COMPLAIN(reader, "'%s' comes before any [section]", key);
    case DRIVER:
        driver_key(reader, key, text);
        break;
    case CALL:
        call_key(reader, key, text);
        break;
    case MIG:
        mig_key(reader, key, text);
        break;
    case GPU:
        for (int i = reader->first_gpu; i <= reader->last_gpu; i++)
            gpu_key(reader, &reader->scenario->gpus[i], key, text);
    }
}

/* Values that default to other values. */
static void settle(struct scenario *scenario)
{
    for (int i = 0; i < MAX_GPUS; i++) {
        struct gpu *gpu = &scenario->gpus[i];
        if (!gpu->present)
            continue;
        struct value *values = gpu->values;
        int slices = 0;
        for (int m = 0; m < MAX_MIGS; m++)
            slices += gpu->migs[m].present;
        if (values[KEY_mig_mode].low == AUTO)
            values[KEY_mig_mode] = default_value(slices > 0);
        if (values[KEY_minor].low == AUTO)
            values[KEY_minor] = default_value(i);
        if (values[KEY_nvlinks_up].low == AUTO)
            values[KEY_nvlinks_up] = values[KEY_nvlinks];
        if (values[KEY_graphics_clock_mhz].low == AUTO)
            values[KEY_graphics_clock_mhz] = values[KEY_sm_clock_mhz];
        if (values[KEY_power_management_limit_watts].low == AUTO)
            values[KEY_power_management_limit_watts] = values[KEY_power_limit_watts];
    }
    for (int i = 0; i < scenario->process_count; i++) {
        struct process *process = &scenario->processes[i];
        const struct mig *migs = scenario->gpus[process->gpu].migs;
        if (process->mig != NONE) {
            process->gpu_instance = (int)migs[process->mig].gpu_instance;
            process->compute_instance = (int)migs[process->mig].compute_instance;
            continue;
        }
        for (int m = 0; m < MAX_MIGS; m++)
            if (migs[m].present && (int)migs[m].gpu_instance == process->gpu_instance &&
                (int)migs[m].compute_instance == process->compute_instance)
                process->mig = m;
    }
}

struct scenario *read_scenario(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        stop_loudly("cannot read the scenario %s", path);
    struct scenario *scenario = calloc(1, sizeof *scenario);
    if (!scenario)
        stop_loudly("no memory for %s", path);
    strcpy(scenario->driver_version, "550.54.15");
    strcpy(scenario->nvml_version, "12.550.54.15");
    scenario->cuda_version = 12040;
    scenario->process_row_bytes = 24;
    struct reader reader = {.path = path, .scenario = scenario};
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) >= 0) {
        reader.line++;
        read_line(&reader, line);
    }
    free(line);
    fclose(file);
    settle(scenario);
    return scenario;
}

void free_scenario(struct scenario *scenario)
{
    free(scenario->processes);
    free(scenario->rules);
    free(scenario);
}
