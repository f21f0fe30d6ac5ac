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

static int copy_file(const char *from, const char *to, mode_t mode, struct err *e)
{
    int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), out, rc;

    if (in < 0)
        return err_sys(e, "%s", from);
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
    rc = out < 0 ? err_sys(e, "%s", to) : copy_bytes(in, out, from, to, e);
    if (!rc && fsync(out) < 0)
        rc = err_sys(e, "%s: fsync", to);
    if (out >= 0 && close(out) < 0 && !rc)
        rc = err_sys(e, "%s", to);
    close(in);
    return rc;
}

static int copy_link(const char *from, const char *to, struct err *e)
{
    char target[4096];
    ssize_t n = readlink(from, target, sizeof(target) - 1);

    if (n < 0)
        return err_sys(e, "%s", from);
    target[n] = '\0';
    return symlink(target, to) < 0 ? err_sys(e, "%s", to) : 0;
}

/* What is neither file, directory nor link, a socket say, is of a process that is over.
 */
static int copy_entry(const char *from, const char *to, struct err *e)
{
    struct stat st;

    if (lstat(from, &st) < 0)
        return err_sys(e, "%s", from);
    if (S_ISDIR(st.st_mode))
        return dir_copy(from, to, NULL, e);
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, e);
    return S_ISREG(st.st_mode) ? copy_file(from, to, st.st_mode, e) : 0;
}

int dir_copy(const char *from, const char *to, bool (*wanted)(const char *name),
             struct err *e)
{
    char **names;
    size_t n;
    int rc = dir_list(from, &names, &n, e);

    if (rc)
        return rc;
    if (mkdir(to, 0777) < 0)
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
