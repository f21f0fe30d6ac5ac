#include "worker/train/bare.h"

#include "base/mem.h"
#include "base/vec.h"
#include "worker/train/reference.h"

#include <oneapi/dnnl/dnnl.h>

#include <stdio.h>
#include <stdlib.h>

/* What an array is to the layer of this number. Gradients with respect to outputs are
 * not kept: those of four layers in a row lie at places of their own. */
enum role { INPUT, OUTPUT, GRADIENT, WEIGHT, BIAS, MEAN, VARIANCE, SPACE, RESULT };
enum { PLACES = 4, ARGUMENTS = 9 };

struct array {
    enum role role;
    size_t layer;
    dnnl_memory_t memory;
};

struct primitive {
    dnnl_primitive_t run;
    dnnl_exec_arg_t arguments[ARGUMENTS];
    int n;
};

struct bare {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_format_tag_t tag; /* of images */
    const struct model *model;
    size_t rows;
    VEC(struct array) arrays;
    VEC(struct primitive) primitives;
    dnnl_primitive_desc_t *forward; /* of each layer, for backward */
    size_t *takers;                 /* of each layer's output, as backward finds them */
};

static void must(dnnl_status_t status)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "oneDNN fails with status %d\n", (int)status);
    exit(EXIT_FAILURE);
}

/* ---- primitives and what they work on ---- */

static void fill(dnnl_memory_t memory, size_t bytes)
{
    size_t n = bytes / sizeof(float);
    float *numbers = reference_numbers(n, 1);
    void *data;

    must(dnnl_memory_get_data_handle(memory, &data));
    for (size_t i = 0; i < n; i++)
        ((float *)data)[i] = 0.05f * numbers[i];
    free(numbers);
}

/* The array of that role and shape; if there is none a new one, full of small numbers. */
static dnnl_memory_t find_array(struct bare *b, enum role role, size_t layer,
                                const dnnl_memory_desc_t *md)
{
    struct array a = {role, role == GRADIENT ? layer % PLACES : layer, NULL};

    for (size_t i = 0; i < b->arrays.n; i++) {
        const dnnl_memory_desc_t *has;
        if (b->arrays.v[i].role != a.role || b->arrays.v[i].layer != a.layer)
            continue;
        must(dnnl_memory_get_memory_desc(b->arrays.v[i].memory, &has));
        if (dnnl_memory_desc_equal(has, md))
            return b->arrays.v[i].memory;
    }
    must(dnnl_memory_create(&a.memory, md, b->engine, DNNL_MEMORY_ALLOCATE));
    if (role != SPACE)
        fill(a.memory, dnnl_memory_desc_get_size(md));
    vec_push(&b->arrays, a);
    return a.memory;
}

/* How the output of a layer lies in memory. */
static const dnnl_memory_desc_t *output_md(const struct bare *b, size_t layer)
{
    const dnnl_memory_desc_t *md = NULL;

    for (size_t i = 0; i < b->arrays.n && !md; i++)
        if (b->arrays.v[i].role == OUTPUT && b->arrays.v[i].layer == layer)
            must(dnnl_memory_get_memory_desc(b->arrays.v[i].memory, &md));
    return md;
}

struct use {
    int argument;
    enum role role;
    size_t layer;
};

/* Adds a primitive, with a ReLU behind it. Uses end with {0}; those of arguments that it
 * does not have are left out. Returns its description, which is to be destroyed. */
static dnnl_primitive_desc_t add(struct bare *b, const void *description, bool relu,
                                 dnnl_primitive_desc_t forward, const struct use *uses)
{
    struct primitive p = {.n = 0};
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t pd;
    dnnl_post_ops_t after;

    must(dnnl_primitive_attr_create(&attributes));
    must(dnnl_post_ops_create(&after));
    if (relu)
        must(dnnl_post_ops_append_eltwise(after, 1, dnnl_eltwise_relu, 0, 0));
    must(dnnl_primitive_attr_set_post_ops(attributes, after));
    must(dnnl_primitive_desc_create(&pd, description, attributes, b->engine, forward));
    must(dnnl_primitive_create(&p.run, pd));
    for (; uses->argument; uses++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, uses->argument);
        if (md->ndims)
            p.arguments[p.n++] = (dnnl_exec_arg_t){
                uses->argument, find_array(b, uses->role, uses->layer, md)};
    }
    vec_push(&b->primitives, p);
    dnnl_post_ops_destroy(after);
    dnnl_primitive_attr_destroy(attributes);
    return pd;
}

static void add_last(struct bare *b, const void *description,
                     dnnl_primitive_desc_t forward, const struct use *uses)
{
    dnnl_primitive_desc_destroy(add(b, description, false, forward, uses));
}

static dnnl_memory_desc_t make_md(int ndims, const dnnl_dims_t dims,
                                  dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md;

    must(dnnl_memory_desc_init_by_tag(&md, ndims, dims, dnnl_f32, tag));
    return md;
}

static dnnl_memory_desc_t image_md(const struct bare *b, struct image i)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)b->rows, (dnnl_dim_t)i.c, (dnnl_dim_t)i.h,
                              (dnnl_dim_t)i.w};

    if (i.h * i.w == 1)
        return make_md(2, dims, dnnl_format_tag_any);
    return make_md(4, dims, b->tag);
}

/* [a][b]...: what oneDNN may put as it likes. */
#define ANY_MD(n, ...) make_md(n, (const dnnl_dims_t){__VA_ARGS__}, dnnl_format_tag_any)

static struct use taken(const struct layer *l, int input, int argument)
{
    if (l->inputs[input] == LAYER_SAMPLES)
        return (struct use){argument, INPUT, 0};
    return (struct use){argument, OUTPUT, l->inputs[input]};
}

/* The gradient with respect to an input, unless that are the samples. */
static struct use given(const struct layer *l, int input, int argument)
{
    return (struct use){argument, GRADIENT, l->inputs[input]};
}

/* ---- backward of a ReLU, and gradients that meet ---- */

static void add_relu_backward(struct bare *b, size_t i)
{
    const dnnl_memory_desc_t *y = output_md(b, i);
    dnnl_eltwise_desc_t forward, d;
    dnnl_primitive_desc_t pd;

    must(dnnl_eltwise_forward_desc_init(&forward, dnnl_forward_training,
                                        dnnl_eltwise_relu_use_dst_for_bwd, y, 0, 0));
    must(dnnl_primitive_desc_create(&pd, &forward, NULL, b->engine, NULL));
    must(dnnl_eltwise_backward_desc_init(&d, dnnl_eltwise_relu_use_dst_for_bwd, y, y, 0,
                                         0));
    add_last(b, &d, pd,
             (struct use[]){{DNNL_ARG_DST, OUTPUT, i},
                            {DNNL_ARG_DIFF_DST, GRADIENT, i},
                            {DNNL_ARG_DIFF_SRC, GRADIENT, i},
                            {0}});
    dnnl_primitive_desc_destroy(pd);
}

/* Where several layers take what one gives, its gradient is a sum. */
static void add_meeting(struct bare *b, const struct layer *l)
{
    for (int k = 0; k < l->n_inputs; k++) {
        size_t from = l->inputs[k];
        dnnl_binary_desc_t d;
        if (from == LAYER_SAMPLES || b->takers[from]++ == 0)
            continue;
        const dnnl_memory_desc_t *md = output_md(b, from);
        must(dnnl_binary_desc_init(&d, dnnl_binary_add, md, md, md));
        add_last(b, &d, NULL,
                 (struct use[]){{DNNL_ARG_SRC_0, GRADIENT, from},
                                {DNNL_ARG_SRC_1, GRADIENT, from + 1},
                                {DNNL_ARG_DST, GRADIENT, from},
                                {0}});
    }
}

/* ---- layers with weights: what convolutions and dense ones have in common ---- */

static void add_weighted(struct bare *b, size_t i, const void *description)
{
    const struct layer *l = &b->model->layers[i];

    b->forward[i] = add(b, description, l->activation == ACTIVATION_RELU, NULL,
                        (struct use[]){taken(l, 0, DNNL_ARG_SRC),
                                       {DNNL_ARG_WEIGHTS, WEIGHT, i},
                                       {DNNL_ARG_BIAS, BIAS, i},
                                       {DNNL_ARG_DST, OUTPUT, i},
                                       {0}});
}

static void add_to_weights(struct bare *b, size_t i, const void *description)
{
    add_last(b, description, b->forward[i],
             (struct use[]){taken(&b->model->layers[i], 0, DNNL_ARG_SRC),
                            {DNNL_ARG_DIFF_DST, GRADIENT, i},
                            {DNNL_ARG_DIFF_WEIGHTS, RESULT, i},
                            {DNNL_ARG_DIFF_BIAS, RESULT, i},
                            {0}});
}

static void add_to_input(struct bare *b, size_t i, const void *description)
{
    add_last(b, description, b->forward[i],
             (struct use[]){given(&b->model->layers[i], 0, DNNL_ARG_DIFF_SRC),
                            {DNNL_ARG_WEIGHTS, WEIGHT, i},
                            {DNNL_ARG_DIFF_DST, GRADIENT, i},
                            {0}});
}

/* ---- convolution ---- */

struct conv {
    dnnl_memory_desc_t x, weight, bias, y;
    dnnl_dims_t stride, pad;
};

static struct conv conv_of(const struct bare *b, const struct layer *l)
{
    dnnl_dim_t size = (dnnl_dim_t)l->window.size, stride = (dnnl_dim_t)l->window.stride,
               pad = (dnnl_dim_t)l->window.pad, in = (dnnl_dim_t)l->in_image.c,
               out = (dnnl_dim_t)l->out_image.c;
    struct conv c = {
        .x = image_md(b, l->in_image),
        .weight = ANY_MD(4, out, in, size, size),
        .y = image_md(b, l->out_image),
        .stride = {stride, stride},
        .pad = {pad, pad},
    };

    if (l->n_parameters > 1)
        c.bias = ANY_MD(1, out);
    return c;
}

static void conv_forward(struct bare *b, size_t i)
{
    const struct layer *l = &b->model->layers[i];
    struct conv c = conv_of(b, l);
    dnnl_convolution_desc_t d;

    must(dnnl_convolution_forward_desc_init(&d, dnnl_forward_training,
                                            dnnl_convolution_direct, &c.x, &c.weight,
                                            &c.bias, &c.y, c.stride, c.pad, c.pad));
    add_weighted(b, i, &d);
}

static void conv_backward(struct bare *b, size_t i)
{
    const struct layer *l = &b->model->layers[i];
    struct conv c = conv_of(b, l);
    dnnl_convolution_desc_t d;

    if (l->activation == ACTIVATION_RELU)
        add_relu_backward(b, i);
    must(dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, &c.x,
                                                     &c.weight, &c.bias, &c.y, c.stride,
                                                     c.pad, c.pad));
    add_to_weights(b, i, &d);
    if (l->inputs[0] == LAYER_SAMPLES)
        return;
    must(dnnl_convolution_backward_data_desc_init(
        &d, dnnl_convolution_direct, &c.x, &c.weight, &c.y, c.stride, c.pad, c.pad));
    add_to_input(b, i, &d);
}

/* ---- dense ---- */

struct dense {
    dnnl_memory_desc_t x, weight, bias, y;
};

static struct dense dense_of(const struct bare *b, const struct layer *l)
{
    const struct layer *before =
        l->inputs[0] == LAYER_SAMPLES ? NULL : &b->model->layers[l->inputs[0]];
    struct image in = before ? before->out_image : (struct image){1, 1, l->in};
    dnnl_dim_t n = (dnnl_dim_t)b->rows, out = (dnnl_dim_t)l->out, c = (dnnl_dim_t)in.c,
               h = (dnnl_dim_t)in.h, w = (dnnl_dim_t)in.w;
    int axes = in.h * in.w > 1 ? 4 : 2;

    return (struct dense){
        .x = ANY_MD(axes, n, c, h, w),
        .weight = ANY_MD(axes, out, c, h, w),
        .bias = ANY_MD(1, out),
        .y = ANY_MD(2, n, out),
    };
}

static void dense_forward(struct bare *b, size_t i)
{
    const struct layer *l = &b->model->layers[i];
    struct dense p = dense_of(b, l);
    dnnl_inner_product_desc_t d;

    must(dnnl_inner_product_forward_desc_init(&d, dnnl_forward_training, &p.x, &p.weight,
                                              &p.bias, &p.y));
    add_weighted(b, i, &d);
}

static void dense_backward(struct bare *b, size_t i)
{
    const struct layer *l = &b->model->layers[i];
    struct dense p = dense_of(b, l);
    dnnl_inner_product_desc_t d;

    if (l->activation == ACTIVATION_RELU)
        add_relu_backward(b, i);
    must(dnnl_inner_product_backward_weights_desc_init(&d, &p.x, &p.weight, &p.bias,
                                                       &p.y));
    add_to_weights(b, i, &d);
    if (l->inputs[0] == LAYER_SAMPLES)
        return;
    must(dnnl_inner_product_backward_data_desc_init(&d, &p.x, &p.weight, &p.y));
    add_to_input(b, i, &d);
}

/* ---- batch normalisation ---- */

static unsigned norm_flags(const struct layer *l)
{
    unsigned flags = dnnl_use_scaleshift;

    return l->activation == ACTIVATION_RELU ? flags | dnnl_fuse_norm_relu : flags;
}

static void norm_forward(struct bare *b, size_t i)
{
    const struct layer *l = &b->model->layers[i];
    dnnl_batch_normalization_desc_t d;

    must(dnnl_batch_normalization_forward_desc_init(
        &d, dnnl_forward_training, output_md(b, l->inputs[0]), 1e-5f, norm_flags(l)));
    b->forward[i] = add(b, &d, false, NULL,
                        (struct use[]){taken(l, 0, DNNL_ARG_SRC),
                                       {DNNL_ARG_SCALE_SHIFT, WEIGHT, i},
                                       {DNNL_ARG_MEAN, MEAN, i},
                                       {DNNL_ARG_VARIANCE, VARIANCE, i},
                                       {DNNL_ARG_WORKSPACE, SPACE, i},
                                       {DNNL_ARG_DST, OUTPUT, i},
                                       {0}});
}

static void norm_backward(struct bare *b, size_t i)
{
    const struct layer *l = &b->model->layers[i];
    const dnnl_memory_desc_t *x = output_md(b, l->inputs[0]);
    dnnl_batch_normalization_desc_t d;

    must(dnnl_batch_normalization_backward_desc_init(&d, dnnl_backward, x, x, 1e-5f,
                                                     norm_flags(l)));
    add_last(b, &d, b->forward[i],
             (struct use[]){taken(l, 0, DNNL_ARG_SRC),
                            {DNNL_ARG_SCALE_SHIFT, WEIGHT, i},
                            {DNNL_ARG_MEAN, MEAN, i},
                            {DNNL_ARG_VARIANCE, VARIANCE, i},
                            {DNNL_ARG_WORKSPACE, SPACE, i},
                            {DNNL_ARG_DIFF_DST, GRADIENT, i},
                            given(l, 0, DNNL_ARG_DIFF_SRC),
                            {DNNL_ARG_DIFF_SCALE_SHIFT, RESULT, i},
                            {0}});
}

/* ---- pooling ---- */

static void pool(struct bare *b, size_t i, dnnl_alg_kind_t kind, struct window w,
                 bool forward)
{
    const struct layer *l = &b->model->layers[i];
    const dnnl_memory_desc_t *x = output_md(b, l->inputs[0]);
    struct image out = l->out_image;
    const dnnl_dims_t y_dims = {(dnnl_dim_t)b->rows, (dnnl_dim_t)out.c, (dnnl_dim_t)out.h,
                                (dnnl_dim_t)out.w},
                      size = {(dnnl_dim_t)w.size, (dnnl_dim_t)w.size},
                      stride = {(dnnl_dim_t)w.stride, (dnnl_dim_t)w.stride},
                      pad = {(dnnl_dim_t)w.pad, (dnnl_dim_t)w.pad};
    dnnl_memory_desc_t y = make_md(4, y_dims, dnnl_format_tag_any);
    dnnl_pooling_desc_t d;

    if (forward) {
        must(dnnl_pooling_forward_desc_init(&d, dnnl_forward_training, kind, x, &y,
                                            stride, size, pad, pad));
        b->forward[i] = add(b, &d, false, NULL,
                            (struct use[]){taken(l, 0, DNNL_ARG_SRC),
                                           {DNNL_ARG_WORKSPACE, SPACE, i},
                                           {DNNL_ARG_DST, OUTPUT, i},
                                           {0}});
        return;
    }
    must(dnnl_pooling_backward_desc_init(&d, kind, x, output_md(b, i), stride, size, pad,
                                         pad));
    add_last(b, &d, b->forward[i],
             (struct use[]){given(l, 0, DNNL_ARG_DIFF_SRC),
                            {DNNL_ARG_WORKSPACE, SPACE, i},
                            {DNNL_ARG_DIFF_DST, GRADIENT, i},
                            {0}});
}

static void max_pool_forward(struct bare *b, size_t i)
{
    pool(b, i, dnnl_pooling_max, b->model->layers[i].window, true);
}

static void max_pool_backward(struct bare *b, size_t i)
{
    pool(b, i, dnnl_pooling_max, b->model->layers[i].window, false);
}

static struct window all_of(const struct layer *l)
{
    return (struct window){.size = l->in_image.h, .stride = 1};
}

static void avg_pool_forward(struct bare *b, size_t i)
{
    pool(b, i, dnnl_pooling_avg_exclude_padding, all_of(&b->model->layers[i]), true);
}

static void avg_pool_backward(struct bare *b, size_t i)
{
    pool(b, i, dnnl_pooling_avg_exclude_padding, all_of(&b->model->layers[i]), false);
}

/* ---- sums of two layers ---- */

static void add_forward(struct bare *b, size_t i)
{
    const struct layer *l = &b->model->layers[i];
    const dnnl_memory_desc_t *x = output_md(b, l->inputs[0]);
    dnnl_binary_desc_t d;

    must(dnnl_binary_desc_init(&d, dnnl_binary_add, x, output_md(b, l->inputs[1]), x));
    b->forward[i] = add(b, &d, l->activation == ACTIVATION_RELU, NULL,
                        (struct use[]){taken(l, 0, DNNL_ARG_SRC_0),
                                       taken(l, 1, DNNL_ARG_SRC_1),
                                       {DNNL_ARG_DST, OUTPUT, i},
                                       {0}});
}

/* The gradient is that of both. */
static void add_backward(struct bare *b, size_t i)
{
    if (b->model->layers[i].activation == ACTIVATION_RELU)
        add_relu_backward(b, i);
}

/* ---- all of it ---- */

static const struct kind {
    const struct layer_kind *kind;
    void (*forward)(struct bare *b, size_t i);
    void (*backward)(struct bare *b, size_t i);
} kinds[] = {
    {&layer_kind_dense, dense_forward, dense_backward},
    {&layer_kind_conv, conv_forward, conv_backward},
    {&layer_kind_max_pool, max_pool_forward, max_pool_backward},
    {&layer_kind_global_avg_pool, avg_pool_forward, avg_pool_backward},
    {&layer_kind_batch_norm, norm_forward, norm_backward},
    {&layer_kind_add, add_forward, add_backward},
};

static const struct kind *kind_of(const struct layer *l)
{
    const struct kind *k = kinds;

    while (k->kind != l->kind)
        k++;
    return k;
}

struct bare *bare_create(const struct model *m, size_t rows, bool plain)
{
    struct bare *b = mem_alloc(sizeof(*b));

    b->model = m;
    b->rows = rows;
    b->tag = plain ? dnnl_nhwc : dnnl_format_tag_any;
    b->forward = mem_alloc(m->n_layers * sizeof(dnnl_primitive_desc_t));
    b->takers = mem_alloc(m->n_layers * sizeof(*b->takers));
    must(dnnl_engine_create(&b->engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&b->stream, b->engine, dnnl_stream_default_flags));
    for (size_t i = 0; i < m->n_layers; i++)
        kind_of(&m->layers[i])->forward(b, i);
    for (size_t i = m->n_layers; i-- > 0;) {
        kind_of(&m->layers[i])->backward(b, i);
        add_meeting(b, &m->layers[i]);
    }
    return b;
}

void bare_destroy(struct bare *b)
{
    for (size_t i = 0; i < b->primitives.n; i++)
        dnnl_primitive_destroy(b->primitives.v[i].run);
    for (size_t i = 0; i < b->arrays.n; i++)
        dnnl_memory_destroy(b->arrays.v[i].memory);
    for (size_t i = 0; i < b->model->n_layers; i++)
        dnnl_primitive_desc_destroy(b->forward[i]);
    vec_free(&b->primitives);
    vec_free(&b->arrays);
    free(b->forward);
    free(b->takers);
    dnnl_stream_destroy(b->stream);
    dnnl_engine_destroy(b->engine);
    free(b);
}

void bare_step(struct bare *b)
{
    for (size_t i = 0; i < b->primitives.n; i++)
        must(dnnl_primitive_execute(b->primitives.v[i].run, b->stream,
                                    b->primitives.v[i].n, b->primitives.v[i].arguments));
    must(dnnl_stream_wait(b->stream));
}
