#include "sched/hypervolume.h"

#include "base/mem.h"
#include "sched/queue.h"

#include <stdlib.h>

#define WORST 1.1 /* in each objective, where scores are from 0 to 1 */

static double box(const struct score *s)
{
    double volume = 1;

    for (int k = 0; k < OBJECTIVES_MAX; k++)
        volume *= WORST - s->v[k];
    return volume;
}

/* Is it as good as one of n in none but what that has? */
static bool covered(const struct score *s, const struct score by[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (score_compare(&by[i], s) == 0 || score_dominates(&by[i], s))
            return true;
    return false;
}

/* What a score adds to others: its box, but for what they have of it, which are the boxes
 * of their nearest corners in it. (While, Bradstreet, Barone, "A fast way of calculating
 * exact hypervolumes", IEEE Trans. Evol. Comput. 16(1), 2012.) */
static double added(const struct score *s, const struct score others[], size_t n)
{
    struct score *inside = mem_alloc(n * sizeof(inside[0]));
    double volume = box(s);
    size_t left = 0;

    for (size_t i = 0; i < n; i++) {
        struct score *corner = &inside[left];

        for (int k = 0; k < OBJECTIVES_MAX; k++)
            corner->v[k] = fmax(s->v[k], others[i].v[k]);
        left += !covered(corner, inside, left);
    }
    for (size_t i = 0; i < left; i++)
        volume -= added(&inside[i], &inside[i + 1], left - i - 1);
    free(inside);
    return volume;
}

/* From 0, the least, to 1. Halves, since the whole could overflow. */
static void scale(const struct score scores[], size_t n, struct score scaled[])
{
    for (int k = 0; k < OBJECTIVES_MAX; k++) {
        double least = scores[0].v[k] / 2, most = least;

        for (size_t i = 1; i < n; i++) {
            least = fmin(least, scores[i].v[k] / 2);
            most = fmax(most, scores[i].v[k] / 2);
        }
        for (size_t i = 0; i < n; i++)
            scaled[i].v[k] =
                most > least ? (scores[i].v[k] / 2 - least) / (most - least) : 0;
    }
}

/* What a score adds only gets less as others are chosen: who comes first by what it added
 * some time ago, and adds that still, is the next one. */
void hypervolume_choose(const struct score scores[], size_t n, size_t want,
                        uint32_t chosen[])
{
    struct score *scaled = mem_alloc(n * sizeof(scaled[0]));
    struct score *taken = mem_alloc(want * sizeof(taken[0]));
    size_t *since = mem_alloc(n * sizeof(since[0])); /* so many were chosen then */
    struct queue adding = {0};                       /* by -volume, so most first */

    if (n > 0)
        scale(scores, n, scaled);
    for (uint32_t i = 0; i < n; i++)
        queue_push(&adding, (struct queued){-box(&scaled[i]), i, 0});
    for (size_t done = 0; done < want;) {
        struct queued best = adding.heap.v[0];

        queue_pop(&adding);
        if (since[best.order] < done) {
            best.value = -added(&scaled[best.order], taken, done);
            since[best.order] = done;
            queue_push(&adding, best);
            continue;
        }
        taken[done] = scaled[best.order];
        chosen[done++] = best.order;
    }
    free(scaled);
    free(taken);
    free(since);
    queue_free(&adding);
}
