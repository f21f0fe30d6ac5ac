#include "worker/train/stages.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* Places where the model can be cut, its two ends among them, and the work before each.
 */
struct cuts {
    size_t n;
    size_t *layer;
    double *before;
};

/* Multiplications of a row, forward: of each weight one for each place of the output.
 * What has no weights moves numbers about. */
static double work(const struct layer *l)
{
    double places = (double)(l->out_image.h * l->out_image.w), n = (double)l->out;

    if (l->n_parameters)
        n += (double)l->parameters[0].count * places;
    return n;
}

static struct cuts find_cuts(const struct model *m)
{
    size_t room = m->n_layers + 1;
    struct cuts c = {.layer = mem_resize(NULL, room, sizeof(*c.layer)),
                     .before = mem_resize(NULL, room, sizeof(*c.before))};
    double before = 0;

    for (size_t i = 0; i <= m->n_layers; i++) {
        if (model_can_cut(m, i)) {
            c.layer[c.n] = i;
            c.before[c.n++] = before;
        }
        if (i < m->n_layers)
            before += work(&m->layers[i]);
    }
    return c;
}

/* least[k][j] is what the fullest of k + 1 stages has to do that end at cut j, if they
 * are cut best, and last[k][j] where the last of them begins. */
static void choose(const struct cuts *c, size_t n, size_t chosen[])
{
    double *least = mem_resize(NULL, n * c->n, sizeof(*least));
    size_t *last = mem_resize(NULL, n * c->n, sizeof(*last));

    for (size_t k = 0; k < n; k++)
        for (size_t j = 0; j < c->n; j++) {
            double *best = &least[k * c->n + j];
            last[k * c->n + j] = 0;
            *best = k ? INFINITY : c->before[j];
            for (size_t i = k; k && i < j; i++) {
                double fullest =
                    fmax(least[(k - 1) * c->n + i], c->before[j] - c->before[i]);
                if (fullest < *best) {
                    *best = fullest;
                    last[k * c->n + j] = i;
                }
            }
        }
    chosen[n] = c->n - 1;
    for (size_t k = n; k-- > 0;)
        chosen[k] = last[k * c->n + chosen[k + 1]];
    free(least);
    free(last);
}

/* Where the parameters, or the state, of a layer and those after it begin. */
static size_t values_from(const struct model *m, size_t layer)
{
    for (; layer < m->n_layers; layer++)
        if (m->layers[layer].n_parameters)
            return m->layers[layer].parameters[0].offset;
    return m->n;
}

static size_t state_from(const struct model *m, size_t layer)
{
    for (; layer < m->n_layers; layer++)
        if (m->layers[layer].n_states)
            return m->layers[layer].states[0].offset;
    return m->n_state;
}

int stages_cut(const struct model *m, size_t n, struct stage stages[], struct err *e)
{
    struct cuts c = find_cuts(m);
    size_t *chosen = mem_resize(NULL, n + 1, sizeof(*chosen));
    int rc = 0;

    if (n > c.n - 1)
        rc = err_set(e, ERR_INVAL,
                     "this model can be cut into %zu stages at most, and there are %zu "
                     "ranks: start fewer",
                     c.n - 1, n);
    else
        choose(&c, n, chosen);
    for (size_t k = 0; rc == 0 && k < n; k++) {
        size_t first = c.layer[chosen[k]], last = c.layer[chosen[k + 1]];
        stages[k] = (struct stage){first,
                                   last,
                                   values_from(m, first),
                                   values_from(m, last),
                                   state_from(m, first),
                                   state_from(m, last)};
    }
    free(chosen);
    free(c.layer);
    free(c.before);
    return rc;
}
