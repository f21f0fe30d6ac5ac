#include "sched/search.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define COUNTED_MAX 65536 /* points of a grid */

const char *const search_names[] = {
    [SEARCH_GRID] = "grid", [SEARCH_RANDOM] = "random", [SEARCH_SOBOL] = "sobol",
    [SEARCH_TPE] = "tpe",   [SEARCH_BOHB] = "bohb",     [SEARCH_CMAES] = "cmaes",
    [SEARCH_GP] = "gp",     [SEARCH_AUTO] = "auto",     NULL,
};

enum search_method search_best(const struct space *sp, int slots, bool gp)
{
    gp = gp && space_dims(sp) <= SEARCH_GP_DIMS && slots <= SEARCH_GP_SLOTS;
    return gp ? SEARCH_GP : SEARCH_TPE;
}

bool search_by_model(enum search_method method)
{
    return method == SEARCH_TPE || method == SEARCH_BOHB || method == SEARCH_CMAES ||
           method == SEARCH_GP;
}

bool search_of_several(enum search_method method)
{
    return !search_by_model(method) || method == SEARCH_TPE || method == SEARCH_BOHB;
}

int search_method_of(const char *name)
{
    for (int i = 0; search_names[i]; i++)
        if (strcmp(name, search_names[i]) == 0)
            return i;
    return -1;
}

/* Everything that the points of a draw depend on. */
struct source {
    const struct space *space;
    enum search_method method;
    uint64_t seed;
    uint32_t trial;
    int64_t next; /* sobol: the point of redraw 0 */
    int64_t grid; /* grid: the point of the product */
};

/* The middle of the cells of the grid's point; its last dimension is the fastest. */
static void set_grid(const struct space *sp, int64_t point, double u[])
{
    for (int d = space_dims(sp) - 1; d >= 0; d--) {
        const struct dim *dim = space_dim(sp, d);
        if (dim->kind != DIM_GRID)
            continue;
        u[d] = ((double)(point % dim->n) + 0.5) / (double)dim->n;
        point /= dim->n;
    }
}

int64_t search_grid_points(const struct space *sp)
{
    int64_t points = space_grid_points(sp), usable = 0;
    if (points < 0 || points > COUNTED_MAX)
        return points;
    double *u = mem_alloc((size_t)space_dims(sp) * sizeof(*u));
    struct value *values = mem_alloc((size_t)space_count(sp) * sizeof(*values));
    for (int64_t i = 0; i < points; i++) {
        set_grid(sp, i, u);
        usable += space_check_grid(sp, u, values, NULL) == 0;
    }
    free(u);
    free(values);
    return usable;
}

static void set_point(const struct source *s, uint32_t redraw, double u[])
{
    if (s->method == SEARCH_SOBOL) {
        for (int d = 0; d < space_dims(s->space); d++)
            u[d] = sobol_unit(s->seed, (uint32_t)d, (uint32_t)(s->next + redraw));
        return;
    }
    space_point(s->space, s->seed, s->trial, redraw, u);
    if (s->method == SEARCH_GRID)
        set_grid(s->space, s->grid, u);
}

static bool usable(const struct source *s, const struct draw *d, struct err *e)
{
    if (space_eval(s->space, d->u, d->values, e) != SPACE_OK)
        return false;
    if (s->method != SEARCH_GRID || !space_repeats(s->space, d->u, d->values))
        return true;
    err_set(e, ERR_RANGE, "the grid point repeats another");
    return false;
}

static int check_grid(const struct source *s, const struct draw *d, struct err *e)
{
    int64_t points = space_grid_points(s->space);
    if (s->grid < 0 || s->grid >= points)
        return err_set(e, ERR_RANGE, "the grid has no point %lld", (long long)s->grid);
    set_grid(s->space, s->grid, d->u);
    return space_check_grid(s->space, d->u, d->values, e);
}

static int check_sobol(const struct source *s, struct err *e)
{
    if (space_dims(s->space) > SOBOL_DIMS)
        return err_set(e, ERR_RANGE, "sobol has %d dimensions, and the space %d",
                       SOBOL_DIMS, space_dims(s->space));
    if (s->next < 0 || s->next > (int64_t)UINT32_MAX - SEARCH_REDRAWS)
        return err_set(e, ERR_RANGE, "the sobol sequence is used up");
    return 0;
}

int search_draw(const struct space *sp, enum search_method method, uint64_t seed,
                uint32_t trial, int64_t drawn, int64_t repeats, struct draw *d,
                struct err *e)
{
    struct source s = {.space = sp, .method = method, .seed = seed, .trial = trial};
    struct err why;
    int rc = 0;
    if (method == SEARCH_GRID) {
        s.grid = drawn / repeats;
        rc = check_grid(&s, d, e);
    } else if (method == SEARCH_SOBOL) {
        s.next = d->next;
        rc = check_sobol(&s, e);
    }
    if (rc != 0)
        return rc;
    for (uint32_t k = 0; k <= SEARCH_REDRAWS; k++) {
        set_point(&s, k, d->u);
        if (usable(&s, d, NULL)) {
            d->tries = k;
            d->next = method == SEARCH_SOBOL ? s.next + k + 1 : 0;
            return 0;
        }
    }
    usable(&s, d, &why);
    return err_set(e, ERR_RANGE, "none of %d draws satisfies the space; the last: %s",
                   SEARCH_REDRAWS + 1, why.text);
}
