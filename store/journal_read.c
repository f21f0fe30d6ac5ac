#include "store/journal_files.h"

#include <stdlib.h>

struct reader {
    struct journal_pos *pos;
    int (*fn)(void *ctx, const struct event *ev, struct err *e);
    void *ctx;
    struct event_scratch *scratch;
};

/* A line that is not whole, and what follows it. */
static int bad_line(struct lines *l, const struct link *link, int64_t offset,
                    struct err *e)
{
    int rc = 0;

    if (link->accepted < 0) {
        rc = lines_commit_follows(l, e);
        if (rc == 0) /* the end of a commit that was never durable */
            return 0;
    }
    return rc < 0
               ? rc
               : lines_damaged(l, offset, e, "damaged: its checksum is wrong, and %s",
                               link->accepted < 0 ? "commits follow that were made later"
                                                  : "a later epoch has accepted it");
}

/* One whole line. */
static int take_line(struct reader *r, struct lines *l, const struct link *link,
                     struct slice line, struct err *e)
{
    struct event ev;
    int rc = line_parse(line.p, line.len, &ev, NULL, r->scratch, e);

    if (!rc && (ev.kind == EVENT_EPOCH) != (r->pos->offset == 0))
        rc = err_set(e, ERR_CORRUPT,
                     "an epoch's first line, and no other, tells of the epoch");
    if (!rc && r->pos->offset == 0 && r->pos->events != link->before)
        rc =
            err_set(e, ERR_CORRUPT, "%lld events were accepted before it, %lld are there",
                    (long long)link->before, (long long)r->pos->events);
    if (!rc)
        rc = r->fn(r->ctx, &ev, e);
    if (!rc) {
        r->pos->offset += (int64_t)line.len + 1;
        r->pos->events++;
    } else if (rc < 0 && e && e->code == rc) {
        err_prefix(e, "%s:%lld", l->path, (long long)lines_number(l, r->pos->offset));
    }
    return rc;
}

/* An epoch that has a successor was read to the length which that one accepted: is all
 * of it there? */
static int check_end(const struct lines *l, const struct link *link,
                     const struct journal_pos *pos, struct err *e)
{
    if (pos->offset == link->accepted)
        return 0;
    return err_set(e, ERR_CORRUPT,
                   "%s: damaged: %lld whole bytes are left of the %lld that a "
                   "later epoch has accepted",
                   l->path, (long long)pos->offset, (long long)link->accepted);
}

/* Reads the file of one link of the chain, from pos on and at most to `limit`. */
static int read_epoch(struct reader *r, const char *journal, const struct link *link,
                      int64_t limit, struct journal_tail *tail, struct err *e)
{
    struct journal_pos *pos = r->pos;
    struct slice line;
    struct lines l;
    int64_t size;
    int rc = lines_open(&l, journal, link->epoch, pos->offset, e);

    if (rc)
        return rc;
    size = lines_size(&l, e);
    if (size < 0)
        rc = (int)size;
    else if (pos->offset > size || (link->accepted >= 0 && pos->offset > link->accepted))
        rc = err_set(e, ERR_FENCED, "%s: cut shorter than what was read of it", l.path);
    if (rc)
        goto out;
    if (link->accepted >= 0)
        l.limit = link->accepted;
    if (limit < l.limit)
        l.limit = limit;
    while ((rc = lines_next(&l, &line, e)) > 0) {
        if (!line_whole(line.p, line.len)) {
            rc = bad_line(&l, link, pos->offset, e);
            break;
        }
        rc = take_line(r, &l, link, line, e);
        if (rc)
            break;
    }
    if (rc)
        goto out;
    tail->epoch = link->epoch;
    if (link->accepted < 0 && limit == INT64_MAX)
        tail->torn_bytes = size > pos->offset ? size - pos->offset : 0;
    if (link->accepted >= 0 && size > link->accepted)
        tail->ignored_bytes += size - link->accepted;
    if (link->accepted >= 0 && limit >= link->accepted)
        rc = check_end(&l, link, pos, e);
out:
    lines_close(&l);
    return rc;
}

/* Where in the chain, newest first, an epoch is; -1 for nowhere. */
static int find_link(const struct chain *chain, int32_t epoch)
{
    for (size_t i = 0; i < chain->v.n; i++)
        if (chain->v.v[i].epoch == epoch)
            return (int)i;
    return -1;
}

/* Reads on through the chain from the epoch of pos, or from its beginning. */
static int read_chain(struct reader *r, const char *journal, const struct chain *chain,
                      const struct journal_pos *limit, struct journal_tail *tail,
                      struct err *e)
{
    struct journal_pos *pos = r->pos;
    int from = pos->epoch ? find_link(chain, pos->epoch) : (int)chain->v.n - 1;
    int to = limit ? find_link(chain, limit->epoch) : 0;
    int rc = 0;

    if (from < 0 || to < 0)
        return err_set(e, ERR_FENCED, "%s: epoch %d is none of its epochs (any more)",
                       journal, from < 0 ? pos->epoch : limit->epoch);
    for (int i = from; i >= to && !rc; i--) {
        const struct link *link = &chain->v.v[i];
        if (link->epoch != pos->epoch) {
            pos->epoch = link->epoch;
            pos->offset = 0;
        }
        rc = read_epoch(r, journal, link, limit && i == to ? limit->offset : INT64_MAX,
                        tail, e);
    }
    return rc;
}

int journal_read(const char *dir, struct journal_pos *pos,
                 const struct journal_pos *limit,
                 int (*fn)(void *ctx, const struct event *ev, struct err *e), void *ctx,
                 struct journal_tail *tail, struct err *e)
{
    struct reader r = {.pos = pos, .fn = fn, .ctx = ctx};
    struct epochs list = {0};
    struct chain chain = {0};
    struct journal_tail none;
    char *journal = journal_dir(dir);
    int rc = epochs_list(journal, &list, e);

    if (!tail)
        tail = &none;
    *tail = (struct journal_tail){0};
    if (!rc)
        rc = chain_find(journal, &list, pos->epoch, &chain, e);
    if (rc)
        goto out;
    if (chain.v.n == 0) {
        rc = err_set(e, ERR_NOENT, "%s: no epoch has begun here", journal);
        goto out;
    }
    tail->void_files = chain.void_files;
    r.scratch = event_scratch_new();
    rc = read_chain(&r, journal, &chain, limit, tail, e);
    event_scratch_free(r.scratch);
out:
    vec_free(&chain.v);
    vec_free(&list.number);
    free(journal);
    return rc;
}
