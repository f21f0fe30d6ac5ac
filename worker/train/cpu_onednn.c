/* Convolutions and products by oneDNN. Making one of its primitives takes longer than
 * running it, so they are kept: a training needs one for each layer, direction and number
 * of rows.
 *
 * Where oneDNN wants an array in another order than ours, or as bf16, it is reordered
 * into the device's space first, or from there at the end. */
#include "worker/train/cpu_private.h"

#include "base/mem.h"

#include <oneapi/dnnl/dnnl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum operation { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHT, PRODUCT };
enum array { X, WEIGHT, BIAS, Y, ARRAYS }; /* of a product: a, b, none, c */

/* What tells one primitive from another; what an operation has not is 0. */
struct key {
    struct device_slide slide;
    size_t m, n, k;
    size_t a_transposed, b_transposed, biased; /* size_t: there are no gaps */
    size_t operation;
};

struct primitive {
    struct key key;
    dnnl_primitive_t run;
    dnnl_memory_t theirs[ARRAYS], ours[ARRAYS];
    dnnl_primitive_t reorder[ARRAYS]; /* between the two; NULL: they are the same */
    size_t place[ARRAYS];             /* of theirs in the space, if it is reordered */
    size_t space;                     /* bytes of all of them */
};

/* oneDNN's plain product is fast on x86 alone: elsewhere OpenBLAS's is. */
#ifdef __x86_64__
#define FAST_PRODUCT 1
#else
#define FAST_PRODUCT 0
#endif

struct convolver {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct primitive *primitives;
    size_t n;
};

/* What the arrays are in an operation, by oneDNN's names. */
static const struct names {
    int argument[ARRAYS];
    enum array result;
} names[] = {
    [FORWARD] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST}, Y},
    [BACKWARD_DATA] = {{DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS,
                        DNNL_ARG_DIFF_DST},
                       X},
    [BACKWARD_WEIGHT] = {{DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS,
                          DNNL_ARG_DIFF_DST},
                         WEIGHT},
    [PRODUCT] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST}, Y},
};

static void say(struct cpu *cpu, dnnl_status_t status)
{
    if (status != dnnl_success && !cpu->failure.code)
        err_set(&cpu->failure, status == dnnl_out_of_memory ? ERR_FULL : ERR_UNSUPPORTED,
                "oneDNN fails (status %d)", (int)status);
}

/* ---- the arrays' shapes ---- */

/* As we have them, and as oneDNN may have them. */
struct shapes {
    dnnl_memory_desc_t ours[ARRAYS], theirs[ARRAYS];
};

static dnnl_status_t shape(struct shapes *s, enum array a, int ndims,
                           const dnnl_dims_t dims, dnnl_format_tag_t ours,
                           dnnl_format_tag_t theirs, dnnl_data_type_t type)
{
    dnnl_status_t rc =
        dnnl_memory_desc_init_by_tag(&s->ours[a], ndims, dims, dnnl_f32, ours);

    return rc != dnnl_success
               ? rc
               : dnnl_memory_desc_init_by_tag(&s->theirs[a], ndims, dims, type, theirs);
}

/* Inputs are of the device's precision; sums, and hence results, always of fp32. */
static dnnl_data_type_t type_of(const struct cpu *cpu, enum operation o, enum array a)
{
    bool input = a != BIAS && a != names[o].result;

    return input && cpu->precision == PRECISION_BF16 ? dnnl_bf16 : dnnl_f32;
}

static dnnl_status_t conv_shapes(const struct cpu *cpu, const struct device_slide *slide,
                                 enum operation o, struct shapes *s)
{
    dnnl_dim_t n = (dnnl_dim_t)slide->rows, size = (dnnl_dim_t)slide->window.size;
    dnnl_dim_t in = (dnnl_dim_t)slide->in.c, out = (dnnl_dim_t)slide->out.c;
    const dnnl_dims_t x = {n, in, (dnnl_dim_t)slide->in.h, (dnnl_dim_t)slide->in.w};
    const dnnl_dims_t y = {n, out, (dnnl_dim_t)slide->out.h, (dnnl_dim_t)slide->out.w};
    const dnnl_dims_t weight = {out, in, size, size}, bias = {out};
    dnnl_status_t rc = shape(s, X, 4, x, dnnl_nhwc, dnnl_nhwc, type_of(cpu, o, X));

    if (rc == dnnl_success)
        rc = shape(s, WEIGHT, 4, weight, dnnl_ohwi, dnnl_format_tag_any,
                   type_of(cpu, o, WEIGHT));
    if (rc == dnnl_success)
        rc = shape(s, BIAS, 1, bias, dnnl_x, dnnl_x, dnnl_f32);
    if (rc == dnnl_success)
        rc = shape(s, Y, 4, y, dnnl_nhwc, dnnl_nhwc, type_of(cpu, o, Y));
    return rc;
}

static dnnl_status_t product_shapes(const struct cpu *cpu, const struct key *k,
                                    struct shapes *s)
{
    dnnl_dim_t m = (dnnl_dim_t)k->m, n = (dnnl_dim_t)k->n, sum = (dnnl_dim_t)k->k;
    const dnnl_dims_t a = {m, sum}, b = {sum, n}, c = {m, n};
    dnnl_status_t rc = shape(s, X, 2, a, k->a_transposed ? dnnl_ba : dnnl_ab, dnnl_ab,
                             type_of(cpu, PRODUCT, X));

    if (rc == dnnl_success)
        rc = shape(s, WEIGHT, 2, b, k->b_transposed ? dnnl_ba : dnnl_ab,
                   dnnl_format_tag_any, type_of(cpu, PRODUCT, WEIGHT));
    if (rc == dnnl_success)
        rc = shape(s, Y, 2, c, dnnl_ab, dnnl_ab, dnnl_f32);
    return rc;
}

/* ---- making ---- */

static dnnl_status_t describe_conv(struct cpu *cpu, const struct key *k, enum operation o,
                                   struct shapes *s, dnnl_primitive_desc_t forward,
                                   dnnl_primitive_desc_t *pd)
{
    const dnnl_memory_desc_t *of = s->theirs, *bias = k->biased ? &of[BIAS] : NULL;
    dnnl_dim_t step = (dnnl_dim_t)k->slide.window.stride,
               around = (dnnl_dim_t)k->slide.window.pad;
    const dnnl_dims_t stride = {step, step}, pad = {around, around};
    dnnl_convolution_desc_t d;
    dnnl_status_t rc = conv_shapes(cpu, &k->slide, o, s);

    if (rc == dnnl_success && o == FORWARD)
        rc = dnnl_convolution_forward_desc_init(
            &d, dnnl_forward_training, dnnl_convolution_direct, &of[X], &of[WEIGHT], bias,
            &of[Y], stride, pad, pad);
    else if (rc == dnnl_success && o == BACKWARD_DATA)
        rc = dnnl_convolution_backward_data_desc_init(
            &d, dnnl_convolution_direct, &of[X], &of[WEIGHT], &of[Y], stride, pad, pad);
    else if (rc == dnnl_success)
        rc = dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct,
                                                         &of[X], &of[WEIGHT], bias,
                                                         &of[Y], stride, pad, pad);
    if (rc != dnnl_success)
        return rc;
    return dnnl_primitive_desc_create(pd, &d, NULL, cpu->convolver->engine, forward);
}

static dnnl_status_t describe_product(struct cpu *cpu, const struct key *k,
                                      struct shapes *s, dnnl_primitive_desc_t *pd)
{
    const dnnl_memory_desc_t *of = s->theirs;
    dnnl_matmul_desc_t d;
    dnnl_status_t rc = product_shapes(cpu, k, s);

    if (rc == dnnl_success)
        rc = dnnl_matmul_desc_init(&d, &of[X], &of[WEIGHT], NULL, &of[Y]);
    if (rc != dnnl_success)
        return rc;
    return dnnl_primitive_desc_create(pd, &d, NULL, cpu->convolver->engine, NULL);
}

static dnnl_status_t describe(struct cpu *cpu, const struct key *k, struct shapes *s,
                              dnnl_primitive_desc_t *pd)
{
    dnnl_primitive_desc_t forward = NULL;
    dnnl_status_t rc = dnnl_success;

    if (k->operation == PRODUCT)
        return describe_product(cpu, k, s, pd);
    if (k->operation != FORWARD)
        rc = describe_conv(cpu, k, FORWARD, s, NULL, &forward);
    if (rc == dnnl_success)
        rc = describe_conv(cpu, k, (enum operation)k->operation, s, forward, pd);
    dnnl_primitive_desc_destroy(forward);
    return rc;
}

/* An array's two orders, and the way from the one to the other. */
static dnnl_status_t make_array(struct convolver *c, struct primitive *p, enum array a,
                                const dnnl_memory_desc_t *ours,
                                const dnnl_memory_desc_t *theirs)
{
    bool result = names[p->key.operation].result == a;
    dnnl_primitive_desc_t pd;
    dnnl_status_t rc =
        dnnl_memory_create(&p->theirs[a], theirs, c->engine, DNNL_MEMORY_NONE);

    if (rc != dnnl_success || dnnl_memory_desc_equal(ours, theirs))
        return rc;
    rc = dnnl_memory_create(&p->ours[a], ours, c->engine, DNNL_MEMORY_NONE);
    if (rc == dnnl_success)
        rc = dnnl_reorder_primitive_desc_create(&pd, result ? theirs : ours, c->engine,
                                                result ? ours : theirs, c->engine, NULL);
    if (rc != dnnl_success)
        return rc;
    rc = dnnl_primitive_create(&p->reorder[a], pd);
    dnnl_primitive_desc_destroy(pd);
    p->place[a] = p->space;
    p->space += (dnnl_memory_desc_get_size(theirs) + 63) / 64 * 64;
    return rc;
}

static dnnl_status_t make(struct cpu *cpu, struct primitive *p)
{
    const struct names *n = &names[p->key.operation];
    dnnl_primitive_desc_t pd = NULL;
    struct shapes s;
    dnnl_status_t rc = describe(cpu, &p->key, &s, &pd);

    if (rc == dnnl_success)
        rc = dnnl_primitive_create(&p->run, pd);
    for (int a = 0; a < ARRAYS && rc == dnnl_success; a++)
        if (a != BIAS || p->key.biased)
            rc = make_array(
                cpu->convolver, p, (enum array)a, &s.ours[a],
                dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, n->argument[a]));
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

static void primitive_free(struct primitive *p)
{
    dnnl_primitive_destroy(p->run);
    for (int a = 0; a < ARRAYS; a++) {
        dnnl_primitive_destroy(p->reorder[a]);
        dnnl_memory_destroy(p->ours[a]);
        dnnl_memory_destroy(p->theirs[a]);
    }
}

static struct primitive *find(struct cpu *cpu, const struct key *key)
{
    struct convolver *c = cpu->convolver;
    struct primitive made = {.key = *key};

    for (size_t i = 0; i < c->n; i++)
        if (memcmp(&c->primitives[i].key, key, sizeof(*key)) == 0)
            return &c->primitives[i];
    dnnl_status_t rc = make(cpu, &made);
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

static dnnl_status_t reorder(struct convolver *c, struct primitive *p, enum array a)
{
    bool result = names[p->key.operation].result == a;
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_FROM, result ? p->theirs[a] : p->ours[a]},
        {DNNL_ARG_TO, result ? p->ours[a] : p->theirs[a]},
    };

    return p->reorder[a] ? dnnl_primitive_execute(p->reorder[a], c->stream, 2, arguments)
                         : dnnl_success;
}

/* Says where an array is; one that is reordered is in the space, too. */
static dnnl_status_t set_array(struct primitive *p, enum array a, const float *at,
                               char *space)
{
    void *ours = (void *)(uintptr_t)at;
    dnnl_status_t rc = dnnl_success;

    if (p->reorder[a])
        rc = dnnl_memory_set_data_handle(p->ours[a], ours);
    if (rc == dnnl_success)
        rc = dnnl_memory_set_data_handle(p->theirs[a],
                                         p->reorder[a] ? space + p->place[a] : ours);
    return rc;
}

static void run(struct cpu *cpu, const struct key *key, const float *const arrays[ARRAYS])
{
    const struct names *name = &names[key->operation];
    struct convolver *c = cpu->convolver;
    dnnl_exec_arg_t arguments[ARRAYS];
    dnnl_status_t rc = dnnl_success;
    char *space = NULL;
    int n = 0;

    cpu_threads_use(cpu);
    struct primitive *p = find(cpu, key);
    if (!p || (p->space && !(space = cpu_space(cpu, p->space))))
        return;
    for (int a = 0; a < ARRAYS && rc == dnnl_success; a++) {
        if (!arrays[a])
            continue;
        rc = set_array(p, (enum array)a, arrays[a], space);
        if (rc == dnnl_success && (enum array)a != name->result)
            rc = reorder(c, p, (enum array)a);
        arguments[n++] = (dnnl_exec_arg_t){name->argument[a], p->theirs[a]};
    }
    if (rc == dnnl_success)
        rc = dnnl_primitive_execute(p->run, c->stream, n, arguments);
    if (rc == dnnl_success)
        rc = reorder(c, p, name->result);
    if (rc == dnnl_success)
        rc = dnnl_stream_wait(c->stream);
    say(cpu, rc);
}

static void convolve(struct device *d, enum operation o, const struct device_slide *s,
                     const float *x, const float *weight, const float *bias,
                     const float *y)
{
    const struct key key = {.slide = *s, .biased = bias != NULL, .operation = o};

    run((struct cpu *)d, &key, (const float *const[]){x, weight, bias, y});
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

void cpu_conv(struct device *d, const struct device_slide *s, const void *x,
              const float *weight, const float *bias, enum device_activation activation,
              void *y)
{
    convolve(d, FORWARD, s, x, weight, bias, y);
    if (bias && activation == ACTIVATION_RELU)
        cpu_parallel((struct cpu *)d, s->rows * image_size(s->out), 1, relu_piece, y);
}

void cpu_conv_backward_data(struct device *d, const struct device_slide *s,
                            const float *weight, const void *dy, void *dx)
{
    convolve(d, BACKWARD_DATA, s, dx, weight, NULL, dy);
}

void cpu_conv_backward_weight(struct device *d, const struct device_slide *s,
                              const void *x, const void *dy, float *dweight, float *dbias)
{
    convolve(d, BACKWARD_WEIGHT, s, x, dweight, dbias, dy);
}

/* Of fp32 by its plain function, which takes arrays as they are. */
void cpu_product(struct cpu *cpu, const struct device_gemm *g)
{
    const struct key key = {.m = g->m,
                            .n = g->n,
                            .k = g->k,
                            .a_transposed = g->a_transposed,
                            .b_transposed = g->b_transposed,
                            .operation = PRODUCT};

    if (cpu->precision != PRECISION_FP32) {
        run(cpu, &key, (const float *const[]){g->a, g->b, NULL, g->c});
        return;
    }
    if (!FAST_PRODUCT) {
        cpu_blas_product(g);
        return;
    }
    cpu_threads_use(cpu);
    say(cpu, dnnl_sgemm(g->a_transposed ? 'T' : 'N', g->b_transposed ? 'T' : 'N',
                        (dnnl_dim_t)g->m, (dnnl_dim_t)g->n, (dnnl_dim_t)g->k, 1, g->a,
                        (dnnl_dim_t)(g->a_transposed ? g->m : g->k), g->b,
                        (dnnl_dim_t)(g->b_transposed ? g->k : g->n), 0, g->c,
                        (dnnl_dim_t)g->n));
}

/* ---- beginning and end ---- */

int cpu_conv_precision(enum device_precision p, struct err *e)
{
    const unsigned wanted = dnnl_cpu_isa_avx512_core_bf16;

    if (p == PRECISION_FP32 ||
        ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "this CPU has no instructions for bf16 (AVX512_BF16): use fp32");
}

void cpu_conv_describe(char *text, size_t size)
{
    char blas[64] = "";

    if (!FAST_PRODUCT)
        cpu_blas_describe(blas, sizeof(blas));
    snprintf(text, size, "%s%soneDNN", blas, FAST_PRODUCT ? "" : ", ");
}

void cpu_conv_open(struct cpu *cpu)
{
    struct convolver *c = mem_alloc(sizeof(*c));

    cpu->convolver = c;
    if (!FAST_PRODUCT)
        cpu_blas_open(cpu);
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
