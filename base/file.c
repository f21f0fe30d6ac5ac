#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define READ_SIZE 65536
/* So much of a large file is written before the disk begins with it. */
#define WRITE_SIZE ((size_t)4 << 20)

static int too_large(const char *path, size_t max, struct err *e)
{
    return err_set(e, ERR_RANGE, "%s: larger than %zu bytes", path, max);
}

static int open_read(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_sys(e, "%s", path) : fd;
}

/* What fd has left, which is then closed. */
static int read_all(int fd, const char *path, size_t max, struct str *out, struct err *e)
{
    size_t before = out->len;
    int rc = 0;
    for (;;) {
        str_reserve(out, READ_SIZE);
        ssize_t n = read(fd, out->p + out->len, READ_SIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_sys(e, "%s", path);
        if (n <= 0)
            break;
        out->len += (size_t)n;
        if (out->len - before > max) {
            rc = too_large(path, max, e);
            break;
        }
    }
    out->p[out->len] = '\0';
    if (rc)
        str_cut(out, before);
    close(fd);
    return rc;
}

int file_read(const char *path, size_t max, struct str *out, struct err *e)
{
    int fd = open_read(path, e);
    return fd < 0 ? fd : read_all(fd, path, max, out, e);
}

int file_read_regular(const char *path, size_t max, struct str *out, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int rc = err_sys(e, "%s", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    if (S_ISREG(st.st_mode))
        return read_all(fd, path, max, out, e);
    close(fd);
    return err_set(e, ERR_INVAL, "%s: is no regular file", path);
}

/* zlib's words for what went wrong with gz, errno's where it was the system. */
static int gz_error(gzFile gz, const char *path, struct err *e)
{
    int code, number = errno;
    const char *text = gzerror(gz, &code);
    errno = number;
    if (code == Z_ERRNO)
        return err_sys(e, "%s", path);
    return err_set(e, ERR_CORRUPT, "%s: damaged gzip data (%s)", path, text);
}

int file_read_gz(const char *path, size_t max, struct str *out, struct err *e)
{
    size_t before = out->len;
    int rc = 0, fd = open_read(path, e);
    if (fd < 0)
        return fd;
    gzFile gz = gzdopen(fd, "rb"); /* hands plain files through */
    if (!gz) {
        close(fd);
        return err_set(e, ERR_IO, "%s: zlib cannot open it", path);
    }
    for (;;) {
        str_reserve(out, READ_SIZE);
        int n = gzread(gz, out->p + out->len, READ_SIZE), code;
        gzerror(gz, &code);
        if (n < 0 || (n == 0 && code != Z_OK)) /* 0 and Z_BUF_ERROR: cut short */
            rc = gz_error(gz, path, e);
        if (n <= 0)
            break;
        out->len += (size_t)n;
        if (out->len - before > max) {
            rc = too_large(path, max, e);
            break;
        }
    }
    out->p[out->len] = '\0';
    if (gzclose_r(gz) != Z_OK && !rc)
        rc = err_set(e, ERR_CORRUPT, "%s: gzip data is cut short", path);
    if (rc)
        str_cut(out, before);
    return rc;
}

int file_write_fd(int fd, const void *data, size_t n, struct err *e)
{
    const char *p = data;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_sys(e, "write");
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* A new file beside path; its name in *tmp. */
static int open_beside(const char *path, mode_t mode, char **tmp, struct err *e)
{
    for (int i = 0; i < 1000; i++) {
        struct str name = STR_INIT;
        str_addf(&name, "%s.tmp-%ld-%d", path, (long)getpid(), i);
        int fd = open(name.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0) {
            *tmp = str_take(&name);
            return fd;
        }
        str_free(&name);
        if (errno != EEXIST)
            return err_sys(e, "%s", path);
    }
    return err_set(e, ERR_EXIST, "%s.tmp-%ld-*: too many left over", path,
                   (long)getpid());
}

static int sync_fd(int fd, const char *path, struct err *e)
{
    return fsync(fd) < 0 ? err_sys(e, "%s: fsync", path) : 0;
}

int file_standard(struct err *e)
{
    int fd = 0;
    while (fd <= STDERR_FILENO)
        if ((fd = open("/dev/null", O_RDWR)) < 0)
            return err_sys(e, "/dev/null");
    close(fd);
    return 0;
}

int dir_sync(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "%s", path);
    int rc = 0;
    if (fsync(fd) < 0 && errno != EINVAL) /* a file system with nothing to sync there */
        rc = err_sys(e, "%s: fsync", path);
    close(fd);
    return rc;
}

int dir_sync_above(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    int rc = dir_sync(dir, e);
    free(dir);
    return rc;
}

/* Gives tmp, whose bytes are on the disk, its name. */
static int publish(const char *tmp, const char *path, struct err *e)
{
    if (rename(tmp, path) < 0) {
        int rc = err_sys(e, "%s", path);
        unlink(tmp);
        return rc;
    }
    return dir_sync_above(path, e);
}

/* The disk takes what is written while more of it is: what it fails at fsync() tells. */
static int write_ahead(int fd, const char *data, size_t n, struct err *e)
{
    int rc = 0;

    for (size_t at = 0; at < n && rc == 0; at += WRITE_SIZE) {
        size_t left = n - at, some = left < WRITE_SIZE ? left : WRITE_SIZE;
        rc = file_write_fd(fd, data + at, some, e);
        if (some < left)
            sync_file_range(fd, (off_t)at, (off_t)some, SYNC_FILE_RANGE_WRITE);
    }
    return rc;
}

int file_write(const char *path, const void *data, size_t n, mode_t mode, struct err *e)
{
    char *tmp = NULL;
    int fd = open_beside(path, mode, &tmp, e);
    if (fd < 0)
        return fd;
    int rc = write_ahead(fd, data, n, e);
    if (rc)
        err_prefix(e, "%s", path);
    else
        rc = sync_fd(fd, path, e);
    if (close(fd) < 0 && !rc)
        rc = err_sys(e, "%s", path);
    if (rc)
        unlink(tmp);
    else
        rc = publish(tmp, path, e);
    free(tmp);
    return rc;
}

int file_commit(const char *tmp, const char *path, struct err *e)
{
    int fd = open_read(tmp, e);
    if (fd < 0)
        return fd;
    int rc = sync_fd(fd, tmp, e);
    close(fd);
    if (rc) {
        unlink(tmp);
        return rc;
    }
    return publish(tmp, path, e);
}

static int make_one(const char *path, mode_t mode, bool new, struct err *e)
{
    struct stat st;
    if (mkdir(path, mode) == 0) {
        int rc = dir_sync_above(path, e);
        if (rc)
            rmdir(path);
        return rc;
    }
    if (errno == EEXIST && !new) {
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            return 0;
        return err_set(e, ERR_EXIST, "%s: exists and is no directory", path);
    }
    return err_sys(e, "%s", path);
}

static int make(const char *path, mode_t mode, bool new, struct err *e)
{
    char *copy = mem_strdup(path);
    size_t n = strlen(copy);
    int rc = 0;
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    for (char *p = copy + 1; *copy && *p && !rc; p++) {
        if (*p != '/' || p[1] == '/')
            continue;
        *p = '\0';
        rc = make_one(copy, mode, false, e);
        *p = '/';
    }
    if (!rc)
        rc = make_one(copy, mode, new, e);
    free(copy);
    return rc;
}

int dir_make(const char *path, mode_t mode, struct err *e)
{
    return make(path, mode, false, e);
}

int dir_make_new(const char *path, mode_t mode, struct err *e)
{
    return make(path, mode, true, e);
}

/* Removes name in the open directory `at`; path is what errors call it. */
static int remove_at(int at, const char *name, const char *path, struct err *e)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return err_sys(e, "%s", path);
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "%s", path);
    DIR *d = fdopendir(fd);
    if (!d) {
        int rc = err_sys(e, "%s", path);
        close(fd);
        return rc;
    }
    int rc = 0;
    const struct dirent *entry;
    while (!rc && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *below = path_join(path, entry->d_name);
        rc = remove_at(fd, entry->d_name, below, e);
        free(below);
    }
    closedir(d);
    if (!rc && unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        rc = err_sys(e, "%s", path);
    return rc;
}

int dir_remove(const char *path, struct err *e)
{
    return remove_at(AT_FDCWD, path, path, e);
}

void file_tidy(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    struct str tmp = STR_INIT;
    char **names;
    size_t n;
    str_addf(&tmp, "%s.tmp-", slash ? slash + 1 : path);
    if (dir_list(dir, &names, &n, NULL) == 0) {
        for (size_t i = 0; i < n; i++)
            if (strncmp(names[i], tmp.p, tmp.len) == 0) {
                char *file = path_join(dir, names[i]);
                unlink(file);
                free(file);
            }
        free(names);
    }
    str_free(&tmp);
    free(dir);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int dir_list(const char *path, char ***names, size_t *n, struct err *e)
{
    struct str all = STR_INIT; /* the names, each with its NUL */
    const struct dirent *entry;
    size_t count = 0;
    DIR *d = opendir(path);
    if (!d)
        return err_sys(e, "%s", path);
    while (errno = 0, entry = readdir(d)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        str_addn(&all, entry->d_name, strlen(entry->d_name) + 1);
        count++;
    }
    int rc = errno ? err_sys(e, "%s", path) : 0;
    closedir(d);
    if (!rc) {
        size_t table = (count + 1) * sizeof(char *);
        char **list = mem_alloc(table + all.len);
        char *p = (char *)list + table;
        if (all.len)
            memcpy(p, all.p, all.len);
        for (size_t i = 0; i < count; i++, p += strlen(p) + 1)
            list[i] = p;
        qsort(list, count, sizeof(*list), by_name);
        *names = list;
        *n = count;
    }
    str_free(&all);
    return rc;
}

char *path_join(const char *dir, const char *name)
{
    struct str s = STR_INIT;
    str_add(&s, dir);
    if (s.len && s.p[s.len - 1] != '/')
        str_addc(&s, '/');
    str_add(&s, name);
    return str_take(&s);
}

bool file_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}
