#include "worker/agent/attempt_dir.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The number of the newest attempt that has a directory, 0 for none. */
static int newest(const char *trial_dir, int64_t *attempt, struct err *e)
{
    char **names;
    size_t n;
    int rc = dir_list(trial_dir, &names, &n, e);
    if (rc)
        return rc;
    *attempt = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t number;
        if (names[i][0] == 'a' &&
            num_parse_int(names[i] + 1, strlen(names[i] + 1), &number) == 0 &&
            number > *attempt)
            *attempt = number;
    }
    free(names);
    return 0;
}

static void put_dir(struct str *path, const char *trial_dir, int64_t attempt)
{
    str_cut(path, 0);
    str_addf(path, "%s/a%02lld", trial_dir, (long long)attempt);
}

static int move_or_make(const char *trial_dir, int64_t before, int64_t attempt,
                        struct str *path, struct err *e)
{
    struct str old = STR_INIT;
    int rc = 0;
    put_dir(path, trial_dir, attempt);
    put_dir(&old, trial_dir, before);
    if (before > attempt)
        rc = err_set(e, ERR_FENCED, "attempt %lld has the directory already",
                     (long long)before);
    else if (before > 0 && before < attempt && rename(old.p, path->p) < 0)
        rc = err_sys(e, "%s: renaming it to a%02lld", old.p, (long long)attempt);
    else if (before == 0 && mkdir(path->p, 0777) < 0)
        rc = err_sys(e, "%s", path->p);
    str_free(&old);
    return rc;
}

int attempt_dir_take(const char *sweep_dir, int32_t trial, int32_t attempt,
                     struct str *path, struct err *e)
{
    struct str dir = STR_INIT;
    int64_t before = 0;
    int rc = 0;
    str_addf(&dir, "%s/trials/%06ld", sweep_dir, (long)trial);
    if (mkdir(dir.p, 0777) < 0)
        rc = errno == EEXIST ? newest(dir.p, &before, e) : err_sys(e, "%s", dir.p);
    if (!rc)
        rc = move_or_make(dir.p, before, attempt, path, e);
    str_free(&dir);
    return rc;
}

static void log_path(struct str *out, const char *attempt_dir, int32_t attempt)
{
    str_addf(out, "%s/attempt-%02ld.log", attempt_dir, (long)attempt);
}

int attempt_log_open(const char *attempt_dir, int32_t attempt, struct err *e)
{
    struct str path = STR_INIT;
    log_path(&path, attempt_dir, attempt);
    int fd = open(path.p, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    int rc = fd < 0 ? err_sys(e, "%s", path.p) : fd;
    str_free(&path);
    return rc;
}

void attempt_log_said(const char *attempt_dir, int32_t attempt, const char *beginning,
                      struct str *out)
{
    struct str path = STR_INIT;
    char text[4097], *found = NULL;
    log_path(&path, attempt_dir, attempt);
    int fd = open(path.p, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = size > (off_t)sizeof(text) - 1 ? size - (off_t)sizeof(text) + 1 : 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, from);
    text[n > 0 ? n : 0] = '\0';
    for (char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, beginning, strlen(beginning)) == 0)
            found = line;
    }
    if (found)
        str_addn(out, found, strcspn(found, "\n"));
    if (fd >= 0)
        close(fd);
    str_free(&path);
}

/* Not for . and .., nor for a log. */
static bool is_kept(const char *name)
{
    size_t n = strlen(name);
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           (n < 5 || strcmp(name + n - 4, ".log") != 0);
}

bool attempt_dir_keeps(const char *attempt_dir)
{
    DIR *d = opendir(attempt_dir);
    bool keeps = false;
    for (const struct dirent *entry; d && !keeps && (entry = readdir(d));)
        keeps = is_kept(entry->d_name);
    if (d)
        closedir(d);
    return keeps;
}

int attempt_dir_sync(const char *attempt_dir, struct err *e)
{
    const char *slash = strrchr(attempt_dir, '/');
    char *trial_dir = mem_strndup(attempt_dir, (size_t)(slash - attempt_dir));
    int rc = dir_sync(trial_dir, e);
    if (!rc)
        rc = dir_sync_above(trial_dir, e);
    free(trial_dir);
    return rc;
}
