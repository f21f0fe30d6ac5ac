/* Is the order of trials early in training the one that they will end in? Rungs live by
 * that. What each trial was recorded with at each level, from the sweep's events. */
#ifndef LAUNCHER_ORDERS_H
#define LAUNCHER_ORDERS_H

#include "sched/sweep.h"

struct orders;

/* The sweep must outlive it. */
struct orders *orders_new(const struct sweep *sw);
void orders_free(struct orders *o); /* NULL is fine */
/* Takes in an event that was just applied, with its verdict. */
void orders_event(struct orders *o, const struct event *ev, const struct verdict *v);

/* Of a level and the next one, the last being that of complete trials. */
struct order {
    uint32_t trials;    /* that were recorded at both, in any bracket */
    double correlation; /* rank_correlation() of their (first) metric; what is not finite
                           is the worst. NaN: there is no order */
};
/* level < the last one. Sorts what it holds. */
struct order orders_of(struct orders *o, int level);

/* With a lower rank correlation, over trials that nobody chose, a milestone is too early
 * to tell who will be good. */
#define ORDER_ENOUGH 0.5
/* Those that went on from a milestone were chosen by their order there, and differ less
 * than all: with a lower rank correlation over them it said next to nothing. */
#define ORDER_NONE   0.2
#define ORDER_TRIALS 20 /* nothing is concluded from fewer */
bool order_is_poor(const struct order *o);

#endif
