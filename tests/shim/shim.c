/* Preloaded into every process of an instance: a wall clock that a test sets, and a disk whose flushes fail.
 *
 *   cc -shared -fPIC -O2 -o shim.so shim.c
 *
 * SHIM_CLOCK names a file of eight bytes: by how many seconds the wall clock is ahead (a signed number, the machine's
 * byte order). Clocks that nobody can set, and the times of files, stay as they are.
 * SHIM_EIO names a file: while it is there, flushing a file whose path holds SHIM_EIO_PATH fails with EIO.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;
static const char *failing, *failing_path;

__attribute__((constructor)) static void begin(void)
{
    const char *clock = getenv("SHIM_CLOCK");
    failing = getenv("SHIM_EIO");
    failing_path = getenv("SHIM_EIO_PATH");
    int file = clock ? open(clock, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        ahead = mapped == MAP_FAILED ? NULL : mapped;
        close(file);
    }
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, which, now);
    if (!failed && ahead && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        now->tv_sec += *ahead;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    (void)zone;
    return 0;
}

time_t time(time_t *kept)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (kept)
        *kept = found.tv_sec;
    return found.tv_sec;
}

static int fails(int file)
{
    char link[64], path[PATH_MAX];
    if (!failing || access(failing, F_OK))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, failing_path ? failing_path : "") != NULL;
}

int fsync(int file)
{
    if (fails(file)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    if (fails(file)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_fdatasync, file);
}
