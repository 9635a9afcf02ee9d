/* Preloaded into the processes of a stack: no flush is over before FLUSH_NANOSECONDS have passed since it began.
 * The true flush comes first, so that what is on disk afterwards is the same. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

typedef int flush(int);

static long least(void)
{
    static long nanoseconds = -1;
    if (nanoseconds < 0) {
        const char *text = getenv("FLUSH_NANOSECONDS");
        nanoseconds = text ? atol(text) : 0;
    }
    return nanoseconds;
}

static int slowly(flush *truly, int descriptor)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += least();
    end.tv_sec += end.tv_nsec / 1000000000L;
    end.tv_nsec %= 1000000000L;
    int result = truly(descriptor), fault = errno;
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0); /* else the kernel may let a sleep last 50 microseconds longer */
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        ;
    errno = fault;
    return result;
}

int fsync(int descriptor)
{
    static flush *truly;
    if (!truly)
        truly = (flush *)dlsym(RTLD_NEXT, "fsync");
    return slowly(truly, descriptor);
}

int fdatasync(int descriptor)
{
    static flush *truly;
    if (!truly)
        truly = (flush *)dlsym(RTLD_NEXT, "fdatasync");
    return slowly(truly, descriptor);
}
