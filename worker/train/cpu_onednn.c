/* Convolution by oneDNN. Making one of its primitives takes longer than running it, so
 * they are kept: a training needs one for each layer, direction and number of rows. */
#include "worker/train/cpu_private.h"

#include "base/mem.h"

#include <oneapi/dnnl/dnnl.h>

#include <stdlib.h>
#include <string.h>

enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHT };
enum array { X, WEIGHT, BIAS, Y, ARRAYS };

struct primitive {
    enum direction direction;
    bool biased;
    struct device_slide slide;
    dnnl_primitive_t run;
    dnnl_memory_t memory[ARRAYS]; /* as `run` has them; all but weights as we have them */
    dnnl_memory_t ours;           /* weights as we have them, unless that is the same */
    dnnl_primitive_t reorder;     /* between the two */
};

struct convolver {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct primitive *primitives;
    size_t n;
};

/* What the arrays are in a direction, by oneDNN's names. */
static const struct names {
    int argument[ARRAYS];
    dnnl_query_t weight;
    enum array result;
} names[] = {
    [FORWARD] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
                 dnnl_query_weights_md,
                 Y},
    [BACKWARD_DATA] = {{DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS,
                        DNNL_ARG_DIFF_DST},
                       dnnl_query_weights_md,
                       X},
    [BACKWARD_WEIGHT] = {{DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS,
                          DNNL_ARG_DIFF_DST},
                         dnnl_query_diff_weights_md,
                         WEIGHT},
};

static void say(struct cpu *cpu, dnnl_status_t status)
{
    if (status != dnnl_success && !cpu->failure.code)
        err_set(&cpu->failure, status == dnnl_out_of_memory ? ERR_FULL : ERR_UNSUPPORTED,
                "oneDNN cannot convolve (status %d)", (int)status);
}

/* ---- making ---- */

/* The arrays' shapes; weights in the order that oneDNN likes best. */
struct shapes {
    dnnl_memory_desc_t of[ARRAYS], weight;
    dnnl_dims_t stride, pad;
};

static dnnl_status_t shapes_of(const struct device_slide *s, struct shapes *shapes)
{
    dnnl_dim_t n = (dnnl_dim_t)s->rows, size = (dnnl_dim_t)s->window.size;
    dnnl_dim_t in = (dnnl_dim_t)s->in.c, out = (dnnl_dim_t)s->out.c;
    dnnl_dims_t x = {n, in, (dnnl_dim_t)s->in.h, (dnnl_dim_t)s->in.w};
    dnnl_dims_t y = {n, out, (dnnl_dim_t)s->out.h, (dnnl_dim_t)s->out.w};
    dnnl_dims_t weight = {out, in, size, size}, bias = {out};
    dnnl_memory_desc_t *of = shapes->of;
    dnnl_status_t rc;

    for (int i = 0; i < 2; i++) {
        shapes->stride[i] = (dnnl_dim_t)s->window.stride;
        shapes->pad[i] = (dnnl_dim_t)s->window.pad;
    }
    rc = dnnl_memory_desc_init_by_tag(&of[X], 4, x, dnnl_f32, dnnl_nhwc);
    if (rc == dnnl_success)
        rc = dnnl_memory_desc_init_by_tag(&of[Y], 4, y, dnnl_f32, dnnl_nhwc);
    if (rc == dnnl_success)
        rc = dnnl_memory_desc_init_by_tag(&of[BIAS], 1, bias, dnnl_f32, dnnl_x);
    if (rc == dnnl_success)
        rc = dnnl_memory_desc_init_by_tag(&of[WEIGHT], 4, weight, dnnl_f32,
                                          dnnl_format_tag_any);
    if (rc == dnnl_success)
        rc =
            dnnl_memory_desc_init_by_tag(&shapes->weight, 4, weight, dnnl_f32, dnnl_ohwi);
    return rc;
}

static dnnl_status_t describe(struct convolver *c, const struct primitive *p,
                              enum direction direction, struct shapes *s,
                              dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *pd)
{
    const dnnl_memory_desc_t *of = s->of, *bias = p->biased ? &of[BIAS] : NULL;
    dnnl_convolution_desc_t d;
    dnnl_status_t rc;

    if (direction == FORWARD)
        rc = dnnl_convolution_forward_desc_init(
            &d, dnnl_forward_training, dnnl_convolution_direct, &of[X], &of[WEIGHT], bias,
            &of[Y], s->stride, s->pad, s->pad);
    else if (direction == BACKWARD_DATA)
        rc = dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &of[X],
                                                      &of[WEIGHT], &of[Y], s->stride,
                                                      s->pad, s->pad);
    else
        rc = dnnl_convolution_backward_weights_desc_init(
            &d, dnnl_convolution_direct, &of[X], &of[WEIGHT], bias, &of[Y], s->stride,
            s->pad, s->pad);
    if (rc != dnnl_success)
        return rc;
    return dnnl_primitive_desc_create(pd, &d, NULL, c->engine, forward);
}

/* The weights' two orders, and the way from the one to the other. */
static dnnl_status_t make_weight(struct convolver *c, struct primitive *p,
                                 const struct shapes *s, const_dnnl_primitive_desc_t pd)
{
    const struct names *n = &names[p->direction];
    const dnnl_memory_desc_t *theirs = dnnl_primitive_desc_query_md(pd, n->weight, 0);
    bool same = dnnl_memory_desc_equal(theirs, &s->weight);
    bool result = n->result == WEIGHT;
    dnnl_primitive_desc_t reorder;
    dnnl_status_t rc;

    rc = dnnl_memory_create(&p->memory[WEIGHT], theirs, c->engine,
                            same ? DNNL_MEMORY_NONE : DNNL_MEMORY_ALLOCATE);
    if (rc != dnnl_success || same)
        return rc;
    rc = dnnl_memory_create(&p->ours, &s->weight, c->engine, DNNL_MEMORY_NONE);
    if (rc == dnnl_success)
        rc = dnnl_reorder_primitive_desc_create(&reorder, result ? theirs : &s->weight,
                                                c->engine, result ? &s->weight : theirs,
                                                c->engine, NULL);
    if (rc != dnnl_success)
        return rc;
    rc = dnnl_primitive_create(&p->reorder, reorder);
    dnnl_primitive_desc_destroy(reorder);
    return rc;
}

static dnnl_status_t make_arrays(struct convolver *c, struct primitive *p,
                                 const struct shapes *s, const_dnnl_primitive_desc_t pd)
{
    dnnl_status_t rc = make_weight(c, p, s, pd);

    for (int i = 0; i < ARRAYS && rc == dnnl_success; i++)
        if (i != WEIGHT && (i != BIAS || p->biased))
            rc =
                dnnl_memory_create(&p->memory[i], &s->of[i], c->engine, DNNL_MEMORY_NONE);
    return rc;
}

static dnnl_status_t make(struct convolver *c, struct primitive *p)
{
    dnnl_primitive_desc_t forward = NULL, pd = NULL;
    struct shapes s;
    dnnl_status_t rc = shapes_of(&p->slide, &s);

    if (rc == dnnl_success)
        rc = describe(c, p, FORWARD, &s, NULL, &forward);
    if (rc == dnnl_success)
        rc = describe(c, p, p->direction, &s, forward, &pd);
    if (rc == dnnl_success)
        rc = dnnl_primitive_create(&p->run, pd);
    if (rc == dnnl_success)
        rc = make_arrays(c, p, &s, pd);
    dnnl_primitive_desc_destroy(forward);
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

static void primitive_free(struct primitive *p)
{
    dnnl_primitive_destroy(p->run);
    dnnl_primitive_destroy(p->reorder);
    dnnl_memory_destroy(p->ours);
    for (int i = 0; i < ARRAYS; i++)
        dnnl_memory_destroy(p->memory[i]);
}

static bool same_slide(const struct device_slide *a, const struct device_slide *b)
{
    return memcmp(a, b, sizeof(*a)) == 0; /* all of size_t: there are no gaps */
}

static struct primitive *find(struct cpu *cpu, enum direction direction, bool biased,
                              const struct device_slide *s)
{
    struct convolver *c = cpu->convolver;
    struct primitive made = {.direction = direction, .biased = biased, .slide = *s};

    for (size_t i = 0; i < c->n; i++) {
        struct primitive *p = &c->primitives[i];
        if (p->direction == direction && p->biased == biased && same_slide(&p->slide, s))
            return p;
    }
    dnnl_status_t rc = make(c, &made);
    if (rc != dnnl_success) {
        say(cpu, rc);
        primitive_free(&made);
        return NULL;
    }
    c->primitives = mem_resize(c->primitives, c->n + 1, sizeof(made));
    c->primitives[c->n] = made;
    return &c->primitives[c->n++];
}

/* ---- running ---- */

static dnnl_status_t reorder(struct convolver *c, struct primitive *p)
{
    bool result = names[p->direction].result == WEIGHT;
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_FROM, result ? p->memory[WEIGHT] : p->ours},
        {DNNL_ARG_TO, result ? p->ours : p->memory[WEIGHT]},
    };

    return dnnl_primitive_execute(p->reorder, c->stream, 2, arguments);
}

static void run(struct cpu *cpu, enum direction direction, const struct device_slide *s,
                const float *const arrays[ARRAYS])
{
    struct convolver *c = cpu->convolver;
    dnnl_exec_arg_t arguments[ARRAYS];
    dnnl_status_t rc = dnnl_success;
    int n = 0;

    cpu_threads_use(cpu);
    struct primitive *p = find(cpu, direction, arrays[BIAS], s);
    if (!p)
        return;
    for (int i = 0; i < ARRAYS; i++) {
        dnnl_memory_t memory = i == WEIGHT && p->ours ? p->ours : p->memory[i];
        if (!arrays[i])
            continue;
        if (rc == dnnl_success)
            rc = dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)arrays[i]);
        arguments[n++] = (dnnl_exec_arg_t){names[direction].argument[i], p->memory[i]};
    }
    if (rc == dnnl_success && p->reorder && direction != BACKWARD_WEIGHT)
        rc = reorder(c, p);
    if (rc == dnnl_success)
        rc = dnnl_primitive_execute(p->run, c->stream, n, arguments);
    if (rc == dnnl_success && p->reorder && direction == BACKWARD_WEIGHT)
        rc = reorder(c, p);
    if (rc == dnnl_success)
        rc = dnnl_stream_wait(c->stream);
    say(cpu, rc);
}

/* Not left to oneDNN, which would make a NaN zero. */
WIDE static void relu(size_t n, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] < 0 ? 0 : y[i];
}

static void relu_piece(void *arg, size_t piece, size_t from, size_t to)
{
    (void)piece;
    relu(to - from, (float *)arg + from);
}

void cpu_conv(struct device *d, const struct device_slide *s, const float *x,
              const float *weight, const float *bias, enum device_activation activation,
              float *y)
{
    run((struct cpu *)d, FORWARD, s, (const float *const[]){x, weight, bias, y});
    if (bias && activation == ACTIVATION_RELU)
        cpu_parallel((struct cpu *)d, s->rows * image_size(s->out), 1, relu_piece, y);
}

void cpu_conv_backward_data(struct device *d, const struct device_slide *s,
                            const float *weight, const float *dy, float *dx)
{
    run((struct cpu *)d, BACKWARD_DATA, s, (const float *const[]){dx, weight, NULL, dy});
}

void cpu_conv_backward_weight(struct device *d, const struct device_slide *s,
                              const float *x, const float *dy, float *dweight,
                              float *dbias)
{
    run((struct cpu *)d, BACKWARD_WEIGHT, s,
        (const float *const[]){x, dweight, dbias, dy});
}

/* ---- beginning and end ---- */

void cpu_conv_open(struct cpu *cpu)
{
    struct convolver *c = mem_alloc(sizeof(*c));

    cpu->convolver = c;
    say(cpu, dnnl_engine_create(&c->engine, dnnl_cpu, 0));
    if (!cpu->failure.code)
        say(cpu, dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags));
}

void cpu_conv_close(struct cpu *cpu)
{
    struct convolver *c = cpu->convolver;

    for (size_t i = 0; i < c->n; i++)
        primitive_free(&c->primitives[i]);
    dnnl_stream_destroy(c->stream);
    dnnl_engine_destroy(c->engine);
    free(c->primitives);
    free(c);
}

const char *cpu_conv_library(void)
{
    return ", oneDNN";
}
