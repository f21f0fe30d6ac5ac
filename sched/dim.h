/* A dimension of the unit cube: what a searcher knows of a distribution. */
#ifndef SCHED_DIM_H
#define SCHED_DIM_H

#include <stdbool.h>
#include <stdint.h>

enum dim_kind {
    DIM_REAL,   /* lo..hi, log or not; q > 0 where rounded to multiples of q */
    DIM_INT,    /* lo..hi inclusive, log or not; q >= 1 the step */
    DIM_NORMAL, /* mean lo, standard deviation hi; q as for DIM_REAL */
    DIM_CHOICE, /* n alternatives, no order */
    DIM_GRID,   /* n alternatives, crossed */
};

struct dim {
    const char *name; /* the parameter's */
    int param;
    uint32_t key; /* of the random numbers: from the name, so that a draw stays what it
                     was when other parameters come and go; unique within a space */
    enum dim_kind kind;
    bool log;
    double lo, hi, q; /* of rounded ones the first and the last multiple of q */
    int64_t n;        /* number of different values; 0: continuous, or without end */
};

#endif
