#include "store/journal_files.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define JOURNAL_MODE     0644
#define JOURNAL_DIR_MODE 0755

struct journal {
    int fd;
    int32_t epoch;
    char *dir, *path;      /* of journal/ and of this epoch's file */
    int64_t bytes, events; /* durable */
    struct str pending;
    int64_t n_pending;
    struct err failed; /* once set, it is every answer */
};

int32_t journal_epoch(const struct journal *j)
{
    return j->epoch;
}

int64_t journal_bytes(const struct journal *j)
{
    return j->bytes;
}

int64_t journal_events(const struct journal *j)
{
    return j->events;
}

bool journal_pending(const struct journal *j)
{
    return j->n_pending > 0;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        close(j->fd);
    free(j->dir);
    free(j->path);
    str_free(&j->pending);
    free(j);
}

/* ---- committing ---- */

void journal_append(struct journal *j, const struct event *ev, const struct verdict *v)
{
    event_encode(ev, v, j->n_pending == 0, &j->pending);
    str_addc(&j->pending, '\n');
    j->n_pending++;
}

/* Whoever created a higher epoch's file read our length after that: if there is none
 * now, what we just made durable is inside any length that will be read. */
static int look_for_newer(struct journal *j)
{
    struct epochs list = {0};
    int rc = epochs_list(j->dir, &list, &j->failed);

    if (!rc && list.number.n > 0 && list.number.v[list.number.n - 1] > j->epoch)
        rc = err_set(&j->failed, ERR_FENCED,
                     "%s: epoch %d has begun: a newer controller owns this sweep", j->dir,
                     list.number.v[list.number.n - 1]);
    vec_free(&list.number);
    return rc;
}

/* Makes durable what was appended. */
static int write_pending(struct journal *j)
{
    int rc = file_write_fd(j->fd, j->pending.p, j->pending.len, &j->failed);

    /* After a failed fsync the kernel may take lost pages for clean: a second one
     * would say that all is well. */
    if (!rc && fsync(j->fd) < 0)
        rc = err_sys(&j->failed, "fsync");
    if (rc) {
        err_prefix(&j->failed, "%s", j->path);
        if (rc != ERR_FULL)
            rc = j->failed.code = ERR_IO;
        return rc;
    }
    j->bytes += (int64_t)j->pending.len;
    j->events += j->n_pending;
    j->n_pending = 0;
    str_cut(&j->pending, 0);
    return 0;
}

int journal_commit(struct journal *j, struct err *e)
{
    int rc = j->failed.code;

    if (!rc && j->n_pending > 0)
        rc = write_pending(j);
    if (!rc)
        rc = look_for_newer(j);
    if (rc && e)
        *e = j->failed;
    return rc;
}

/* ---- beginning ---- */

/* Creates the file of the epoch after all that are there. */
static int create_file(struct journal *j, struct epochs *list, struct err *e)
{
    for (int tries = 0; tries < 100; tries++) {
        list->number.n = 0;
        int rc = epochs_list(j->dir, list, e);
        if (rc)
            return rc;
        size_t n = list->number.n;
        if (n > 0 && list->number.v[n - 1] == INT32_MAX)
            break;
        j->epoch = n ? list->number.v[n - 1] + 1 : 1;
        free(j->path);
        j->path = journal_path(j->dir, j->epoch);
        j->fd = open(j->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC,
                     JOURNAL_MODE);
        if (j->fd >= 0)
            return 0;
        if (errno != EEXIST)
            return err_sys(e, "%s", j->path);
    }
    return err_set(e, ERR_EXIST, "%s: no number is left for a new epoch", j->dir);
}

/* Makes durable what the predecessor's file holds now, and its name, and limits reading
 * to that. They may be in memory only, written by a controller that crashed before its
 * fsync, or that still writes: what we accept must not be lost after we said so. */
static int secure(struct lines *l, const struct journal *j, struct err *e)
{
    int64_t size = lines_size(l, e);

    if (size < 0)
        return (int)size;
    if (fsync(l->fd) < 0)
        return err_sys(e, "%s: fsync", l->path);
    l->limit = size;
    return dir_sync(j->dir, e);
}

/* How much of the predecessor's file is accepted: its whole lines up to the first that
 * is not. Fills begin->epoch. */
static int accept(struct journal *j, const struct link *last, struct event *begin,
                  int64_t *torn, struct err *e)
{
    struct lines l;
    struct slice line;
    int64_t bytes = 0, events = last->before;
    int rc = lines_open(&l, j->dir, last->epoch, 0, e);

    if (rc)
        return rc;
    rc = secure(&l, j, e);
    if (rc)
        goto out;
    while ((rc = lines_next(&l, &line, e)) > 0 && line_whole(line.p, line.len)) {
        bytes = l.offset;
        events++;
    }
    if (rc > 0)
        rc = lines_commit_follows(&l, e);
    if (rc > 0)
        rc = lines_damaged(&l, bytes, e,
                           "damaged: its checksum is wrong, and commits follow "
                           "that were made later");
    begin->epoch.after = last->epoch;
    begin->epoch.after_bytes = bytes;
    begin->epoch.after_events = events;
    *torn = l.limit - bytes;
out:
    lines_close(&l);
    return rc;
}

/* Finds the predecessor among the files of the list, and what is accepted of it. */
static int find_last(struct journal *j, const struct epochs *list, struct event *begin,
                     int64_t *torn, struct err *e)
{
    struct chain chain = {0};
    int rc = chain_find(j->dir, list, INT32_MAX, &chain, e);

    begin->kind = EVENT_EPOCH;
    begin->epoch.epoch = j->epoch;
    begin->epoch.after = 0;
    begin->epoch.after_bytes = begin->epoch.after_events = 0;
    if (!rc && chain.v.n > 0)
        rc = accept(j, &chain.v.v[0], begin, torn, e);
    vec_free(&chain.v);
    return rc;
}

/* The files that were there before ours, as they are now. */
static int list_again(const struct journal *j, struct epochs *list, struct err *e)
{
    list->number.n = 0;
    int rc = epochs_list(j->dir, list, e);

    while (!rc && list->number.n > 0 && list->number.v[list->number.n - 1] >= j->epoch)
        list->number.n--;
    return rc;
}

/* Creates the epoch's file and, after that, reads how the last one ends. What was listed
 * may be gone by then: made by a host that lost power before it was durable. It is not
 * left out because it cannot be opened, but because it is listed no more. */
static int find_place(struct journal *j, struct event *begin, int64_t *torn,
                      struct err *e)
{
    struct epochs list = {0};
    int rc = create_file(j, &list, e);

    if (!rc)
        rc = find_last(j, &list, begin, torn, e);
    if (rc == ERR_NOENT) {
        rc = list_again(j, &list, e);
        if (!rc)
            rc = find_last(j, &list, begin, torn, e);
    }
    vec_free(&list.number);
    return rc;
}

/* Writes the first line: the epoch has begun. */
static int write_first(struct journal *j, const char *dir, const struct event *begin,
                       struct err *e)
{
    int rc;

    j->events = begin->epoch.after_events;
    journal_append(j, begin, NULL);
    rc = write_pending(j);
    if (!rc)
        rc = dir_sync(j->dir, &j->failed);
    if (!rc)
        rc = dir_sync(dir, &j->failed);
    if (!rc)
        rc = look_for_newer(j);
    if (rc && e)
        *e = j->failed;
    return rc;
}

int journal_begin(const char *dir, struct event *begin, struct journal **out,
                  int64_t *torn_bytes, struct err *e)
{
    struct journal *j = mem_alloc(sizeof(*j));
    int64_t torn = 0;
    int rc;

    j->fd = -1;
    j->dir = journal_dir(dir);
    j->pending = (struct str)STR_INIT;
    rc = dir_make(j->dir, JOURNAL_DIR_MODE, e);
    if (!rc)
        rc = find_place(j, begin, &torn, e);
    if (!rc)
        rc = write_first(j, dir, begin, e);
    if (rc) {
        journal_close(j);
        return rc;
    }
    if (torn_bytes)
        *torn_bytes = torn;
    *out = j;
    return 0;
}
