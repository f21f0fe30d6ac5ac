#include "gpu/tape.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Steps that are known: with samples in two places and batches of two sizes there are
 * four. The one that was not seen for longest makes room. */
#define STEPS 16

/* Calls of a step: of fewer a recording is not worth it, and what has more, as a whole
 * validation has, is no step. */
enum { LEAST = 8, MOST = 8192 };

struct step {
    char *calls; /* [n] */
    size_t n;    /* 0: there is none */
    size_t same; /* so many of them are those of the step that is under way */
    void *recording;
    bool hopeless; /* it cannot be recorded */
    uint64_t seen; /* when it was last */
};

struct tape {
    struct tape_ops ops;
    struct step steps[STEPS];
    uint64_t time;
    char *calls; /* of the step that is under way [n], as far as there is room for them */
    size_t n, room;
    bool waits; /* none of them was run: a known step begins with them */
};

static char *call_at(const struct tape *t, char *calls, size_t i)
{
    return calls + i * t->ops.size;
}

struct tape *tape_open(const struct tape_ops *ops)
{
    struct tape *t = mem_alloc(sizeof(*t));

    t->ops = *ops;
    t->waits = true;
    return t;
}

void tape_close(struct tape *t)
{
    if (!t)
        return;
    tape_flush(t);
    tape_forget(t);
    free(t->calls);
    free(t);
}

static void begin(struct tape *t)
{
    t->n = 0;
    t->waits = true;
    for (size_t i = 0; i < STEPS; i++)
        t->steps[i].same = 0;
}

static void run_all(struct tape *t)
{
    for (size_t i = 0; t->waits && i < t->n; i++)
        t->ops.run(t->ops.arg, call_at(t, t->calls, i));
    t->waits = false;
}

static void note(struct tape *t, const void *call)
{
    if (t->n == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->calls = mem_resize(t->calls, t->room, t->ops.size);
    }
    memcpy(call_at(t, t->calls, t->n++), call, t->ops.size);
}

/* Whether a known step, which can be launched, begins with the calls so far. */
static bool is_known(struct tape *t)
{
    const char *last = call_at(t, t->calls, t->n - 1);
    bool known = false;

    for (size_t i = 0; i < STEPS; i++) {
        struct step *s = &t->steps[i];
        if (s->same + 1 != t->n || s->n < t->n ||
            memcmp(call_at(t, s->calls, s->same), last, t->ops.fixed) != 0)
            continue;
        s->same++;
        known |= !s->hopeless;
    }
    return known;
}

void tape_call(struct tape *t, const void *call)
{
    bool known = false; /* beyond MOST none is */

    if (t->n < MOST) {
        note(t, call);
        known = is_known(t);
    }
    if (t->waits && known)
        return;
    if (t->waits)
        run_all(t);
    else
        t->ops.run(t->ops.arg, call);
}

static void clear(struct tape *t, struct step *s)
{
    if (s->recording)
        t->ops.destroy(t->ops.arg, s->recording);
    free(s->calls);
    *s = (struct step){.n = 0};
}

/* The known step that this one is; else a new one. */
static struct step *find(struct tape *t)
{
    struct step *oldest = &t->steps[0];

    for (size_t i = 0; i < STEPS; i++) {
        struct step *s = &t->steps[i];
        if (s->n == t->n && s->same == t->n)
            return s;
        if (s->seen < oldest->seen)
            oldest = s;
    }
    clear(t, oldest);
    *oldest = (struct step){.calls = mem_dup(t->calls, t->n * t->ops.size), .n = t->n};
    return oldest;
}

/* By its recording, if it has one now. */
static bool launch(struct tape *t, struct step *s)
{
    if (!s->recording)
        s->recording = t->ops.record(t->ops.arg, t->calls, t->n);
    s->hopeless = !s->recording;
    if (s->recording)
        t->ops.launch(t->ops.arg, s->recording, t->calls, t->n);
    return s->recording != NULL;
}

void tape_end(struct tape *t)
{
    struct step *s = t->n >= LEAST && t->n < MOST ? find(t) : NULL;

    if (s)
        s->seen = ++t->time;
    if (!s || s->same < t->n || !t->waits || !launch(t, s))
        run_all(t);
    begin(t);
}

void tape_flush(struct tape *t)
{
    run_all(t);
    begin(t);
}

void tape_forget(struct tape *t)
{
    for (size_t i = 0; i < STEPS; i++)
        clear(t, &t->steps[i]);
}
