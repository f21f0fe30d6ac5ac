/* All that a pass holds lies in one piece of memory. Each array has a time, from the
 * step that writes it to the last that reads it, and arrays whose times do not meet may
 * lie at the same place. Training and evaluation have a plan each, over the same memory:
 * they take turns. Sizes and places are per row, whatever the rows will be. */
#include "worker/train/pass.h"

#include "base/mem.h"

#include <stdlib.h>

/* Each array starts at a multiple of 64 bytes: a cache line, and what vector
 * instructions and libraries like best. */
#define ALIGN(bytes) (((bytes) + 63) / 64 * 64)

/* OpenBLAS counts in int, and cuDNN takes no larger tensors. */
#define SIZE_LIMIT ((size_t)1 << 31)

/* Evaluation may have so much (16 MiB) though training needs less: a batch of few rows
 * is slow. */
#define SMALL ((size_t)16 << 20)

struct array {
    size_t size, offset; /* bytes per row; size 0: there is none */
    size_t from, to;     /* steps; counted in plan_training() */
};

struct pass {
    struct model *model;
    struct pass_config config;
    size_t rows; /* in evaluation */
    size_t n;    /* layers */
    char *memory;
    struct array *kept;      /* outputs in training, [n] */
    struct array *gradients; /* with respect to them, [n] */
    struct array *spare;     /* for a gradient that is added to another, [n] */
    struct array *passing;   /* outputs in evaluation, [n] */
    bool *written;           /* whether a gradient has had its first part, [n] */
    size_t *saved;           /* where in memory a layer's `saved` lies, [n] */
    struct batch batch;      /* of forward */
};

/* Of n activations. */
static size_t bytes_of(const struct pass *p, size_t n)
{
    return ALIGN(n * p->model->device->width);
}

/* ---- the plan ---- */

static const struct layer *layer_at(const struct pass *p, size_t i)
{
    return &p->model->layers[p->config.first + i];
}

/* Where input k of layer i comes from, counted in the pass; LAYER_SAMPLES: the batch. */
static size_t source(const struct pass *p, size_t i, int k)
{
    size_t input = layer_at(p, i)->inputs[k];

    return input == LAYER_SAMPLES || input < p->config.first ? LAYER_SAMPLES
                                                             : input - p->config.first;
}

static void use(struct array *a, size_t step)
{
    if (step > a->to)
        a->to = step;
}

/* In step i layer i goes forward, in step n the loss is taken, and in step 2 n - i layer
 * i goes backward. */
static void plan_training(struct pass *p)
{
    struct array batch = {.from = 0};
    size_t n = p->n;

    for (size_t i = n; i-- > 0;) {
        const struct layer *l = layer_at(p, i);
        size_t back = 2 * n - i;
        p->kept[i].size = p->gradients[i].size = bytes_of(p, l->out);
        p->kept[i].from = i;
        use(&p->kept[i], l->backward_y ? back : i);
        if (i == n - 1) {
            use(&p->kept[i], n);
            p->gradients[i].from = n;
        }
        p->gradients[i].to = p->spare[i].from = p->spare[i].to = back;
        for (int k = 0; k < l->n_inputs; k++) {
            size_t from = source(p, i, k);
            struct array *gradient = from == LAYER_SAMPLES ? &batch : &p->gradients[from];
            if (from != LAYER_SAMPLES)
                use(&p->kept[from], l->backward_x ? back : i);
            if (gradient->from == 0)
                gradient->from = back;
            else
                p->spare[i].size += bytes_of(p, l->in);
        }
    }
}

static void plan_evaluation(struct pass *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct layer *l = layer_at(p, i);
        p->passing[i] = (struct array){.size = bytes_of(p, l->out), .from = i, .to = i};
        for (int k = 0; k < l->n_inputs; k++) {
            size_t from = source(p, i, k);
            if (from != LAYER_SAMPLES)
                use(&p->passing[from], i);
        }
    }
    use(&p->passing[p->n - 1], p->n);
}

static int larger_first(const void *a, const void *b)
{
    const struct array *x = *(struct array *const *)a, *y = *(struct array *const *)b;

    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x < y ? -1 : x > y;
}

/* Places an array into the first gap between the n that are placed, ordered by offset,
 * that it meets in time; puts it among them. Returns its end. */
static size_t place(struct array *a, struct array **placed, size_t n)
{
    size_t at = 0, i;

    for (i = 0; i < n; i++) {
        const struct array *b = placed[i];
        if (b->from > a->to || b->to < a->from)
            continue;
        if (b->offset >= at + a->size)
            break;
        if (b->offset + b->size > at)
            at = b->offset + b->size;
    }
    a->offset = at;
    for (i = n; i > 0 && placed[i - 1]->offset > at; i--)
        placed[i] = placed[i - 1];
    placed[i] = a;
    return at + a->size;
}

/* Places the arrays of several lists of n, the largest first, which leaves few gaps
 * (greedy by size: Pisarchyk and Lee 2020). Returns the bytes per row. */
static size_t place_all(struct array *const lists[], size_t n_lists, size_t n)
{
    struct array **order = mem_resize(NULL, 2 * n_lists * n, sizeof(struct array *));
    struct array **placed = order + n_lists * n;
    size_t total = 0;

    for (size_t i = 0; i < n_lists * n; i++)
        order[i] = &lists[i / n][i % n];
    qsort(order, n_lists * n, sizeof(*order), larger_first);
    for (size_t i = 0; i < n_lists * n && order[i]->size; i++) {
        size_t end = place(order[i], placed, i);
        total = end > total ? end : total;
    }
    free(order);
    return total;
}

/* How many rows no array of which reaches the limit. */
static size_t most_rows(const struct pass *p)
{
    size_t widest = 1;

    for (size_t i = 0; i < p->n; i++)
        if (layer_at(p, i)->out > widest)
            widest = layer_at(p, i)->out;
    return (SIZE_LIMIT - 1) / widest;
}

/* Returns the bytes of memory it takes. */
static size_t plan(struct pass *p)
{
    struct array *const training[] = {p->kept, p->gradients, p->spare};
    struct array *const evaluation[] = {p->passing};

    plan_training(p);
    plan_evaluation(p);
    size_t per_row = place_all(evaluation, 1, p->n);
    size_t total = p->config.rows * place_all(training, 3, p->n);
    size_t most = (total > SMALL ? total : SMALL) / per_row;
    if (most > most_rows(p))
        most = most_rows(p);
    p->rows = most < p->config.most_rows ? most : p->config.most_rows;
    if (p->rows < p->config.rows)
        p->rows = p->config.rows;
    total = total > p->rows * per_row ? total : p->rows * per_row;
    for (size_t i = 0; i < p->n; i++) {
        p->saved[i] = total;
        total += ALIGN(layer_at(p, i)->saved * sizeof(float));
    }
    return total;
}

/* ---- making ---- */

/* ERR_FULL, as if there were no memory for so many: fewer rows at a time go. */
static int check_sizes(const struct pass *p, struct err *e)
{
    if (p->config.rows <= most_rows(p))
        return 0;
    return err_set(e, ERR_FULL, "an array of %zu rows has 2^31 numbers or more",
                   p->config.rows);
}

struct pass *pass_create(struct model *m, const struct pass_config *config, struct err *e)
{
    struct pass *p = mem_alloc(sizeof(*p));
    size_t n = config->last - config->first;
    void *memory;

    p->model = m;
    p->config = *config;
    p->n = n;
    if (check_sizes(p, e) < 0) {
        pass_destroy(p);
        return NULL;
    }
    p->kept = mem_alloc(n * sizeof(*p->kept));
    p->gradients = mem_alloc(n * sizeof(*p->gradients));
    p->spare = mem_alloc(n * sizeof(*p->spare));
    p->passing = mem_alloc(n * sizeof(*p->passing));
    p->written = mem_alloc(n * sizeof(*p->written));
    p->saved = mem_alloc(n * sizeof(*p->saved));
    if (m->device->ops->allocate(m->device, plan(p), &memory, e) < 0) {
        pass_destroy(p);
        return NULL;
    }
    p->memory = memory;
    return p;
}

void pass_destroy(struct pass *p)
{
    if (!p)
        return;
    if (p->memory)
        p->model->device->ops->release(p->model->device, p->memory);
    free(p->kept);
    free(p->gradients);
    free(p->spare);
    free(p->passing);
    free(p->written);
    free(p->saved);
    free(p);
}

size_t pass_rows(const struct pass *p)
{
    return p->rows;
}

/* ---- running ---- */

static void *array_at(const struct pass *p, const struct array *a)
{
    size_t rows = p->batch.training ? p->config.rows : p->rows;

    return p->memory + a->offset * rows;
}

static struct layer_call call(const struct pass *p, size_t i)
{
    const struct array *outputs = p->batch.training ? p->kept : p->passing;
    const struct model *m = p->model;
    struct layer_call c = {
        .layer = layer_at(p, i),
        .device = m->device,
        .batch = &p->batch,
        .values = m->values,
        .y = array_at(p, &outputs[i]),
        .state = m->state,
        .saved = (float *)(void *)(p->memory + p->saved[i]),
    };

    for (int k = 0; k < c.layer->n_inputs; k++) {
        size_t from = source(p, i, k);
        c.x[k] = from == LAYER_SAMPLES ? p->batch.x : array_at(p, &outputs[from]);
    }
    return c;
}

const void *pass_forward(struct pass *p, const struct batch *b)
{
    struct layer_call c;

    p->batch = *b;
    for (size_t i = 0; i < p->n; i++) {
        c = call(p, i);
        c.layer->kind->forward(&c);
    }
    return c.y;
}

void *pass_upstream(struct pass *p)
{
    return array_at(p, &p->gradients[p->n - 1]);
}

/* Runs a layer backward; x is for the gradient with respect to the batch. What is not
 * the first part of a gradient goes aside and is added to what is there. */
static void backward(struct pass *p, size_t i, float *gradients, void *x, bool *x_written)
{
    struct layer_call c = call(p, i);
    char *spare = array_at(p, &p->spare[i]);
    void *to[LAYER_INPUTS] = {NULL};
    size_t n = p->batch.rows * c.layer->in;

    c.gradients = gradients;
    c.dy = array_at(p, &p->gradients[i]);
    for (int k = 0; k < c.layer->n_inputs; k++) {
        size_t from = source(p, i, k);
        bool *written = from == LAYER_SAMPLES ? x_written : &p->written[from];
        c.dx[k] = from == LAYER_SAMPLES ? x : array_at(p, &p->gradients[from]);
        if (c.dx[k] && *written) {
            to[k] = c.dx[k];
            c.dx[k] = spare;
            spare += bytes_of(p, c.layer->in) * p->config.rows;
        }
        *written = true;
    }
    c.layer->kind->backward(&c);
    for (int k = 0; k < c.layer->n_inputs; k++)
        if (to[k])
            c.device->ops->add(c.device, ACTIVATION_NONE, n, to[k], c.dx[k], to[k]);
}

void pass_backward(struct pass *p, float *gradients, void *dx, pass_done *done, void *arg)
{
    bool x_written = false;

    for (size_t i = 0; i < p->n; i++)
        p->written[i] = false;
    for (size_t i = p->n; i-- > 0;) {
        backward(p, i, gradients, dx, &x_written);
        if (done)
            done(arg, p->config.first + i);
    }
}
