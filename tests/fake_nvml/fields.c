/* nvmlDeviceGetFieldValues: many numbers in one call, each with its own error. */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <stddef.h>
#include <time.h>

enum { UINT = 1, ULONGLONG = 3, LONGLONG = 4, INT = 5 };
enum { NVLINK_STATE = 165 };

static const struct {
    unsigned id;
    enum gpu_key key;
    double scale;
    unsigned type;
} known_fields[] = {
    {1, KEY_ecc, 1, UINT},
    {3, KEY_ecc_corrected, 1, ULONGLONG},
    {4, KEY_ecc_uncorrected, 1, ULONGLONG},
    {5, KEY_ecc_corrected, 1, ULONGLONG},
    {6, KEY_ecc_uncorrected, 1, ULONGLONG},
    {82, KEY_memory_temperature_celsius, 1, UINT},
    {83, KEY_energy_joules, 1000, ULONGLONG},
    {91, KEY_nvlinks, 1, UINT},
    {142, KEY_remapped_corrected, 1, UINT},
    {143, KEY_remapped_uncorrected, 1, UINT},
    {144, KEY_remapped_pending, 1, UINT},
    {145, KEY_remapped_failed, 1, UINT},
    {185, KEY_power_watts, 1000, UINT},
    {186, KEY_power_watts, 1000, UINT},
    {187, KEY_power_min_limit_watts, 1000, UINT},
    {188, KEY_power_max_limit_watts, 1000, UINT},
    {189, KEY_power_default_limit_watts, 1000, UINT},
    {190, KEY_power_limit_watts, 1000, UINT},
    {191, KEY_energy_joules, 1000, ULONGLONG},
    {192, KEY_power_management_limit_watts, 1000, UINT},
};

static void fill(struct field_value *field, unsigned type, double found)
{
    field->type = type;
    if (type == UINT)
        field->value.uint = (unsigned)whole(found);
    else if (type == INT)
        field->value.sint = (int)found;
    else if (type == LONGLONG)
        field->value.longlong = (long long)found;
    else
        field->value.ulonglong = whole(found);
}

/* Of the links that a GPU has, the first ones are up. A field of a link that it does not have is refused. */
static int nvlink_state(const struct view *view, unsigned link, double *state)
{
    double links = 0, up = 0;
    int result = physical(view, KEY_nvlinks, 1, &links);
    if (result == OK && link >= links)
        return INVALID_ARGUMENT;
    if (result == OK)
        result = physical(view, KEY_nvlinks_up, 1, &up);
    *state = link < up;
    return result;
}

EXPORT int nvmlDeviceGetNvLinkState(struct device *handle, unsigned link, unsigned *active)
{
    DEVICE_CALL(handle, {
        double state = 0;
        result = active ? nvlink_state(&view, link, &state) : INVALID_ARGUMENT;
        if (result == OK)
            *active = (unsigned)state;
    });
}

static void read_field(const struct view *view, struct field_value *field)
{
    double found = 0;
    field->result = NOT_SUPPORTED;
    /* field_ID keys of the scenario take precedence; the last one wins. */
    for (int i = view->gpu->field_count - 1; i >= 0; i--) {
        const struct field *own = &view->gpu->fields[i];
        if (own->id != field->id)
            continue;
        field->result = own->value.error;
        found = value_now(&own->value, view->gpu->number);
        /* 193 to 196 are signed distances to a limit */
        int limit = field->id >= 193 && field->id <= 196;
        fill(field, limit ? INT : found < 0 ? LONGLONG : ULONGLONG, found);
        return;
    }
    if (field->id == NVLINK_STATE) {
        field->result = nvlink_state(view, field->scope, &found);
        fill(field, UINT, found);
        return;
    }
    for (size_t i = 0; i < sizeof known_fields / sizeof known_fields[0]; i++)
        if (known_fields[i].id == field->id) {
            field->result = physical(view, known_fields[i].key, known_fields[i].scale, &found);
            fill(field, known_fields[i].type, found);
        }
}

EXPORT int nvmlDeviceGetFieldValues(struct device *handle, int number_of, struct field_value *fields)
{
    DEVICE_CALL(handle, {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (!fields || number_of <= 0)
            result = INVALID_ARGUMENT;
        for (int i = 0; result == OK && i < number_of; i++) {
            fields[i].timestamp = now.tv_sec * 1000000LL + now.tv_nsec / 1000;
            fields[i].latency = 0;
            read_field(&view, &fields[i]);
        }
    });
}
