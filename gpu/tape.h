/* A tape finds, in what a device is asked to do, steps that come again, and has them done
 * as a whole. What is called is given to it, call after call, and the end of each step.
 * A step that has come before in the same way waits, call by call, until it is whole, and
 * is then launched as one recording, which is made when it comes the second time. As soon
 * as a call is another, those that wait are run, and so is what follows. So nothing that
 * is launched is other than what was called, whoever calls. */
#ifndef GPU_TAPE_H
#define GPU_TAPE_H

#include <stddef.h>

/* A call is `size` bytes; the first `fixed` of them say whether two are the same. The
 * others are values that change from step to step, and that launch() is given anew. */
struct tape_ops {
    size_t size, fixed;
    void (*run)(void *arg, const void *call);
    /* A recording of n calls, which are not run by that; NULL: there can be none. */
    void *(*record)(void *arg, const void *calls, size_t n);
    void (*launch)(void *arg, void *recording, const void *calls, size_t n);
    void (*destroy)(void *arg, void *recording);
    void *arg;
};

struct tape;

struct tape *tape_open(const struct tape_ops *ops);
/* Runs what waits. NULL is fine. */
void tape_close(struct tape *t);

/* Runs a call, now or later. */
void tape_call(struct tape *t, const void *call);
/* A step is whole. */
void tape_end(struct tape *t);
/* Runs what waits. What comes next is the beginning of a step. */
void tape_flush(struct tape *t);
/* What recordings rely on has changed: no step is known any more, so that each is run
 * call by call before it is recorded anew. run() may call it. */
void tape_forget(struct tape *t);

#endif
