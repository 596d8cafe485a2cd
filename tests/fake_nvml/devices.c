/* The system, the handles of its GPUs and slices, and their names. */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* --- the system ------------------------------------------------------------------------------------------ */

static int plain_text(struct call *call, size_t offset, char *buffer, unsigned size)
{
    struct view view;
    int result = begin(call, &view);
    if (result == OK) {
        const char *text = (const char *)view.scenario + offset;
        result = !buffer ? INVALID_ARGUMENT : strlen(text) >= size ? INSUFFICIENT_SIZE : OK;
        if (result == OK)
            strcpy(buffer, text);
    }
    return end(&view, result);
}

EXPORT int nvmlSystemGetDriverVersion(char *buffer, unsigned size)
{
    THIS_CALL;
    return plain_text(&call, offsetof(struct scenario, driver_version), buffer, size);
}

EXPORT int nvmlSystemGetNVMLVersion(char *buffer, unsigned size)
{
    THIS_CALL;
    return plain_text(&call, offsetof(struct scenario, nvml_version), buffer, size);
}

static int cuda_version(struct call *call, int *version)
{
    struct view view;
    int result = begin(call, &view);
    if (result == OK)
        *version = view.scenario->cuda_version;
    return end(&view, result);
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *version)
{
    THIS_CALL;
    return cuda_version(&call, version);
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    THIS_CALL;
    return cuda_version(&call, version);
}

/* --- handles --------------------------------------------------------------------------------------------- */

EXPORT int nvmlDeviceGetCount_v2(unsigned *number_of)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result == OK)
        *number_of = (unsigned)visible_count();
    return end(&view, result);
}

/* A lost GPU has no handle. */
static int hand_out(const struct view *view, int gpu, int mig, struct device **handle)
{
    if (is_lost(view->scenario, gpu))
        return GPU_IS_LOST;
    *handle = device_handle(gpu, mig);
    return OK;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **handle)
{
    THIS_CALL;
    struct view view;
    /* Rules for a GPU apply here too, so the device is resolved before the call begins. */
    int gpu = visible_gpu(index);
    int result = gpu < 0 ? begin(&call, &view) : begin_device(&call, device_handle(gpu, NONE), &view);
    if (result == OK)
        result = gpu < 0 ? INVALID_ARGUMENT : hand_out(&view, gpu, NONE, handle);
    return end(&view, result);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **handle)
{
    THIS_CALL;
    struct view view;
    int result = begin(&call, &view);
    if (result != OK)
        return end(&view, result);
    if (!uuid)
        return end(&view, INVALID_ARGUMENT);
    result = NOT_FOUND;
    for (int i = 0; i < visible_count(); i++) {
        int gpu = visible_gpu((unsigned)i);
        const struct gpu *one = &view.scenario->gpus[gpu];
        if (strcmp(one->texts[TEXT_uuid].text, uuid) == 0)
            result = hand_out(&view, gpu, NONE, handle);
        for (int m = 0; m < MAX_MIGS; m++)
            if (one->migs[m].present && strcmp(one->migs[m].uuid.text, uuid) == 0)
                result = hand_out(&view, gpu, m, handle);
    }
    return end(&view, result);
}

struct pci {
    unsigned domain, bus, device;
};

static int parse_pci(const char *text, struct pci *pci)
{
    return text && sscanf(text, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device) == 3;
}

/* The section number of the counted GPU at this place, or -1. */
static int gpu_at(const struct pci *wanted)
{
    struct pci found;
    int answer = -1;
    struct scenario *scenario = take_scenario();
    for (int i = 0; scenario && i < visible_count(); i++) {
        int gpu = visible_gpu((unsigned)i);
        if (parse_pci(scenario->gpus[gpu].texts[TEXT_pci_bus_id].text, &found) && wanted->domain == found.domain &&
            wanted->bus == found.bus && wanted->device == found.device)
            answer = gpu;
    }
    if (scenario)
        give_back(scenario);
    return answer;
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct device **handle)
{
    THIS_CALL;
    struct view view;
    struct pci wanted;
    int valid = parse_pci(bus_id, &wanted), gpu = valid ? gpu_at(&wanted) : -1;
    int result = gpu < 0 ? begin(&call, &view) : begin_device(&call, device_handle(gpu, NONE), &view);
    if (result == OK)
        result = !valid ? INVALID_ARGUMENT : gpu < 0 ? NOT_FOUND : hand_out(&view, gpu, NONE, handle);
    return end(&view, result);
}

/* --- names ----------------------------------------------------------------------------------------------- */

static int copy_text(const struct text *text, char *buffer, unsigned size)
{
    if (text->error != OK)
        return text->error;
    if (!buffer)
        return INVALID_ARGUMENT;
    if (strlen(text->text) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(buffer, text->text);
    return OK;
}

EXPORT int nvmlDeviceGetName(struct device *handle, char *buffer, unsigned size)
{
    DEVICE_CALL(handle, {
        struct text name = view.gpu->texts[TEXT_name];
        if (view.mig && name.error == OK) {
            char both[2 * TEXT_SIZE + 8];
            snprintf(both, sizeof both, "%s MIG %s", name.text, view.mig->profile.text);
            both[TEXT_SIZE - 1] = 0;
            strcpy(name.text, both);
        }
        result = copy_text(&name, buffer, size);
    });
}

EXPORT int nvmlDeviceGetUUID(struct device *handle, char *buffer, unsigned size)
{
    DEVICE_CALL(handle, { result = copy_text(view.mig ? &view.mig->uuid : &view.gpu->texts[TEXT_uuid], buffer, size); });
}

#define TEXT(NAME, KEY)                                                                                         \
    EXPORT int NAME(struct device *handle, char *buffer, unsigned size)                                         \
    {                                                                                                           \
        DEVICE_CALL(handle, {                                                                                   \
            result = view.mig ? NOT_SUPPORTED : copy_text(&view.gpu->texts[TEXT_##KEY], buffer, size); \
        });                                                                                                     \
    }

TEXT(nvmlDeviceGetSerial, serial)
TEXT(nvmlDeviceGetVbiosVersion, vbios)
TEXT(nvmlDeviceGetBoardPartNumber, part_number)

EXPORT int nvmlDeviceGetIndex(struct device *handle, unsigned *index)
{
    DEVICE_CALL(handle, { *index = (unsigned)(view.mig ? view.mig - view.gpu->migs : visible_index(view.gpu->number)); });
}

enum { DEVICE_ID = 0x233010de, SUBSYSTEM_ID = 0x16c110de, DISPLAY_CONTROLLER = 3, CONTROLLER_3D = 2 };

/* Where the GPU is; a slice is nowhere. */
static int find_pci(const struct view *view, struct pci *pci)
{
    const struct text *text = &view->gpu->texts[TEXT_pci_bus_id];
    if (view->mig || text->error)
        return view->mig ? NOT_SUPPORTED : text->error;
    if (!parse_pci(text->text, pci))
        stop_loudly("pci_bus_id '%s' is not like 00000000:1B:00.0", text->text);
    return OK;
}

EXPORT int nvmlDeviceGetPciInfoExt(struct device *handle, struct pci_info_ext *answer)
{
    DEVICE_CALL(handle, {
        struct pci pci;
        unsigned version = 0x1000000u | sizeof *answer;
        result = answer->version == version ? find_pci(&view, &pci) : ARGUMENT_VERSION_MISMATCH;
        if (result == OK) {
            *answer = (struct pci_info_ext){version, pci.domain, pci.bus, pci.device, DEVICE_ID, SUBSYSTEM_ID,
                                            DISPLAY_CONTROLLER, CONTROLLER_3D, ""};
            snprintf(answer->bus_id, sizeof answer->bus_id, "%08X:%02X:%02X.0", pci.domain, pci.bus & 0xff, pci.device & 0xff);
        }
    });
}

EXPORT int nvmlDeviceGetPciInfo_v3(struct device *handle, struct pci_info *answer)
{
    DEVICE_CALL(handle, {
        struct pci pci;
        struct pci_info info = {.device_id = DEVICE_ID, .subsystem_id = SUBSYSTEM_ID};
        result = find_pci(&view, &pci);
        if (result == OK) {
            info.domain = pci.domain;
            info.bus = pci.bus;
            info.device = pci.device;
            snprintf(info.legacy, sizeof info.legacy, "%04X:%02X:%02X.0", pci.domain & 0xffff, pci.bus & 0xff, pci.device & 0xff);
            snprintf(info.bus_id, sizeof info.bus_id, "%08X:%02X:%02X.0", pci.domain, pci.bus & 0xff, pci.device & 0xff);
            *answer = info;
        }
    });
}
