/* Preloaded beside NVIDIA's own NVML: answers for /dev/nvidia* in place of the kernel module.

   DEVICE_NODES_ERRNO    the errno with which opening /dev/nvidiactl fails; 0: it opens
   DEVICE_NODES_MODULE   the version of the kernel module; a library of another version is rejected

   It also keeps the library from what it does as root where it finds no device file: it makes one,
   changes links in /dev/char and starts nvidia-modprobe. The ioctl is that of NVIDIA's open kernel
   module (kernel-open/common/inc/nv-ioctl.h, nv-ioctl-numbers.h). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { MAX_OPEN = 64, CHECK_VERSION = 210, RECOGNIZED = 1, MAJOR = 195, CONTROL_MINOR = 255 };

struct version_check {
    unsigned command, reply;
    char version[64];
};

static char is_ours[MAX_OPEN]; /* file descriptors that stand for /dev/nvidiactl */

static int is_hidden(const char *path)
{
    return strstr(path, "/nvidia-modprobe") != NULL || strncmp(path, "/dev/char/195:", 14) == 0;
}

static int is_node(const char *path)
{
    return strncmp(path, "/dev/nvidia", 11) == 0;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

static int refusal(void)
{
    const char *text = getenv("DEVICE_NODES_ERRNO");
    return text ? atoi(text) : 0;
}

/* Whether there is a /dev/nvidiactl; no other node ever exists. */
static int exists(const char *path)
{
    return strcmp(path, "/dev/nvidiactl") == 0 && refusal() != ENOENT;
}

static int open_node(const char *path)
{
    if (!exists(path))
        return fail(ENOENT);
    if (refusal())
        return fail(refusal());
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= MAX_OPEN)
        abort();
    if (fd >= 0)
        is_ours[fd] = 1;
    return fd;
}

#define OPEN(NAME, AT, PASS)                                          \
    EXPORT int NAME(AT const char *path, int flags, ...)              \
    {                                                                 \
        va_list rest;                                                 \
        va_start(rest, flags);                                        \
        unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, unsigned) : 0; \
        va_end(rest);                                                 \
        if (is_node(path))                                            \
            return open_node(path);                                   \
        int (*real)() = dlsym(RTLD_NEXT, #NAME);                      \
        return real(PASS path, flags, mode);                          \
    }
#define NOTHING
#define FOLDER int folder,
#define PASS_FOLDER folder,
OPEN(open, NOTHING, NOTHING)
OPEN(open64, NOTHING, NOTHING)
OPEN(openat, FOLDER, PASS_FOLDER)
OPEN(openat64, FOLDER, PASS_FOLDER)

#define FOPEN(NAME)                                                            \
    EXPORT FILE *NAME(const char *path, const char *mode)                      \
    {                                                                          \
        if (is_node(path)) {                                                   \
            int fd = open_node(path);                                          \
            return fd < 0 ? NULL : fdopen(fd, mode);                           \
        }                                                                      \
        FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, #NAME);   \
        return real(path, mode);                                               \
    }
FOPEN(fopen)
FOPEN(fopen64)

EXPORT int close(int fd)
{
    if (fd >= 0 && fd < MAX_OPEN)
        is_ours[fd] = 0;
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    return real(fd);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (fd < 0 || fd >= MAX_OPEN || !is_ours[fd]) {
        int (*real)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
        return real(fd, request, argument);
    }
    const char *module = getenv("DEVICE_NODES_MODULE");
    if ((request & 0xff) != CHECK_VERSION || !module)
        return fail(EIO);
    struct version_check *check = argument;
    check->reply = strcmp(check->version, module) == 0 ? RECOGNIZED : 0;
    snprintf(check->version, sizeof check->version, "%s", module);
    return check->reply ? 0 : fail(EINVAL);
}

#define KIND .st_mode = S_IFCHR | 0666, .st_rdev = makedev(MAJOR, CONTROL_MINOR)

#define DESCRIBE(NAME, TYPE, PARAMETERS, ...)                  \
    EXPORT int NAME PARAMETERS                                 \
    {                                                          \
        int (*real) PARAMETERS = dlsym(RTLD_NEXT, #NAME);      \
        if (!is_node(path) && !is_hidden(path))                \
            return real(__VA_ARGS__);                          \
        *answer = (struct TYPE){KIND};                         \
        return exists(path) ? 0 : fail(ENOENT);                \
    }
DESCRIBE(stat, stat, (const char *path, struct stat *answer), path, answer)
DESCRIBE(stat64, stat64, (const char *path, struct stat64 *answer), path, answer)
/* What the C library had in place of stat when NVIDIA linked its library. */
DESCRIBE(__xstat, stat, (int version, const char *path, struct stat *answer), version, path, answer)
DESCRIBE(__xstat64, stat64, (int version, const char *path, struct stat64 *answer), version, path, answer)

#define CHANGE(NAME, PARAMETERS, PATH, ...)                  \
    EXPORT int NAME PARAMETERS                               \
    {                                                        \
        if (is_node(PATH) || is_hidden(PATH))                \
            return fail(EPERM);                              \
        int (*real) PARAMETERS = dlsym(RTLD_NEXT, #NAME);    \
        return real(__VA_ARGS__);                            \
    }
CHANGE(__xmknod, (int version, const char *path, mode_t mode, dev_t *device), path, version, path, mode, device)
CHANGE(mknod, (const char *path, mode_t mode, dev_t device), path, path, mode, device)
CHANGE(chmod, (const char *path, mode_t mode), path, path, mode)
CHANGE(chown, (const char *path, uid_t user, gid_t group), path, path, user, group)
CHANGE(unlink, (const char *path), path, path)
CHANGE(symlink, (const char *target, const char *path), path, target, path)
