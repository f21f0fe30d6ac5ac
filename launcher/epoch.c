#include "launcher/epoch.h"

#include "base/hash.h"

int epoch_begin(struct epoch *ep, const char *dir, struct event *first,
                int64_t *torn_bytes, struct err *e)
{
    int rc = loaded_file(&ep->sweep, dir, e);

    if (rc != 0)
        return rc;
    ep->sweep.accounts = accounts_new(ep->sweep.file);
    first->epoch.file_hash = hash64(ep->sweep.file->text.p, ep->sweep.file->text.len);
    rc = journal_begin(dir, first, &ep->journal, torn_bytes, e);
    if (rc == 0)
        rc = loaded_replay(&ep->sweep, false, e);
    if (rc == 0)
        ep->who.epoch = journal_epoch(ep->journal);
    return rc;
}

/* Agents and jobs of earlier epochs that did not end, as far as is known. Agents whose
 * jobs are gone will be lost soon, and then so are their attempts. */
static void expect_agents(struct epoch *ep)
{
    for (size_t i = 0; i < ep->sweep.agents.n; i++) {
        const struct known_agent *a = &ep->sweep.agents.v[i];

        controller_expect(ep->controller, a->id, a->job, a->host, a->slots);
    }
    for (size_t i = 0; i < ep->sweep.jobs.n; i++)
        controller_expect_job(ep->controller, ep->sweep.jobs.v[i]);
}

void epoch_control(struct epoch *ep, const struct controller_config *config, bool resume,
                   const struct controller_port *port, void *ctx, double now, double wall)
{
    const struct sweep_totals *n = sweep_totals(ep->sweep.sw);
    struct controller_config c = *config;

    c.file = ep->sweep.file;
    c.sw = ep->sweep.sw;
    c.costs = ep->sweep.costs;
    c.epoch = journal_epoch(ep->journal);
    c.uptime_before = ep->sweep.uptime;
    ep->controller = controller_new(&c, port, ctx, now);
    controller_clock(ep->controller, now, wall);
    expect_agents(ep);
    if (resume && (n->pausing || n->finished))
        controller_resume(ep->controller, "rung resume");
}

int epoch_announce(struct epoch *ep, const struct timers *timers, double now,
                   struct err *e)
{
    struct controller_file f;

    if (now < ep->next_look)
        return 0;
    ep->next_look = now + timers->s[TIMER_CONTROLLER_LOOK];
    if (controller_file_read(ep->sweep.dir, &f, NULL) == 0) {
        if (f.epoch == ep->who.epoch && !ep->news)
            return 0;
        if (f.epoch > ep->who.epoch)
            return err_set(
                e, ERR_FENCED,
                "the controller on %s (process %ld) has taken over, as epoch %d", f.host,
                f.pid, f.epoch);
    }
    ep->news = false;
    return controller_file_write(ep->sweep.dir, &ep->who, e);
}

static bool gathers(struct epoch *ep, const struct timers *timers, double now)
{
    if (!journal_pending(ep->journal) || controller_urgent(ep->controller))
        return false;
    if (ep->commit_due == 0)
        ep->commit_due = now + timers->s[TIMER_GATHER];
    return now < ep->commit_due;
}

int epoch_commit(struct epoch *ep, const struct timers *timers, double now, struct err *e)
{
    int rc;

    if (gathers(ep, timers, now))
        return 0;
    ep->commit_due = 0;
    rc = journal_pending(ep->journal) ? journal_commit(ep->journal, e) : 0;
    if (rc == 0)
        controller_flush(ep->controller);
    return rc;
}

double epoch_deadline(const struct epoch *ep)
{
    double due = controller_deadline(ep->controller);

    return ep->commit_due > 0 && ep->commit_due < due ? ep->commit_due : due;
}

void epoch_end(struct epoch *ep)
{
    controller_free(ep->controller);
    journal_close(ep->journal);
    loaded_close(&ep->sweep);
}
