#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_SIZE ((size_t)1 << 20)

/* Where the file system cannot copy by itself. */
static int copy_through(int in, int out, const char *from, const char *to, struct err *e)
{
    char *buf = mem_alloc(COPY_SIZE);
    ssize_t n;
    int rc = 0;

    while (!rc && (n = read(in, buf, COPY_SIZE)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_sys(e, "%s", from);
        else if ((rc = file_write_fd(out, buf, (size_t)n, e)) != 0)
            err_prefix(e, "%s", to);
    }
    free(buf);
    return rc;
}

/* Shares blocks where file systems can do that; what is left then is copied through us,
 * and its errors are the ones to tell. */
static int copy_bytes(int in, int out, const char *from, const char *to, struct err *e)
{
    while (copy_file_range(in, NULL, out, NULL, (size_t)1 << 30, 0) > 0)
        ;
    return copy_through(in, out, from, to, e);
}

/* Programs look for the newest of their files. */
static int keep_times(int out, const struct stat *st, const char *to, struct err *e)
{
    const struct timespec times[] = {st->st_atim, st->st_mtim};

    return futimens(out, times) < 0 ? err_sys(e, "%s: its times", to) : 0;
}

static int copy_file(const char *from, const char *to, const struct stat *st,
                     struct err *e)
{
    int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), out, rc;

    if (in < 0)
        return err_sys(e, "%s", from);
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 0777);
    rc = out < 0 ? err_sys(e, "%s", to) : copy_bytes(in, out, from, to, e);
    if (!rc)
        rc = keep_times(out, st, to, e);
    if (!rc && fsync(out) < 0)
        rc = err_sys(e, "%s: fsync", to);
    if (out >= 0 && close(out) < 0 && !rc)
        rc = err_sys(e, "%s", to);
    close(in);
    return rc;
}

static int fill_dir(const char *from, const char *to, mode_t mode,
                    bool (*wanted)(const char *name), struct err *e);

static int copy_link(const char *from, const char *to, struct err *e)
{
    char target[4096];
    ssize_t n = readlink(from, target, sizeof(target) - 1);

    if (n < 0)
        return err_sys(e, "%s", from);
    target[n] = '\0';
    return symlink(target, to) < 0 ? err_sys(e, "%s", to) : 0;
}

/* Nobody else may look into it while it is filled. */
static int copy_subdir(const char *from, const char *to, const struct stat *st,
                       struct err *e)
{
    int rc = fill_dir(from, to, 0700, NULL, e), dir;

    if (rc)
        return rc;
    dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_sys(e, "%s", to);
    if (fchmod(dir, st->st_mode & 0777) < 0)
        rc = err_sys(e, "%s: its permissions", to);
    if (!rc)
        rc = keep_times(dir, st, to, e);
    if (!rc && fsync(dir) < 0)
        rc = err_sys(e, "%s: fsync", to);
    close(dir);
    return rc;
}

/* What is neither file, directory nor link, a socket say, is of a process that is over.
 */
static int copy_entry(const char *from, const char *to, struct err *e)
{
    struct stat st;

    if (lstat(from, &st) < 0)
        return err_sys(e, "%s", from);
    if (S_ISDIR(st.st_mode))
        return copy_subdir(from, to, &st, e);
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, e);
    return S_ISREG(st.st_mode) ? copy_file(from, to, &st, e) : 0;
}

static int fill_dir(const char *from, const char *to, mode_t mode,
                    bool (*wanted)(const char *name), struct err *e)
{
    char **names;
    size_t n;
    int rc = dir_list(from, &names, &n, e);

    if (rc)
        return rc;
    if (mkdir(to, mode) < 0)
        rc = err_sys(e, "%s", to);
    for (size_t i = 0; i < n && !rc; i++) {
        char *old = path_join(from, names[i]), *new = path_join(to, names[i]);

        if (!wanted || wanted(names[i]))
            rc = copy_entry(old, new, e);
        free(old);
        free(new);
    }
    free(names);
    return rc ? rc : dir_sync(to, e);
}

int dir_copy(const char *from, const char *to, bool (*wanted)(const char *name),
             struct err *e)
{
    return fill_dir(from, to, 0777, wanted, e);
}
