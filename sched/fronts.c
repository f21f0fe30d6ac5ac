#include "sched/fronts.h"

#include "base/mem.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>

struct record {
    struct score score;
    uint32_t order, front;
    int32_t trial; /* that is paused, -1: none */
    bool passed;
};

struct front {
    VEC(uint32_t) records; /* numbers of them; by crowding distance when `in_order` */
    bool in_order;
    uint32_t competing, paused;
};

struct fronts {
    VEC(struct record) records; /* in the order they came */
    VEC(struct front) fronts;
    VEC(uint32_t)
    falling, fallen; /* on their way to the next front, while one is put in */
    uint32_t competing;
};

struct fronts *fronts_new(void)
{
    return mem_alloc(sizeof(struct fronts));
}

void fronts_free(struct fronts *f)
{
    if (!f)
        return;
    for (size_t k = 0; k < f->fronts.n; k++)
        vec_free(&f->fronts.v[k].records);
    vec_free(&f->fronts);
    vec_free(&f->records);
    vec_free(&f->falling);
    vec_free(&f->fallen);
    free(f);
}

uint32_t fronts_count(const struct fronts *f)
{
    return (uint32_t)f->records.n;
}

uint32_t fronts_competing(const struct fronts *f)
{
    return f->competing;
}

/* ---- into its front ---- */

/* Does one of the front's newest `look` dominate it? The newest are tried first: in a
 * sorted sequence these are the nearest. */
static bool dominated_in(const struct fronts *f, const struct front *front,
                         const struct score *score, size_t look)
{
    size_t n = front->records.n, end = n > look ? n - look : 0;

    for (size_t i = n; i-- > end;)
        if (score_dominates(&f->records.v[front->records.v[i]].score, score))
            return true;
    return false;
}

/* The first front in which none of the newest `look` dominates it; each front has
 * somebody who dominates one of the next. */
static size_t front_of(const struct fronts *f, const struct score *score, size_t look)
{
    size_t low = 0, high = f->fronts.n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (dominated_in(f, &f->fronts.v[middle], score, look))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t add(struct fronts *f, const struct score *score, uint32_t order)
{
    struct record r = {.score = *score, .order = order, .trial = -1};

    vec_push(&f->records, r);
    f->competing++;
    return (uint32_t)f->records.n - 1;
}

/* Front k, a new one if need be. */
static struct front *front_at(struct fronts *f, size_t k)
{
    if (k == f->fronts.n)
        vec_push(&f->fronts, (struct front){.in_order = false});
    return &f->fronts.v[k];
}

static void join(struct fronts *f, size_t k, uint32_t record)
{
    struct front *front = front_at(f, k);
    struct record *r = &f->records.v[record];

    r->front = (uint32_t)k;
    vec_push(&front->records, record);
    front->competing += !r->passed;
    front->paused += r->trial >= 0;
}

/* Those of the front whom one of the falling dominates leave it, for f->fallen. */
static void part(struct fronts *f, struct front *front)
{
    size_t stay = 0;

    f->fallen.n = 0;
    for (size_t i = 0; i < front->records.n; i++) {
        uint32_t record = front->records.v[i];
        const struct record *r = &f->records.v[record];
        bool falls = false;

        for (size_t k = 0; k < f->falling.n && !falls; k++)
            falls = score_dominates(&f->records.v[f->falling.v[k]].score, &r->score);
        if (!falls) {
            front->records.v[stay++] = record;
            continue;
        }
        front->competing -= !r->passed;
        front->paused -= r->trial >= 0;
        vec_push(&f->fallen, record);
    }
    front->records.n = stay;
    front->in_order = false;
}

void fronts_insert(struct fronts *f, const struct score *score, uint32_t order)
{
    f->falling.n = 0;
    vec_push(&f->falling, add(f, score, order));
    for (size_t k = front_of(f, score, SIZE_MAX); f->falling.n > 0; k++) {
        part(f, front_at(f, k));
        for (size_t i = 0; i < f->falling.n; i++)
            join(f, k, f->falling.v[i]);
        f->falling.n = 0;
        for (size_t i = 0; i < f->fallen.n; i++)
            vec_push(&f->falling, f->fallen.v[i]);
    }
}

/* ---- the order within a front ---- */

struct sorted {
    double value;
    uint32_t order, record;
    double distance;
};

static int by_value(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;

    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Adds what an objective adds to the distances. Halves, since the whole could overflow.
 */
static void add_distances(const struct fronts *f, int objective, struct sorted s[],
                          size_t n)
{
    double least = INFINITY, most = -INFINITY, extent;

    for (size_t i = 0; i < n; i++) {
        s[i].value = f->records.v[s[i].record].score.v[objective] / 2;
        least = fmin(least, s[i].value);
        most = fmax(most, s[i].value);
    }
    extent = most - least;
    if (!(extent > 0)) /* so it is in those that the sweep does not have */
        return;
    qsort(s, n, sizeof(s[0]), by_value);
    for (size_t i = 1; i + 1 < n; i++)
        s[i].distance += (s[i + 1].value - s[i - 1].value) / extent;
    s[0].distance = s[n - 1].distance = INFINITY;
}

static void put_in_order(struct fronts *f, struct front *front)
{
    size_t n = front->records.n;
    struct sorted *s;

    if (front->in_order)
        return;
    front->in_order = true;
    s = mem_alloc(n * sizeof(s[0]));
    for (size_t i = 0; i < n; i++) {
        s[i].record = front->records.v[i];
        s[i].order = f->records.v[s[i].record].order;
    }
    for (int objective = 0; objective < OBJECTIVES_MAX; objective++)
        add_distances(f, objective, s, n);
    for (size_t i = 0; i < n; i++)
        s[i].value = -s[i].distance;
    qsort(s, n, sizeof(s[0]), by_value);
    for (size_t i = 0; i < n; i++)
        front->records.v[i] = s[i].record;
    free(s);
}

/* ---- one of them ---- */

static uint32_t find(const struct fronts *f, uint32_t order)
{
    size_t low = 0, high = f->records.n;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (f->records.v[middle].order <= order)
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}

uint32_t fronts_place(struct fronts *f, uint32_t order)
{
    uint32_t record = find(f, order), front = f->records.v[record].front, place = 0;

    put_in_order(f, &f->fronts.v[front]);
    for (uint32_t k = 0; k < front; k++)
        place += (uint32_t)f->fronts.v[k].records.n;
    for (size_t i = 0; f->fronts.v[front].records.v[i] != record; i++)
        place++;
    return place;
}

void fronts_pass_over(struct fronts *f, uint32_t order)
{
    struct record *r = &f->records.v[find(f, order)];

    f->competing -= !r->passed;
    f->fronts.v[r->front].competing -= !r->passed;
    r->passed = true;
}

uint32_t fronts_best(struct fronts *f, uint32_t before)
{
    struct front *front = f->fronts.v;
    uint32_t place = 0;

    for (; before >= front->competing; front++) {
        before -= front->competing;
        place += (uint32_t)front->records.n;
    }
    put_in_order(f, front);
    for (size_t i = 0;; i++, place++)
        if (!f->records.v[front->records.v[i]].passed && before-- == 0)
            return place;
}

static void set_paused(struct fronts *f, uint32_t order, int32_t trial)
{
    struct record *r = &f->records.v[find(f, order)];

    f->fronts.v[r->front].paused += (trial >= 0) - (r->trial >= 0);
    r->trial = trial;
}

void fronts_pause(struct fronts *f, uint32_t order, int32_t trial)
{
    set_paused(f, order, trial);
}

void fronts_resume(struct fronts *f, uint32_t order)
{
    set_paused(f, order, -1);
}

bool fronts_paused(struct fronts *f, uint32_t *order, int32_t *trial)
{
    for (size_t k = 0; k < f->fronts.n; k++) {
        struct front *front = &f->fronts.v[k];

        if (front->paused == 0)
            continue;
        put_in_order(f, front);
        for (size_t i = 0; i < front->records.n; i++) {
            const struct record *r = &f->records.v[front->records.v[i]];

            if (r->trial < 0)
                continue;
            *order = r->order;
            *trial = r->trial;
            return true;
        }
    }
    return false;
}

/* ---- all of them ---- */

struct listed {
    struct score score;
    uint32_t index;
};

static int by_score(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    int order = score_compare(&x->score, &y->score);

    return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

/* Do they differ in the first two objectives only? */
static bool in_two(const struct score scores[], size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (int k = 2; k < OBJECTIVES_MAX; k++)
            if (scores[i].v[k] != scores[0].v[k])
                return false;
    return true;
}

/* Put in from the least first objective on, none dominates one that was before it, so
 * that none falls. Of two objectives the newest of a front is the best in the second one:
 * if any there dominates the next, that does. (Zhang, Tian, Cheng, Jin, "An efficient
 * approach to nondominated sorting for evolutionary multiobjective optimization", IEEE
 * Trans. Evol. Comput. 19(2), 2015.) */
void fronts_sort(const struct score scores[], size_t n, uint32_t place[],
                 uint32_t front[])
{
    struct fronts *f = fronts_new();
    struct listed *list = mem_alloc(n * sizeof(list[0]));
    size_t look = in_two(scores, n) ? 1 : SIZE_MAX;
    uint32_t next = 0;

    for (size_t i = 0; i < n; i++)
        list[i] = (struct listed){scores[i], (uint32_t)i};
    qsort(list, n, sizeof(list[0]), by_score);
    for (size_t i = 0; i < n; i++)
        join(f, front_of(f, &list[i].score, look), add(f, &list[i].score, list[i].index));
    for (uint32_t k = 0; place && k < f->fronts.n; k++) {
        put_in_order(f, &f->fronts.v[k]);
        for (size_t i = 0; i < f->fronts.v[k].records.n; i++)
            place[f->records.v[f->fronts.v[k].records.v[i]].order] = next++;
    }
    for (size_t i = 0; front && i < n; i++)
        front[f->records.v[i].order] = f->records.v[i].front + 1;
    free(list);
    fronts_free(f);
}
