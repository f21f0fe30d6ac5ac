/* A sweep played through in simulated time: its own decisions and draws (sched/sweep.h),
 * with slots, programs and what befalls them invented.
 *
 * A slot takes an attempt as a job does; the program reports, is told to go on, to pause
 * or to stop, and then the slot asks for more. Time has no unit here: that in which
 * seconds() answers. */
#ifndef LAUNCHER_SIMULATE_H
#define LAUNCHER_SIMULATE_H

#include "base/vec.h"
#include "sched/sweep.h"

struct simulation {
    const struct spec *spec;
    int slots;
    uint64_t seed; /* of what is random beside the sweep's own draws */
    /* A step takes (1 + |z|) times what seconds() says, z being normal with this
     * deviation and drawn for each attempt and each promotion within it: the workload of
     * Li et al., MLSys 2020, appendix A.1. */
    double straggler_std;
    double mean_loss;  /* mean of the exponential time until an attempt is lost; 0: it
                          never is */
    double queue_wait; /* mean of the exponential time that a slot's job is pending, at
                          the beginning and after it was lost */
    double until;      /* nothing happens later; INFINITY */
    const struct event *known; /* [n_known] KNOWN events, before all others */
    size_t n_known;
    void *ctx;
    /* A trial was drawn: NULL to have those of a sweep that searches by sweep_draw(). */
    int (*draw)(void *ctx, struct sweep *sw, struct event *ev, struct err *e);
    /* Each event, after it was applied; NULL: nobody cares. */
    void (*happened)(void *ctx, const struct sweep *sw, const struct event *ev,
                     const struct verdict *v);
    /* of spec's `objective`, in the user's sign */
    double (*metric)(void *ctx, int32_t trial, int64_t step, int objective);
    double (*seconds)(void *ctx, int32_t trial, int64_t from, int64_t to); /* > 0 */
    /* The step of the report that follows the one at `step`, at most `until`. */
    int64_t (*next)(void *ctx, int64_t step, int64_t until);
};

struct incumbent { /* from then on the best */
    double time;
    double steps; /* that all trials had made */
    int32_t trial;
    int64_t step;
    double metric;
};

struct simulated {
    struct sweep *sw; /* at the end */
    double time;      /* of the last event */
    double busy;      /* slots times time, with an attempt */
    double steps;     /* made, those that were lost and made again included */
    int64_t lost;     /* attempts */
    VEC(struct incumbent) best;
};

/* 0, or the error of a draw. *out is to be freed in either case. */
int simulate(const struct simulation *s, struct simulated *out, struct err *e);
void simulated_free(struct simulated *s);

#endif
