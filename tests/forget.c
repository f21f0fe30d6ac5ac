/* A disk that forgets: a library for LD_PRELOAD that notes what of one directory tree a
 * power cut would leave, and can lie, fail and end its process. tests/torture.py has the
 * other half: it cuts the power, and lays the tree as the notes say.
 *
 *     FORGET_TREE   the tree: an absolute path. It is there; nothing below it is, yet
 *     FORGET_STORE  the notes, a directory on the same file system, with i/, d/ and pin/:
 *         i/INODE      what a file held when it was last synced
 *         d/INODE      what a directory listed when it was last synced: lines of
 *                      "f INODE NAME" and "d INODE NAME"
 *         pin/INODE    the file itself, so that its number is not given to another
 *         log          what failed or was a lie, and each fsync() after a failure
 *     FORGET_LIE    WORD:PATTERN. fsync() of such a path does nothing, and says it did;
 *                   in processes with that word in their command line (* in all)
 *     FORGET_FAIL   WORD:CALL:N:ERRNO:PATTERN. The n-th such call of a process fails (and
 *                   the later ones, for want of space; an fsync fails once, as Linux
 * does) FORGET_CUT    WORD:N. Such a process is killed before its n-th change of the tree
 *     FORGET_CLOCK  a file: while it is there, the wall clock is an hour behind
 *
 * Nothing but fsync() makes durable: neither the data of a file nor a name in a directory
 * (POSIX promises no more). So only fsync() is to be noted, not what is written. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static _Thread_local bool inside; /* our own calls are nobody's */
static _Atomic long changes, failures;
static _Atomic bool told; /* something failed here */
static _Atomic bool full; /* the last bytes of the disk are gone */

/* ---- which process, which path ---- */

/* Is the word one of this process's command line? */
static bool has_word(const char *word, size_t n)
{
    char line[16384];
    if (n == 1 && *word == '*')
        return true;
    int fd = REAL(open)("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return false;
    line[len] = '\0';
    for (const char *p = line; p < line + len; p += strlen(p) + 1)
        if (strlen(p) == n && memcmp(p, word, n) == 0)
            return true;
    return false;
}

static bool in_tree(const char *path)
{
    const char *tree = getenv("FORGET_TREE");
    size_t n = tree ? strlen(tree) : 0;
    return n > 0 && strncmp(path, tree, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* The path of a descriptor that is in the tree. */
static bool path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 && in_tree(path);
}

/* The same for a name in a directory. */
static bool path_at(int at, const char *name, char path[PATH_MAX])
{
    char dir[PATH_MAX] = "";
    if (*name != '/' && at == AT_FDCWD)
        (void)!getcwd(dir, sizeof(dir));
    else if (*name != '/')
        path_of(at, dir);
    size_t n = strlen(dir);
    if (n + strlen(name) + 2 > PATH_MAX)
        return false;
    memcpy(path, dir, n);
    path[n] = '/';
    strcpy(path + (*name == '/' ? 0 : n + 1), name);
    return in_tree(path);
}

static void note(const char *what, const char *path)
{
    char file[PATH_MAX], line[PATH_MAX + 128];
    snprintf(file, sizeof(file), "%s/log", getenv("FORGET_STORE"));
    int n = snprintf(line, sizeof(line), "%ld %s %s\n", (long)getpid(), what, path);
    int fd = REAL(open)(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) {
        (void)!REAL(write)(fd, line, (size_t)n);
        close(fd);
    }
}

/* ---- faults ---- */

/* Before each change of the tree. */
static void count_change(void)
{
    const char *cut = getenv("FORGET_CUT"), *colon = cut ? strrchr(cut, ':') : NULL;
    if (!colon || !has_word(cut, (size_t)(colon - cut)))
        return;
    if (atomic_fetch_add(&changes, 1) + 1 == atol(colon + 1)) {
        note("cut", "");
        kill(getpid(), SIGKILL);
        pause();
    }
}

/* Does this call fail? Then errno says why. */
static bool fails(const char *call, const char *path)
{
    const char *plan = getenv("FORGET_FAIL"), *pattern;
    char word[64], which[64], why[64];
    long nth, n;
    int at = 0;
    if (!plan ||
        sscanf(plan, "%63[^:]:%63[^:]:%ld:%63[^:]:%n", word, which, &nth, why, &at) != 4)
        return false;
    pattern = plan + at;
    if (strcmp(call, which) != 0 || fnmatch(pattern, path, 0) != 0 ||
        !has_word(word, strlen(word)))
        return false;
    n = atomic_fetch_add(&failures, 1) + 1;
    errno = strcmp(why, "ENOSPC") == 0   ? ENOSPC
            : strcmp(why, "EDQUOT") == 0 ? EDQUOT
                                         : EIO;
    if (n < nth || (n > nth && errno == EIO))
        return false;
    atomic_store(&told, true);
    note(why, path);
    return true;
}

static bool lies(const char *path)
{
    const char *lie = getenv("FORGET_LIE"), *colon = lie ? strchr(lie, ':') : NULL;
    if (!colon || fnmatch(colon + 1, path, 0) != 0 ||
        !has_word(lie, (size_t)(colon - lie)))
        return false;
    note("lie", path);
    return true;
}

/* ---- what is durable ---- */

static void store_path(char out[PATH_MAX], const char *room, unsigned long inode)
{
    snprintf(out, PATH_MAX, "%s/%s/%lu", getenv("FORGET_STORE"), room, inode);
}

static int copy(int from, int to)
{
    char buf[65536];
    off_t at = 0;
    for (ssize_t n; (n = pread(from, buf, sizeof(buf), at)) != 0; at += n)
        if (n < 0 || REAL(write)(to, buf, (size_t)n) != n)
            return -1;
    return 0;
}

static int list(const char *path, FILE *to)
{
    DIR *d = opendir(path);
    if (!d)
        return -1;
    for (struct dirent *entry; (entry = readdir(d));) {
        char pin[PATH_MAX];
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        fprintf(to, "%c %lu %s\n", S_ISDIR(st.st_mode) ? 'd' : 'f', st.st_ino,
                entry->d_name);
        store_path(pin, "pin", st.st_ino);
        if (!S_ISDIR(st.st_mode))
            REAL(linkat)(dirfd(d), entry->d_name, AT_FDCWD, pin, 0);
    }
    closedir(d);
    return 0;
}

/* Notes what fd holds now; whole, whenever this process is killed. */
static void make_durable(int fd, const char *path)
{
    char to[PATH_MAX], temporary[PATH_MAX + 32], self[64];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return;
    bool dir = S_ISDIR(st.st_mode);
    store_path(to, "pin", st.st_ino);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    if (!dir)
        REAL(linkat)(AT_FDCWD, self, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
    store_path(to, dir ? "d" : "i", st.st_ino);
    snprintf(temporary, sizeof(temporary), "%s.%ld", to, (long)getpid());
    int from = REAL(open)(self, O_RDONLY | O_CLOEXEC);
    int out = REAL(open)(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    FILE *f = dir && out >= 0 ? fdopen(dup(out), "w") : NULL;
    int rc = from < 0 || out < 0 ? -1 : dir ? list(path, f) : copy(from, out);
    if (f && fclose(f) != 0)
        rc = -1;
    if (rc != 0 || REAL(rename)(temporary, to) != 0)
        note("cannot be noted", path);
    close(from);
    close(out);
}

static int sync_any(int fd, int (*real)(int))
{
    char path[PATH_MAX];
    if (inside || !path_of(fd, path))
        return real(fd);
    inside = true;
    count_change();
    int rc = 0;
    if (atomic_load(&told))
        note("fsync", path);
    if (fails("fsync", path)) {
        rc = -1;
    } else if (!lies(path)) {
        char lock[PATH_MAX];
        snprintf(lock, sizeof(lock), "%s/lock", getenv("FORGET_STORE"));
        int held = REAL(open)(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        flock(held, LOCK_EX);
        make_durable(fd, path);
        close(held);
    }
    inside = false;
    return rc;
}

int fsync(int fd)
{
    return sync_any(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return sync_any(fd, REAL(fdatasync));
}

/* ---- what changes ---- */

/* Counts a change, and says whether the call fails. */
static bool change(const char *call, const char *path)
{
    int number = errno;
    bool bad = false;
    if (inside)
        return false;
    inside = true;
    count_change();
    bad = fails(call, path);
    inside = false;
    if (!bad)
        errno = number;
    return bad;
}

ssize_t write(int fd, const void *data, size_t n)
{
    char path[PATH_MAX];
    if (!inside && path_of(fd, path) && change("write", path)) {
        /* what fits is written */
        int number = errno;
        bool some = number != EIO && n > 1 && !atomic_exchange(&full, true);
        ssize_t done = some ? REAL(write)(fd, data, n / 2) : -1;
        errno = number;
        return done;
    }
    return REAL(write)(fd, data, n);
}

static int open_any(int at, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    if ((flags & (O_CREAT | O_TRUNC)) && !inside && path_at(at, name, path) &&
        change("open", path))
        return -1;
    return REAL(openat)(at, name, flags, mode);
}

#define OPEN(name, at, ...)                                                              \
    int name(__VA_ARGS__ const char *path, int flags, ...)                               \
    {                                                                                    \
        va_list ap;                                                                      \
        va_start(ap, flags);                                                             \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;            \
        va_end(ap);                                                                      \
        return open_any(at, path, flags, mode);                                          \
    }
#define FIRST(...) __VA_ARGS__,
OPEN(open, AT_FDCWD, )
OPEN(open64, AT_FDCWD, )
OPEN(openat, at, FIRST(int at))
OPEN(openat64, at, FIRST(int at))

int rename(const char *from, const char *to)
{
    char path[PATH_MAX];
    return path_at(AT_FDCWD, to, path) && change("rename", path) ? -1
                                                                 : REAL(rename)(from, to);
}

int link(const char *from, const char *to)
{
    char path[PATH_MAX];
    return path_at(AT_FDCWD, to, path) && change("link", path) ? -1
                                                               : REAL(link)(from, to);
}

int mkdir(const char *name, mode_t mode)
{
    char path[PATH_MAX];
    return path_at(AT_FDCWD, name, path) && change("mkdir", path)
               ? -1
               : REAL(mkdir)(name, mode);
}

int unlink(const char *name)
{
    char path[PATH_MAX];
    return path_at(AT_FDCWD, name, path) && change("unlink", path) ? -1
                                                                   : REAL(unlink)(name);
}

/* ---- the clock ---- */

int clock_gettime(clockid_t id, struct timespec *t)
{
    const char *behind = getenv("FORGET_CLOCK");
    int rc = REAL(clock_gettime)(id, t);
    if (rc == 0 && id == CLOCK_REALTIME && behind && access(behind, F_OK) == 0)
        t->tv_sec -= 3600;
    return rc;
}
