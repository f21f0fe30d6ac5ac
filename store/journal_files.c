#include "store/journal_files.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 << 10)

/* Longer than any line: a report has at most 1,000 metrics with names of 128 bytes, a
 * trial the parameters of a sweep file of at most 1 MiB. */
#define LINE_MAX_LEN ((size_t)32 << 20)

char *journal_dir(const char *dir)
{
    return path_join(dir, "journal");
}

char *journal_path(const char *journal, int32_t epoch)
{
    char name[32];

    snprintf(name, sizeof(name), "%06d.jsonl", epoch);
    return path_join(journal, name);
}

/* The epoch that a file's name tells; 0 when it is none's. */
static int32_t epoch_of_name(const char *name)
{
    char again[32];
    char *end;
    long n = strtol(name, &end, 10);

    if (n <= 0 || n > INT32_MAX || strcmp(end, ".jsonl") != 0)
        return 0;
    snprintf(again, sizeof(again), "%06ld.jsonl", n);
    return strcmp(again, name) == 0 ? (int32_t)n : 0;
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return x < y ? -1 : x > y;
}

int epochs_list(const char *journal, struct epochs *list, struct err *e)
{
    const struct dirent *entry;
    DIR *d = opendir(journal);
    int rc;

    if (!d)
        return err_sys(e, "%s", journal);
    while (errno = 0, entry = readdir(d)) {
        int32_t epoch = epoch_of_name(entry->d_name);
        if (epoch > 0)
            vec_push(&list->number, epoch);
    }
    rc = errno ? err_sys(e, "%s", journal) : 0;
    closedir(d);
    if (list->number.n > 1)
        qsort(list->number.v, list->number.n, sizeof(int32_t), ascending);
    return rc;
}

/* ---- lines of a file ---- */

int lines_open(struct lines *l, const char *journal, int32_t epoch, int64_t offset,
               struct err *e)
{
    struct stat st;
    int rc = 0;

    *l = (struct lines){.path = journal_path(journal, epoch),
                        .offset = offset,
                        .limit = INT64_MAX,
                        .buf = STR_INIT};
    l->fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (l->fd < 0 || fstat(l->fd, &st) < 0)
        rc = err_sys(e, "%s", l->path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_CORRUPT, "%s: is no file", l->path);
    if (rc)
        lines_close(l);
    return rc;
}

void lines_close(struct lines *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    free(l->path);
    l->path = NULL;
    str_free(&l->buf);
}

/* Reads on: how many bytes, 0 at the end, or an error. */
static ssize_t fill(struct lines *l, struct err *e)
{
    int64_t at = l->offset + (int64_t)(l->buf.len - l->taken);
    size_t want = READ_SIZE;
    ssize_t n;

    if (at >= l->limit)
        return 0;
    if ((int64_t)want > l->limit - at)
        want = (size_t)(l->limit - at);
    str_drop(&l->buf, l->taken);
    l->taken = 0;
    str_reserve(&l->buf, want);
    do
        n = pread(l->fd, l->buf.p + l->buf.len, want, at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_sys(e, "%s", l->path);
    l->buf.len += (size_t)n;
    l->buf.p[l->buf.len] = '\0';
    return n;
}

int lines_next(struct lines *l, struct slice *line, struct err *e)
{
    size_t searched = 0;

    for (;;) {
        char *start = l->buf.p + l->taken;
        size_t have = l->buf.len - l->taken;
        const char *end = memchr(start + searched, '\n', have - searched);
        if (end || have >= LINE_MAX_LEN) {
            *line = (struct slice){start, end ? (size_t)(end - start) : have};
            l->taken += line->len + (end != NULL);
            l->offset += (int64_t)line->len + (end != NULL);
            return 1;
        }
        searched = have;
        ssize_t n = fill(l, e);
        if (n <= 0)
            return (int)n;
    }
}

int64_t lines_size(const struct lines *l, struct err *e)
{
    struct stat st;

    return fstat(l->fd, &st) < 0 ? err_sys(e, "%s", l->path) : (int64_t)st.st_size;
}

int lines_commit_follows(struct lines *l, struct err *e)
{
    struct slice line;
    int rc;

    while ((rc = lines_next(l, &line, e)) > 0)
        if (line_commits(line.p, line.len))
            return 1;
    return rc;
}

int64_t lines_number(const struct lines *l, int64_t offset)
{
    char buf[8192];
    int64_t number = 1;

    for (int64_t at = 0; at < offset;) {
        ssize_t n = pread(l->fd, buf, sizeof(buf), at);
        if (n <= 0)
            return 0;
        for (ssize_t i = 0; i < n && at + i < offset; i++)
            number += buf[i] == '\n';
        at += n;
    }
    return number;
}

int lines_damaged(const struct lines *l, int64_t offset, struct err *e, const char *fmt,
                  ...)
{
    char what[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return err_set(e, ERR_CORRUPT, "%s:%lld: %s", l->path,
                   (long long)lines_number(l, offset), what);
}

/* ---- which files count ---- */

/* Reads the first line of an epoch's file into *ev (of which only numbers live on):
 * 1, or 0 when the epoch never began. */
static int first_line(const char *journal, int32_t epoch, struct event *ev, struct err *e)
{
    struct event_scratch *scratch = event_scratch_new();
    struct slice line;
    struct lines l;
    int rc = lines_open(&l, journal, epoch, 0, e);

    if (rc)
        goto out;
    rc = lines_next(&l, &line, e);
    if (rc > 0 && line_whole(line.p, line.len)) {
        rc = line_parse(line.p, line.len, ev, NULL, scratch, e);
        if (rc)
            err_prefix(e, "%s:1", l.path);
        else if (ev->kind != EVENT_EPOCH || ev->epoch.epoch != epoch ||
                 ev->epoch.after < 0 || ev->epoch.after >= epoch)
            rc = lines_damaged(&l, 0, e, "it is not how epoch %d began", epoch);
        else
            rc = 1;
    } else if (rc > 0) {
        rc = lines_commit_follows(&l, e);
        if (rc > 0)
            rc = lines_damaged(&l, 0, e,
                               "damaged: its checksum is wrong, and commits "
                               "follow that were made later");
    }
    lines_close(&l);
out:
    event_scratch_free(scratch);
    return rc;
}

int chain_find(const char *journal, const struct epochs *list, int32_t oldest,
               struct chain *chain, struct err *e)
{
    struct link next = {.accepted = -1}; /* epoch 0: the newest that began */
    struct event ev;

    for (size_t i = list->number.n; i-- > 0;) {
        int32_t epoch = list->number.v[i];
        if (next.epoch > 0 && epoch > next.epoch) {
            chain->void_files++;
            continue;
        }
        if (epoch < next.epoch)
            break;
        int rc = first_line(journal, epoch, &ev, e);
        if (rc < 0)
            return rc;
        if (rc == 0 && next.epoch == 0) {
            chain->void_files++;
            continue;
        }
        if (rc == 0)
            break;
        next.epoch = epoch;
        next.before = ev.epoch.after_events;
        vec_push(&chain->v, next);
        if (ev.epoch.after == 0 || epoch <= oldest)
            return 0;
        next = (struct link){.epoch = ev.epoch.after, .accepted = ev.epoch.after_bytes};
    }
    if (chain->v.n == 0)
        return 0;
    return err_set(e, ERR_CORRUPT,
                   "%s/%06d.jsonl: missing, or without its first line; "
                   "epoch %d continues it",
                   journal, next.epoch, chain->v.v[chain->v.n - 1].epoch);
}
