/* Preloaded into every process of an instance: writes down what each does to the files below POWER_ROOT, in order, to
 * the journal POWER_JOURNAL, from which chaos/power/disk.py makes the disk as a power cut would leave it.
 *
 *   cc -shared -fPIC -O2 -o recorder.so recorder.c -ldl
 *
 * A write is noted when it has been done, the end of a name just before (who makes it anew notes that later); a flush when it begins and again when it has ended: only what was noted before
 * its beginning is on disk after its end. Memory maps are not seen: SQLite's -shm, the only file so written, is made
 * anew after a power cut. The journal is opened for each line, since a process may close every descriptor it has.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_FILES 65536

struct line {
    char what;
    uint64_t nanoseconds, file, offset;
    uint32_t first, second;
} __attribute__((packed));

static const char *root, *journal;
static size_t root_length;
static unsigned char tracked[MOST_FILES];

__attribute__((constructor)) static void begin(void)
{
    root = getenv("POWER_ROOT");
    journal = getenv("POWER_JOURNAL");
    root_length = root ? strlen(root) : 0;
}

/* ── what is written down ─────────────────────────────────────────────────────────────────────────────────────────── */

static void note(char what, uint64_t file, uint64_t offset, const void *first, size_t m, const void *second, size_t n)
{
    int before = errno;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    struct line head = {what, now.tv_sec * 1000000000ull + now.tv_nsec, file, offset, (uint32_t)m, (uint32_t)n};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)first, m}, {(void *)second, n}};
    int out = syscall(SYS_openat, AT_FDCWD, journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (out >= 0) {
        if (syscall(SYS_writev, out, parts, 3) != (long)(sizeof head + m + n))
            abort();
        syscall(SYS_close, out);
    }
    errno = before;
}

static int is_ours(const char *path)
{
    size_t length = strlen(path);
    if (!root || !journal || strncmp(path, root, root_length) || (path[root_length] != '/' && path[root_length]))
        return 0;
    return length < 4 || strcmp(path + length - 4, "-shm");
}

/* The path of an open file; 0 when it is none below the root. */
static int path_of(int file, char *path)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, PATH_MAX - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

/* A path made absolute, its folder without links; 0 when it is none below the root. */
static int absolute(int at, const char *given, char *path)
{
    char folder[PATH_MAX], real[PATH_MAX];
    if (!root || !given)
        return 0;
    if (given[0] == '/' || at == AT_FDCWD)
        snprintf(folder, sizeof folder, "%s", given);
    else
        snprintf(folder, sizeof folder, "/proc/self/fd/%d/%s", at, given);
    char *last = strrchr(folder, '/');
    const char *name = last ? last + 1 : given;
    char kept[NAME_MAX + 1];
    snprintf(kept, sizeof kept, "%s", name);
    if (last)
        *last = 0;
    if (!realpath(last ? (*folder ? folder : "/") : ".", real))
        return 0;
    return snprintf(path, PATH_MAX, "%s/%s", real, kept) < PATH_MAX && is_ours(path);
}

static uint64_t number_of(int file)
{
    struct stat found;
    if (file < 0 || file >= MOST_FILES || !tracked[file] || fstat(file, &found) || !S_ISREG(found.st_mode))
        return 0;
    return found.st_ino;
}

static void wrote(int file, const struct iovec *parts, int count, ssize_t done, off_t offset)
{
    int before = errno;
    uint64_t number = done > 0 ? number_of(file) : 0;
    if (number) {
        if (offset < 0)
            offset = syscall(SYS_lseek, file, 0, SEEK_CUR) - done;
        for (int each = 0; each < count && done > 0; each++) {
            size_t part = parts[each].iov_len < (size_t)done ? parts[each].iov_len : (size_t)done;
            note('W', number, offset, parts[each].iov_base, part, 0, 0);
            offset += part;
            done -= part;
        }
    }
    errno = before;
}

static void opened(int file, int flags)
{
    char path[PATH_MAX];
    struct stat found;
    if (file < 0 || file >= MOST_FILES)
        return;
    int before = errno;
    tracked[file] = 0;
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && path_of(file, path) && !fstat(file, &found) && S_ISREG(found.st_mode)) {
        tracked[file] = 1;
        if (flags & O_CREAT)
            note('O', found.st_ino, 0, path, strlen(path), 0, 0);
        if (flags & O_TRUNC)
            note('T', found.st_ino, 0, 0, 0, 0, 0);
    }
    errno = before;
}

static int flush(int file, int (*real)(int))
{
    char path[PATH_MAX];
    struct stat found;
    uint64_t number = number_of(file);
    int folder = !number && !fstat(file, &found) && S_ISDIR(found.st_mode) && path_of(file, path);
    if (number)
        note('F', number, 0, 0, 0, 0, 0);
    else if (folder)
        note('D', 0, 0, path, strlen(path), 0, 0);
    int done = real(file);
    if (number && !done)
        note('f', number, 0, 0, 0, 0, 0);
    else if (folder && !done)
        note('d', 0, 0, path, strlen(path), 0, 0);
    return done;
}

/* ── what is looked at ────────────────────────────────────────────────────────────────────────────────────────────── */

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

#define OPENING(name)                                                     \
    int name(const char *path, int flags, ...)                            \
    {                                                                     \
        REAL(name);                                                       \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                     \
        int file = real(path, flags, mode);                               \
        opened(file, flags);                                              \
        return file;                                                      \
    }

#define OPENING_AT(name)                                                  \
    int name(int at, const char *path, int flags, ...)                    \
    {                                                                     \
        REAL(name);                                                       \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                     \
        int file = real(at, path, flags, mode);                           \
        opened(file, flags);                                              \
        return file;                                                      \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)

int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open(path, flags); }
int __openat_2(int at, const char *path, int flags) { return openat(at, path, flags); }
int __openat64_2(int at, const char *path, int flags) { return openat(at, path, flags); }
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int dup(int file)
{
    REAL(dup);
    int other = real(file);
    if (file >= 0 && file < MOST_FILES && other >= 0 && other < MOST_FILES)
        tracked[other] = tracked[file];
    return other;
}

int dup2(int file, int other)
{
    REAL(dup2);
    int done = real(file, other);
    if (file >= 0 && file < MOST_FILES && done >= 0 && done < MOST_FILES)
        tracked[done] = tracked[file];
    return done;
}

int dup3(int file, int other, int flags)
{
    REAL(dup3);
    int done = real(file, other, flags);
    if (file >= 0 && file < MOST_FILES && done >= 0 && done < MOST_FILES)
        tracked[done] = tracked[file];
    return done;
}

ssize_t write(int file, const void *data, size_t size)
{
    REAL(write);
    ssize_t done = real(file, data, size);
    struct iovec part = {(void *)data, size};
    wrote(file, &part, 1, done, -1);
    return done;
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    REAL(writev);
    ssize_t done = real(file, parts, count);
    wrote(file, parts, count, done, -1);
    return done;
}

#define WRITING_AT(name)                                                  \
    ssize_t name(int file, const void *data, size_t size, off_t offset)   \
    {                                                                     \
        REAL(name);                                                       \
        ssize_t done = real(file, data, size, offset);                    \
        struct iovec part = {(void *)data, size};                         \
        wrote(file, &part, 1, done, offset);                              \
        return done;                                                      \
    }

WRITING_AT(pwrite)
WRITING_AT(pwrite64)

#define WRITING_PARTS_AT(name)                                            \
    ssize_t name(int file, const struct iovec *parts, int count, off_t offset) \
    {                                                                     \
        REAL(name);                                                       \
        ssize_t done = real(file, parts, count, offset);                  \
        wrote(file, parts, count, done, offset);                          \
        return done;                                                      \
    }

WRITING_PARTS_AT(pwritev)
WRITING_PARTS_AT(pwritev64)

/* Refused, so that callers copy by read and write, which are seen. */
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags)
{
    (void)in, (void)from, (void)out, (void)to, (void)size, (void)flags;
    errno = ENOSYS;
    return -1;
}

static ssize_t not_sent_to_a_file(int out, int in, off_t *offset, size_t count)
{
    if (number_of(out)) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_sendfile, out, in, offset, count);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count) { return not_sent_to_a_file(out, in, offset, count); }
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) { return not_sent_to_a_file(out, in, offset, count); }

#define CUTTING(name)                                                     \
    int name(int file, off_t size)                                        \
    {                                                                     \
        REAL(name);                                                       \
        int done = real(file, size);                                      \
        uint64_t number = done ? 0 : number_of(file);                     \
        if (number)                                                       \
            note('T', number, size, 0, 0, 0, 0);                          \
        return done;                                                      \
    }

CUTTING(ftruncate)
CUTTING(ftruncate64)

/* Makes a file longer, as far as we need to know; the longer file's zeros are written by nobody else. */
static int lengthened(int file, off_t size, int done)
{
    struct stat found;
    uint64_t number = done ? 0 : number_of(file);
    if (number && !fstat(file, &found) && found.st_size == size)
        note('T', number, size, 0, 0, 0, 0);
    return done;
}

int posix_fallocate(int file, off_t offset, off_t size)
{
    REAL(posix_fallocate);
    return lengthened(file, offset + size, real(file, offset, size));
}

int posix_fallocate64(int file, off64_t offset, off64_t size)
{
    REAL(posix_fallocate64);
    return lengthened(file, offset + size, real(file, offset, size));
}

int fsync(int file) { REAL(fsync); return flush(file, real); }
int fdatasync(int file) { REAL(fdatasync); return flush(file, real); }

/* ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void named(char what, int at, const char *given, int done)
{
    char path[PATH_MAX];
    int before = errno;
    if (!done && absolute(at, given, path))
        note(what, 0, 0, path, strlen(path), 0, 0);
    errno = before;
}

static void renamed(char what, int at, const char *given, int to, const char *wanted, int done)
{
    char old[PATH_MAX], new[PATH_MAX];
    int before = errno;
    if (!done) {
        int first = absolute(at, given, old), second = absolute(to, wanted, new);
        if (first || second)
            note(what, 0, 0, old, first ? strlen(old) : 0, new, second ? strlen(new) : 0);
    }
    errno = before;
}

int mkdir(const char *path, mode_t mode) { REAL(mkdir); int done = real(path, mode); named('M', AT_FDCWD, path, done); return done; }
int mkdirat(int at, const char *path, mode_t mode) { REAL(mkdirat); int done = real(at, path, mode); named('M', at, path, done); return done; }
int rmdir(const char *path) { REAL(rmdir); int done = real(path); named('U', AT_FDCWD, path, done); return done; }
int unlink(const char *path) { REAL(unlink); named('U', AT_FDCWD, path, access(path, F_OK)); return real(path); }
int remove(const char *path) { REAL(remove); named('U', AT_FDCWD, path, access(path, F_OK)); return real(path); }

int unlinkat(int at, const char *path, int flags)
{
    REAL(unlinkat);
    if (flags & AT_REMOVEDIR) {
        int done = real(at, path, flags);
        named('U', at, path, done);
        return done;
    }
    named('U', at, path, faccessat(at, path, F_OK, 0));
    return real(at, path, flags);
}

int rename(const char *old, const char *new) { REAL(rename); int done = real(old, new); renamed('R', AT_FDCWD, old, AT_FDCWD, new, done); return done; }
int renameat(int at, const char *old, int to, const char *new) { REAL(renameat); int done = real(at, old, to, new); renamed('R', at, old, to, new, done); return done; }
int renameat2(int at, const char *old, int to, const char *new, unsigned flags) { REAL(renameat2); int done = real(at, old, to, new, flags); renamed('R', at, old, to, new, done); return done; }
int link(const char *old, const char *new) { REAL(link); int done = real(old, new); renamed('L', AT_FDCWD, old, AT_FDCWD, new, done); return done; }
int linkat(int at, const char *old, int to, const char *new, int flags) { REAL(linkat); int done = real(at, old, to, new, flags); renamed('L', at, old, to, new, done); return done; }
