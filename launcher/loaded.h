/* A sweep as its directory tells it: sweep.yaml and the journal, replayed. */
#ifndef LAUNCHER_LOADED_H
#define LAUNCHER_LOADED_H

#include "launcher/accounts.h"
#include "launcher/costs.h"
#include "launcher/orders.h"
#include "store/replay.h"
#include "wire/keys.h"

struct known_agent { /* joined, and its end is not in the journal */
    uint64_t id;
    char *job, *host;
    int slots;
};

struct loaded {
    char *dir;              /* absolute */
    struct sweepfile *file; /* with the changes of `rung resume --set` applied */
    struct sweep *sw;
    struct costs *costs;
    struct orders *orders;
    struct accounts *accounts; /* NULL unless set between loading and replaying */
    struct history history;    /* empty unless asked for */
    struct replay replay;
    VEC(struct known_agent) agents;
    VEC(char *) jobs;     /* submitted, whose agent did not join nor they end */
    VEC(char *) settings; /* "KEY=VALUE" of each `rung resume --set`, in order */
    double uptime; /* seconds that earlier epochs served it, each to its last event */
    double epoch_began; /* wall clock; NaN: there is none */
    double last_event;
    int64_t steps_before; /* taken in earlier epochs */
    double last_evicted;  /* when a controller's job was taken away last; 0: never */
    int barren_epochs; /* the last so many were over within 10 minutes each, and nothing
                          was reported in them */
    int64_t reports_before; /* made in earlier epochs */
    char *why_paused;       /* the reason of the last pause, NULL: it was never paused */
    uint64_t created_hash;  /* of sweep.yaml, as the first epoch found it */
    /* NULL; or, set by the caller between loaded_file() and loaded_replay(): read no
     * further */
    const struct journal_pos *limit;
};

/* Seconds that controllers served it, all epochs, the last one up to `until` (wall clock:
 * now while it is served, else last_event). */
double loaded_uptime(const struct loaded *l, double until);

bool sweep_dir_is(const char *dir); /* does it hold a sweep? */
/* The sweep directory below the current one, one level deep, that was served last (by the
 * times of its files), or the current directory itself if it is one; free() it. NULL and
 * *e. */
char *sweep_dir_newest(struct err *e);
/* All sweeps one level below a directory: names in a NULL-ended array; free each and it.
 */
int sweep_dirs(const char *below, char ***dirs, size_t *n, struct err *e);
/* dir as given (NULL: the newest): an absolute path, checked to hold a sweep. */
char *sweep_dir_find(const char *dir, struct err *e);

/* Prints nothing; *e has the sentence (mistakes of sweep.yaml included). */
int loaded_open(struct loaded *l, const char *dir, bool history, struct err *e);
/* The same in two steps, for the controller, which begins its epoch between them. */
int loaded_file(struct loaded *l, const char *dir, struct err *e);
int loaded_replay(struct loaded *l, bool history, struct err *e);
/* The same, recomputing and comparing everything: l->replay.mismatches. */
int loaded_verify(struct loaded *l, const char *dir, struct err *e);
int loaded_update(struct loaded *l, struct err *e); /* reads on: for `rung watch` */
void loaded_close(struct loaded *l);

/* Is a controller serving the sweep now, as far as can be seen from here? */
enum serving { SERVING_NO, SERVING_HERE, SERVING_ELSEWHERE };
enum serving sweep_served(const char *dir, struct controller_file *f);

#endif
