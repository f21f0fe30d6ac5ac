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

/* Not for . and .., nor for a log. */
static bool is_kept(const char *name)
{
    size_t n = strlen(name);
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           (n < 5 || strcmp(name + n - 4, ".log") != 0);
}

/* Neither . nor .., nor a log of ours. */
static bool is_programs(const char *name)
{
    int64_t attempt;
    size_t n = strlen(name);
    bool ours = n > 12 && strncmp(name, "attempt-", 8) == 0 &&
                strcmp(name + n - 4, ".log") == 0 &&
                num_parse_int(name + 8, n - 12, &attempt) == 0;
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !ours;
}

static bool ends_in_tmp(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".tmp") == 0;
}

/* Copies that were cut off. */
static int remove_partial(const char *trial_dir, struct err *e)
{
    char **names;
    size_t n;
    int rc = dir_list(trial_dir, &names, &n, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && !rc; i++) {
        char *path = path_join(trial_dir, names[i]);
        if (ends_in_tmp(names[i]))
            rc = dir_remove(path, e);
        free(path);
    }
    free(names);
    return rc;
}

/* The logs stay with the newest of a trial's directories. */
static int move_logs(const char *from, const char *to, struct err *e)
{
    char **names;
    size_t n;
    int rc = dir_list(from, &names, &n, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && !rc; i++) {
        char *old = path_join(from, names[i]), *new = path_join(to, names[i]);
        if (!is_programs(names[i]) && rename(old, new) < 0)
            rc = err_sys(e, "%s", new);
        free(old);
        free(new);
    }
    free(names);
    return rc;
}

/* A copy of a checkpoint directory, whole when it has its name. */
static int copy_dir(const char *trial_dir, const char *source, const char *path,
                    struct err *e)
{
    struct str tmp = STR_INIT;
    int rc = remove_partial(trial_dir, e);
    str_addf(&tmp, "%s.tmp", path);
    if (!rc && !attempt_dir_keeps(source))
        rc = err_set(e, ERR_NOENT,
                     "%s: the checkpoint that the attempt is to begin from is not there "
                     "(`rung stop DIR TRIAL` gives the trial up)",
                     source);
    if (!rc)
        rc = dir_copy(source, tmp.p, is_programs, e);
    if (!rc && rename(tmp.p, path) < 0)
        rc = err_sys(e, "%s", path);
    if (!rc)
        rc = attempt_dir_sync(path, e);
    if (rc)
        dir_remove(tmp.p, NULL);
    str_free(&tmp);
    return rc;
}

static int move_or_make(const char *trial_dir, int64_t before, int64_t attempt,
                        const char *path, struct err *e)
{
    struct str old = STR_INIT;
    int rc = 0;
    put_dir(&old, trial_dir, before);
    if (before > 0 && rename(old.p, path) < 0)
        rc = err_sys(e, "%s: renaming it to a%02lld", old.p, (long long)attempt);
    else if (before == 0 && mkdir(path, 0777) < 0)
        rc = err_sys(e, "%s", path);
    str_free(&old);
    return rc;
}

static void put_trial_dir(struct str *path, const char *sweep_dir, int32_t trial)
{
    str_addf(path, "%s/trials/%06ld", sweep_dir, (long)trial);
}

/* Does the attempt begin with a copy, where `before` is the trial's newest? */
static bool is_copy(int32_t trial, int64_t before, int32_t attempt,
                    struct attempt_source source)
{
    return before < attempt && source.attempt > 0 &&
           (before == 0 || (source.trial == trial && before == source.attempt));
}

bool attempt_dir_copies(const char *sweep_dir, int32_t trial, int32_t attempt,
                        struct attempt_source source)
{
    struct str dir = STR_INIT;
    int64_t before = 0;
    put_trial_dir(&dir, sweep_dir, trial);
    newest(dir.p, &before, NULL);
    str_free(&dir);
    return is_copy(trial, before, attempt, source);
}

int attempt_dir_take(const char *sweep_dir, int32_t trial, int32_t attempt,
                     struct attempt_source source, struct str *path, struct err *e)
{
    struct str dir = STR_INIT, from = STR_INIT, home = STR_INIT;
    bool own = source.trial == trial;
    int64_t before = 0;
    int rc = 0;
    put_trial_dir(&dir, sweep_dir, trial);
    put_trial_dir(&home, sweep_dir, source.trial);
    put_dir(&from, home.p, source.attempt);
    put_dir(path, dir.p, attempt);
    if (mkdir(dir.p, 0777) < 0)
        rc = errno == EEXIST ? newest(dir.p, &before, e) : err_sys(e, "%s", dir.p);
    if (!rc && before > attempt)
        rc = err_set(e, ERR_FENCED, "attempt %lld has the directory already",
                     (long long)before);
    else if (!rc && is_copy(trial, before, attempt, source))
        rc = copy_dir(dir.p, from.p, path->p, e);
    else if (!rc && before < attempt)
        rc = move_or_make(dir.p, before, attempt, path->p, e);
    if (!rc && own && source.attempt > 0 && file_exists(from.p))
        rc = move_logs(from.p, path->p, e);
    str_free(&dir);
    str_free(&from);
    str_free(&home);
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
