/* The network against a plain one in double: forward by formula, gradients by central
 * differences of the loss. */
#include "worker/train/pass.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/subject.h"
#include "worker/train/reference.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct device *device;

static int setup(void **state)
{
    (void)state;
    device = subject_open(1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    device_close(device);
    return 0;
}

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.9g is not %.9g within %.2g", got, want, tolerance);
}

/* ---- making ---- */

static void test_bad_configurations_are_refused(void **state)
{
    (void)state;
    const struct {
        struct model_config config;
        const char *text;
    } vectors[] = {
        {{"mpl", {1, 1, 4}, 2, (const size_t[]){3}, 1, 0, 0}, "unknown model 'mpl'"},
        {{"mlp", {1, 1, 4}, 2, (const size_t[]){0}, 1, 0, 0},
         "layer 1: 0 by 4 weights cannot be"},
        {{"mlp", {1, 1, 0}, 2, (const size_t[]){3}, 1, 0, 0}, "layer 1"},
        {{"mlp", {1, 1, 4}, 2, (const size_t[]){3, (size_t)1 << 31}, 2, 0, 0}, "layer 2"},
        {{"cnn", {1, 1, 784}, 2, (const size_t[]){3}, 1, 0, 0},
         "these are no images, but 784 numbers each"},
        {{"cnn", {28, 15, 1}, 2, (const size_t[]){3}, 1, 0, 0},
         "pool2: images are too small for this model: a window of 2x2 meets 8x1"},
        {{"cnn", {4, 28, 1}, 2, (const size_t[]){3}, 1, 0, 0},
         "conv1: images are too small for this model: a window of 5x5 meets 4x28"},
        {{"cnn", {(size_t)1 << 20, (size_t)1 << 20, 1}, 2, NULL, 0, 0, 0},
         "conv1: images of 1048576x1048576x1 are too large"},
        {{"cnn", {28, 28, (size_t)1 << 28}, 2, NULL, 0, 0, 0}, "are too large"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct err e = {0};
        assert_null(model_create(device, &vectors[i].config, &e));
        assert_int_equal(e.code, ERR_INVAL);
        assert_non_null(strstr(e.text, vectors[i].text));
    }
    model_destroy(NULL);
}

static struct model *make(uint64_t seed, const size_t *hidden, size_t n_hidden)
{
    struct model *m = model_create(
        device, &(struct model_config){"mlp", {1, 1, 300}, 10, hidden, n_hidden, seed, 0},
        NULL);
    assert_non_null(m);
    return m;
}

static void test_weights_start_by_seed_layer_and_index(void **state)
{
    (void)state;
    struct model *a = make(1, (const size_t[]){200, 50}, 2);
    struct model *b = make(1, (const size_t[]){200, 50}, 2);
    struct model *c = make(2, (const size_t[]){200, 50}, 2);
    struct model *d = make(1, (const size_t[]){200}, 1);

    assert_memory_equal(a->values, b->values, a->n * sizeof(float));
    assert_memory_not_equal(a->values, c->values, a->n * sizeof(float));
    /* What stands behind a layer does not change how it starts. */
    assert_memory_equal(a->values, d->values, 200 * 300 * sizeof(float));
    model_destroy(a);
    model_destroy(b);
    model_destroy(c);
    model_destroy(d);
}

static void test_weights_start_as_kaiming_has_it(void **state)
{
    (void)state;
    struct model *m = make(1, (const size_t[]){200}, 1);
    double variances[] = {2.0 / 300, 1.0 / 200};

    assert_int_equal(m->n_parameters, 200 * 300 + 200 + 10 * 200 + 10);
    for (size_t l = 0; l < 2; l++) {
        const struct parameter *w = &m->layers[l].parameters[0];
        const struct parameter *b = &m->layers[l].parameters[1];
        double sum = 0, square = 0;
        for (size_t i = 0; i < w->count; i++) {
            double v = (double)m->values[w->offset + i];
            assert_true(fabs(v) <= sqrt(3 * variances[l]) * (1 + FLT_EPSILON));
            sum += v;
            square += v * v;
        }
        /* Five standard errors: of the mean, and of the variance (kurtosis 1.8). */
        double n = (double)w->count;
        assert_near(sum / n, 0, 5 * sqrt(variances[l] / n));
        assert_near(square / n, variances[l], 5 * variances[l] * sqrt(0.8 / n));
        for (size_t i = 0; i < b->count; i++)
            assert_true(m->values[b->offset + i] == 0);
    }
    model_destroy(m);
}

static void test_description(void **state)
{
    (void)state;
    struct str text = STR_INIT;
    struct model *m = make(1, (const size_t[]){128, 64}, 2);

    model_describe(m, &text);
    assert_string_equal(text.p, "300-128-64-10");
    assert_string_equal(m->layers[2].name, "dense3");
    model_destroy(m);

    m = model_create(device,
                     &(struct model_config){
                         "cnn", {28, 28, 1}, 10, (const size_t[]){120, 84}, 2, 1, 0},
                     NULL);
    str_cut(&text, 0);
    model_describe(m, &text);
    assert_string_equal(text.p, "28x28x1-24x24x6-12x12x6-8x8x16-4x4x16-120-84-10");
    assert_string_equal(m->layers[2].name, "conv2");
    assert_int_equal(m->n_parameters,
                     6 * 25 + 6 + 16 * 150 + 16 + 120 * 257 + 84 * 121 + 10 * 85);
    str_free(&text);
    model_destroy(m);
}

/* ---- a layer ---- */

/* What check_layer() varies and compares: the parameters, then the inputs, [n]. */
struct probe {
    const struct layer *layer;
    struct batch batch;
    size_t n_values, n_x, n_y, n;
    float *values, *x[LAYER_INPUTS]; /* one array */
    double *exact;                   /* of the same */
    float *gradients, *dx[LAYER_INPUTS];
    float *weights; /* of y in the sum that is differentiated */
};

/* A batch, or the later rows of one, somewhere in a training. */
static struct batch in_training(size_t rows)
{
    return (struct batch){
        .rows = rows, .training = true, .seed = 11, .step = 12345, .row = 6};
}

static void probe_make(struct probe *p, struct layer *l, size_t rows)
{
    *p = (struct probe){.layer = l, .batch = in_training(rows)};
    for (int k = 0; k < l->n_parameters; k++) {
        l->parameters[k].offset = p->n_values;
        p->n_values += l->parameters[k].count;
    }
    for (int k = 0; k < l->n_states; k++)
        l->states[k].offset = (size_t)k * l->in;
    p->n_x = rows * l->in;
    p->n_y = rows * l->out;
    p->n = p->n_values + (size_t)l->n_inputs * p->n_x;
    p->values = reference_numbers(p->n, 1);
    p->exact = reference_widen(p->values, p->n);
    p->gradients = mem_alloc(p->n * sizeof(float));
    reference_poison(p->gradients, p->n);
    for (int k = 0; k < l->n_inputs; k++) {
        p->x[k] = p->values + p->n_values + (size_t)k * p->n_x;
        p->dx[k] = p->gradients + p->n_values + (size_t)k * p->n_x;
    }
    p->weights = reference_numbers(p->n_y, 3);
}

static void probe_free(struct probe *p)
{
    free(p->values);
    free(p->exact);
    free(p->gradients);
    free(p->weights);
}

/* sum(weights * y) in double. */
static double probe_sum(const struct probe *p)
{
    double *y = mem_resize(NULL, p->n_y, sizeof(*y)), sum = 0;
    const double *x[LAYER_INPUTS];

    for (int k = 0; k < LAYER_INPUTS; k++)
        x[k] = p->exact + p->n_values + (size_t)k * p->n_x;
    reference_layer(p->layer, p->exact, NULL, &p->batch, x, y);
    for (size_t i = 0; i < p->n_y; i++)
        sum += y[i] * (double)p->weights[i];
    free(y);
    return sum;
}

static void probe_run(struct probe *p)
{
    struct layer_call c = {
        .layer = p->layer,
        .device = device,
        .batch = &p->batch,
        .values = p->values,
        .gradients = p->gradients,
        .y = mem_alloc(p->n_y * sizeof(float)),
        .state = mem_alloc(2 * p->layer->in * sizeof(float)),
        .saved = mem_alloc(p->layer->saved * sizeof(float)),
        .dy = mem_dup(p->weights, p->n_y * sizeof(float)),
    };

    for (int k = 0; k < p->layer->n_inputs; k++) {
        c.x[k] = p->x[k];
        c.dx[k] = p->dx[k];
    }
    reference_poison(c.y, p->n_y);
    p->layer->kind->forward(&c);
    p->layer->kind->backward(&c);
    free(c.y);
    free(c.state);
    free(c.saved);
    free(c.dy);
}

static void check_layer(struct layer l, size_t rows)
{
    const double step = 1e-6;
    struct probe p;

    probe_make(&p, &l, rows);
    probe_run(&p);
    for (size_t i = 0; i < p.n; i++) {
        double kept = p.exact[i];
        p.exact[i] = kept + step;
        double up = probe_sum(&p);
        p.exact[i] = kept - step;
        double down = probe_sum(&p);
        p.exact[i] = kept;
        assert_near((double)p.gradients[i], (up - down) / (2 * step),
                    4 * FLT_EPSILON * (double)(rows + l.out) + 1e-7);
    }
    probe_free(&p);
}

static void test_dense_gradients_are_differences(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1}, {4, 6, 5}, {7, 19, 3}};

    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int relu = 0; relu < 2; relu++)
            check_layer(layer_dense("dense", sizes[i][1], sizes[i][2],
                                    relu ? ACTIVATION_RELU : ACTIVATION_NONE),
                        sizes[i][0]);
}

static void test_conv_gradients_are_differences(void **state)
{
    (void)state;
    static const struct {
        size_t rows, channels;
        struct image in;
        struct window window;
    } cases[] = {
        {1, 1, {1, 1, 1}, {1, 1, 0}},
        {3, 4, {6, 5, 2}, {3, 1, 0}},
        {2, 3, {7, 6, 3}, {3, 2, 1}},
        {2, 6, {6, 6, 1}, {5, 1, 0}},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        for (int relu = 0; relu < 2; relu++)
            check_layer(layer_conv("conv", cases[i].in, cases[i].channels,
                                   cases[i].window,
                                   relu ? ACTIVATION_RELU : ACTIVATION_NONE),
                        cases[i].rows);
}

static void test_pool_gradients_are_differences(void **state)
{
    (void)state;

    check_layer(layer_max_pool("pool", (struct image){6, 4, 3}, (struct window){2, 2, 0}),
                3);
    check_layer(layer_max_pool("pool", (struct image){5, 7, 2}, (struct window){3, 2, 1}),
                2);
}

static void test_add_gradients_are_differences(void **state)
{
    (void)state;

    check_layer(layer_add("add", (struct image){3, 2, 5}, ACTIVATION_NONE), 3);
    check_layer(layer_add("add", (struct image){3, 7, 3}, ACTIVATION_RELU), 4);
}

static void test_dropout_gradients_are_differences(void **state)
{
    (void)state;

    check_layer(layer_dropout("dropout", 13, 0.5, 0), 3);
    check_layer(layer_dropout("dropout", 70, 0.125, 1), 2);
}

static void test_conv_unbiased_gradients_are_differences(void **state)
{
    (void)state;

    check_layer(
        layer_conv_unbiased("conv", (struct image){6, 5, 2}, 4, (struct window){3, 1, 1}),
        3);
    check_layer(
        layer_conv_unbiased("conv", (struct image){5, 5, 3}, 2, (struct window){1, 2, 0}),
        2);
}

static void test_global_avg_pool_gradients_are_differences(void **state)
{
    (void)state;

    check_layer(layer_global_avg_pool("pool", (struct image){6, 4, 3}), 3);
    check_layer(layer_global_avg_pool("pool", (struct image){1, 1, 5}), 2);
}

static void test_batch_norm_gradients_are_differences(void **state)
{
    (void)state;
    static const struct {
        size_t rows;
        struct image in;
    } cases[] = {{9, {1, 1, 3}}, {3, {4, 2, 5}}, {2, {6, 7, 1}}};

    for (size_t i = 0; i < COUNT(cases); i++)
        for (int relu = 0; relu < 2; relu++)
            check_layer(layer_batch_norm("bn", cases[i].in,
                                         relu ? ACTIVATION_RELU : ACTIVATION_NONE),
                        cases[i].rows);
}

/* ---- the whole network ---- */

/* Mean cross-entropy over the rows, in double; logits [rows][classes] if not NULL. In
 * training state is NULL. */
static double network_loss(const struct model *m, const double *values,
                           const float *state, const double *x, const int32_t *labels,
                           const struct batch *b, double *logits)
{
    size_t rows = b->rows;

    double **outputs = mem_alloc(m->n_layers * sizeof(*outputs)), loss = 0;
    size_t classes = m->layers[m->n_layers - 1].out;

    for (size_t i = 0; i < m->n_layers; i++) {
        const struct layer *l = &m->layers[i];
        const double *inputs[LAYER_INPUTS];
        for (int k = 0; k < l->n_inputs; k++)
            inputs[k] = l->inputs[k] == LAYER_SAMPLES ? x : outputs[l->inputs[k]];
        outputs[i] = mem_resize(NULL, rows * l->out, sizeof(double));
        reference_layer(l, values, state, b, inputs, outputs[i]);
    }
    const double *a = outputs[m->n_layers - 1];
    if (logits)
        memcpy(logits, a, rows * classes * sizeof(*a));
    for (size_t r = 0; r < rows; r++, a += classes) {
        double sum = 0;
        for (size_t c = 0; c < classes; c++)
            sum += exp(a[c]);
        loss += log(sum) - a[labels[r]];
    }
    for (size_t i = 0; i < m->n_layers; i++)
        free(outputs[i]);
    free(outputs);
    return loss / (double)rows;
}

enum { CLASSES = 3, ROWS = 9 };

/* The gradients in m, of the parameters and in dx of the samples, are differences. */
static void check_gradients(const struct model *m, const float *x, const float *dx,
                            const int32_t *labels, const struct batch *b)
{
    size_t n_x = b->rows * m->layers[0].in;
    double *values = reference_widen(m->values, m->n), *xd = reference_widen(x, n_x);
    const double step = 1e-6;

    for (size_t i = 0; i < m->n + n_x; i++) {
        double *at = i < m->n ? &values[i] : &xd[i - m->n], kept = *at;
        *at = kept + step;
        double up = network_loss(m, values, NULL, xd, labels, b, NULL);
        *at = kept - step;
        double down = network_loss(m, values, NULL, xd, labels, b, NULL);
        *at = kept;
        assert_near((double)(i < m->n ? m->gradients[i] : dx[i - m->n]),
                    (up - down) / (2 * step), 1e-6);
    }
    free(values);
    free(xd);
}

/* Checks a model with batches of `rows`, at most ROWS, and destroys it. */
static void check_model(struct model *m, size_t rows)
{
    struct pass *p =
        pass_create(m, &(struct pass_config){0, m->n_layers, ROWS, ROWS}, NULL);
    size_t n_x = rows * m->layers[0].in;
    float *x = reference_numbers(n_x, 7), *dx = mem_alloc(n_x * sizeof(*dx));
    double *values = reference_widen(m->values, m->n), *xd = reference_widen(x, n_x),
           want[ROWS * CLASSES];
    struct batch batch = in_training(rows);
    struct device_totals totals = {0, 0};
    int32_t labels[ROWS];
    uint32_t index[ROWS];

    for (uint32_t r = 0; r < ROWS; r++) {
        index[r] = r;
        labels[r] = (int32_t)(r % CLASSES);
    }
    batch.x = x;
    reference_poison(dx, n_x);
    for (size_t i = 0; i < m->n_state; i++) /* means too, and variances not too small */
        m->state[i] = 0.5f + (float)rng_unit(1, RNG_TEST, (uint32_t)i, 9, 0);
    for (int training = 0; training < 2; training++) {
        batch.training = training;
        double loss =
            network_loss(m, values, training ? NULL : m->state, xd, labels, &batch, want);
        totals = (struct device_totals){0, 0};
        const float *logits = pass_forward(p, &batch);
        for (size_t i = 0; i < rows * CLASSES; i++)
            assert_near((double)logits[i], want[i], 1e-5);
        device->ops->softmax_loss(device, rows, CLASSES, logits, labels, index, 0,
                                  1.0f / (float)rows, training ? pass_upstream(p) : NULL,
                                  &totals);
        assert_near(totals.loss / (double)rows, loss, 1e-5);
    }
    pass_backward(p, m->gradients, dx, NULL, NULL);
    check_gradients(m, x, dx, labels, &batch);
    free(x);
    free(dx);
    free(values);
    free(xd);
    pass_destroy(p);
    model_destroy(m);
}

static void check_network(const char *kind, struct image sample, const size_t *hidden,
                          size_t n_hidden, size_t rows)
{
    check_model(model_create(
                    device,
                    &(struct model_config){kind, sample, CLASSES, hidden, n_hidden, 3, 0},
                    NULL),
                rows);
}

static void test_network_agrees_with_a_plain_one(void **state)
{
    (void)state;

    const struct image table = {1, 1, 11};

    check_network("mlp", table, NULL, 0, 9);
    check_network("mlp", table, (const size_t[]){7}, 1, 9);
    /* Fewer rows than there is room for. */
    check_network("mlp", table, (const size_t[]){7}, 1, 4);
    check_network("mlp", table, (const size_t[]){13, 5, 8}, 3, 9);
}

static struct model *make_dropping(double share)
{
    return model_create(
        device,
        &(struct model_config){
            "mlp", {1, 1, 11}, CLASSES, (const size_t[]){13, 8}, 2, 3, share},
        NULL);
}

static void test_network_with_dropout_agrees_with_a_plain_one(void **state)
{
    (void)state;

    check_model(make_dropping(0.5), 9);
    check_model(make_dropping(0.25), 4);
}

/* Neither the weights that it starts with, nor what it is described as. */
static void test_dropout_is_no_part_of_a_model(void **state)
{
    (void)state;
    struct model *with = make_dropping(0.3), *without = make_dropping(0);
    struct str text = STR_INIT;

    assert_int_equal(without->n_layers, 3);
    assert_int_equal(with->n_layers, 5);
    assert_string_equal(with->layers[1].name, "dropout1");
    assert_string_equal(with->layers[3].name, "dropout2");
    assert_int_equal(with->n, without->n);
    assert_memory_equal(with->values, without->values, with->n * sizeof(float));
    model_describe(with, &text);
    assert_string_equal(text.p, "11-13-8-3");
    str_free(&text);
    model_destroy(with);
    model_destroy(without);
}

/* Forward only, of ones. free() it. */
static float *drop_ones(double share, struct batch b, uint32_t draws, size_t size)
{
    struct layer l = layer_dropout("dropout", size, share, draws);
    float *x = mem_resize(NULL, b.rows * size, sizeof(*x));
    float *y = mem_alloc(b.rows * size * sizeof(*y));

    for (size_t i = 0; i < b.rows * size; i++)
        x[i] = 1;
    reference_poison(y, b.rows * size);
    l.kind->forward(&(struct layer_call){
        .layer = &l, .device = device, .batch = &b, .x = {x}, .y = y});
    free(x);
    return y;
}

static void test_dropout_keeps_its_share_scaled(void **state)
{
    (void)state;
    enum { MANY = 300, SIZE = 333 };
    static const double shares[] = {1e-4, 0.1, 0.5, 0.9};
    struct batch b = in_training(MANY);
    const double n = MANY * SIZE;

    for (size_t i = 0; i < COUNT(shares); i++) {
        float *y = drop_ones(shares[i], b, 0, SIZE), scale = (float)(1 / (1 - shares[i]));
        size_t dropped = 0;
        for (size_t k = 0; k < MANY * SIZE; k++) {
            assert_true(y[k] == 0 || fabsf(y[k] / scale - 1) < 1e-4f);
            dropped += y[k] == 0;
        }
        /* Five standard errors, and what rounding the share may do. */
        assert_near((double)dropped / n, shares[i],
                    5 * sqrt(shares[i] * (1 - shares[i]) / n) + 1.0 / DROPOUT_ALL);
        free(y);
    }
    b.training = false;
    float *y = drop_ones(0.9, b, 0, SIZE);
    for (size_t k = 0; k < MANY * SIZE; k++)
        assert_true(y[k] == 1);
    free(y);
    /* Nearly all: one number in 65536 is left, and not scaled by infinity. */
    b.training = true;
    y = drop_ones(nextafter(1, 0), b, 0, SIZE);
    for (size_t k = 0; k < MANY * SIZE; k++)
        assert_true(y[k] == 0 || y[k] == DROPOUT_ALL);
    free(y);
}

/* The mask is that of the numbers in the batch, however it is cut; each step, seed and
 * layer has another. */
static void test_dropout_does_not_depend_on_how_a_batch_is_cut(void **state)
{
    (void)state;
    enum { MANY = 12, SIZE = 35, CUT = 5 };
    struct batch whole = in_training(MANY), part = whole,
                 other[3] = {whole, whole, whole};
    const size_t bytes = MANY * SIZE * sizeof(float);
    float *y = drop_ones(0.5, whole, 0, SIZE);

    part.rows = CUT;
    float *first = drop_ones(0.5, part, 0, SIZE);
    part.rows = MANY - CUT;
    part.row += CUT;
    float *second = drop_ones(0.5, part, 0, SIZE);
    assert_memory_equal(y, first, CUT * SIZE * sizeof(float));
    assert_memory_equal(y + CUT * SIZE, second, (MANY - CUT) * SIZE * sizeof(float));
    other[0].step++;
    other[1].seed++;
    for (uint32_t i = 0; i < COUNT(other); i++) {
        float *z = drop_ones(0.5, other[i], i == 2, SIZE);
        assert_memory_not_equal(y, z, bytes);
        free(z);
    }
    free(y);
    free(first);
    free(second);
}

static void test_cnn_agrees_with_a_plain_one(void **state)
{
    (void)state;
    /* The smallest images that leave the second pooling one place. */
    check_network("cnn", (struct image){16, 16, 1}, (const size_t[]){5, 4}, 2, 2);
    check_network("cnn", (struct image){16, 17, 2}, (const size_t[]){5}, 1, 1);
}

/* ---- branches and parts ---- */

/* Takes layers as they stand in an array. */
static struct model *model_of(const struct layer *layers, size_t n)
{
    struct model *m = mem_alloc(sizeof(*m));

    m->device = device;
    m->layers = mem_dup(layers, n * sizeof(*layers));
    m->n_layers = n;
    assert_int_equal(model_start(m, 1, NULL), 0);
    return m;
}

static struct layer taking(struct layer l, size_t first, size_t second)
{
    l.inputs[0] = first;
    l.inputs[1] = second;
    return l;
}

/* One output goes to three layers, one of them far behind; another to two. */
static struct model *branching(void)
{
    const struct image six = {1, 1, 6};
    const enum device_activation relu = ACTIVATION_RELU, none = ACTIVATION_NONE;
    const struct layer layers[] = {
        taking(layer_dense("a", 11, 6, relu), LAYER_SAMPLES, 0),
        taking(layer_dense("b", 6, 6, relu), 0, 0),
        taking(layer_add("c", six, relu), 1, 0),
        taking(layer_dense("d", 6, 6, none), 2, 0),
        taking(layer_add("e", six, none), 3, 2),
        taking(layer_add("f", six, relu), 4, 0),
        taking(layer_dense("g", 6, CLASSES, none), 5, 0),
    };

    return model_of(layers, COUNT(layers));
}

static void test_branches_agree_with_plain_ones(void **state)
{
    (void)state;
    const struct image six = {1, 1, 6};
    const struct layer twice[] = {
        taking(layer_dense("a", 6, 6, ACTIVATION_RELU), LAYER_SAMPLES, 0),
        taking(layer_add("b", six, ACTIVATION_NONE), 0, LAYER_SAMPLES),
        taking(layer_add("c", six, ACTIVATION_NONE), 1, 1),
        taking(layer_dense("d", 6, CLASSES, ACTIVATION_NONE), 2, 0),
    };

    check_model(branching(), 9);
    check_model(branching(), 4);
    check_model(model_of(twice, COUNT(twice)), 5);
}

/* Two residual blocks, one of them with a convolution on its shortcut. */
static void test_residual_blocks_agree_with_plain_ones(void **state)
{
    (void)state;
    const struct image in = {6, 5, 2}, wide = {6, 5, 3}, narrow = {3, 3, 4};
    const struct window three = {3, 1, 1}, half = {3, 2, 1}, one = {1, 2, 0};
    const enum device_activation relu = ACTIVATION_RELU, none = ACTIVATION_NONE;
    const struct layer layers[] = {
        taking(layer_conv_unbiased("conv1", in, 3, three), LAYER_SAMPLES, 0),
        taking(layer_batch_norm("bn1", wide, relu), 0, 0),
        taking(layer_conv_unbiased("1.conv1", wide, 3, three), 1, 0),
        taking(layer_batch_norm("1.bn1", wide, relu), 2, 0),
        taking(layer_conv_unbiased("1.conv2", wide, 3, three), 3, 0),
        taking(layer_batch_norm("1.bn2", wide, none), 4, 0),
        taking(layer_add("1.add", wide, relu), 1, 5),
        taking(layer_conv_unbiased("2.conv1", wide, 4, half), 6, 0),
        taking(layer_batch_norm("2.bn1", narrow, relu), 7, 0),
        taking(layer_conv_unbiased("2.downsample.0", wide, 4, one), 6, 0),
        taking(layer_batch_norm("2.downsample.1", narrow, none), 9, 0),
        taking(layer_add("2.add", narrow, relu), 10, 8),
        taking(layer_global_avg_pool("avgpool", narrow), 11, 0),
        taking(layer_dense("fc", 4, CLASSES, none), 12, 0),
    };

    check_model(model_of(layers, COUNT(layers)), 4);
}

static void note_layer(void *arg, size_t layer)
{
    struct str *order = arg;
    str_addf(order, " %zu", layer);
}

/* A row's gradient as if the loss were the sum of its logits, weighted. */
static void set_upstream(struct pass *p, size_t rows)
{
    float *weights = reference_numbers(rows * CLASSES, 8);

    device->ops->upload(device, pass_upstream(p), weights,
                        rows * CLASSES * sizeof(*weights));
    free(weights);
}

static void test_parts_give_the_bits_of_the_whole(void **state)
{
    (void)state;
    enum { FEATURES = 11, PARTS = 3 };
    static const size_t cuts[] = {0, 1, 6, 7};
    struct model *m = branching();
    float *x = reference_numbers(ROWS * FEATURES, 7), *dx[2], dy[2][ROWS * 6];
    struct batch batch = {.rows = ROWS, .x = x, .training = true};
    struct pass *parts[PARTS], *whole;
    struct str order = STR_INIT;

    for (size_t i = 0; i <= 7; i++)
        assert_int_equal(model_can_cut(m, i), i == 0 || i == 1 || i == 6 || i == 7);
    whole = pass_create(m, &(struct pass_config){0, 7, ROWS, 0}, NULL);
    float *logits =
        mem_dup(pass_forward(whole, &batch), ROWS * CLASSES * sizeof(*logits));
    set_upstream(whole, ROWS);
    dx[0] = mem_alloc(ROWS * FEATURES * sizeof(float));
    pass_backward(whole, m->gradients, dx[0], note_layer, &order);
    assert_string_equal(order.p, " 6 5 4 3 2 1 0");
    float *gradients = mem_dup(m->gradients, m->n * sizeof(float));

    str_cut(&order, 0);
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] =
            pass_create(m, &(struct pass_config){cuts[i], cuts[i + 1], ROWS, 0}, NULL);
        batch.x = pass_forward(parts[i], &batch);
    }
    assert_memory_equal(batch.x, logits, ROWS * CLASSES * sizeof(float));
    memset(m->gradients, 0, m->n * sizeof(float));
    set_upstream(parts[2], ROWS);
    pass_backward(parts[2], m->gradients, dy[1], note_layer, &order);
    memcpy(pass_upstream(parts[1]), dy[1], sizeof(dy[1]));
    pass_backward(parts[1], m->gradients, dy[0], note_layer, &order);
    memcpy(pass_upstream(parts[0]), dy[0], sizeof(dy[0]));
    dx[1] = mem_alloc(ROWS * FEATURES * sizeof(float));
    pass_backward(parts[0], m->gradients, dx[1], note_layer, &order);
    assert_string_equal(order.p, " 6 5 4 3 2 1 0");
    assert_memory_equal(m->gradients, gradients, m->n * sizeof(float));
    assert_memory_equal(dx[0], dx[1], ROWS * FEATURES * sizeof(float));

    for (size_t i = 0; i < PARTS; i++)
        pass_destroy(parts[i]);
    pass_destroy(whole);
    void *all[] = {x, logits, gradients, dx[0], dx[1]};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
    str_free(&order);
    model_destroy(m);
}

/* ---- residual networks ---- */

static struct model *make_resnet(const char *kind, size_t side, size_t classes)
{
    struct model *m = model_create(
        device, &(struct model_config){kind, {side, side, 3}, classes, NULL, 0, 1, 0},
        NULL);
    assert_non_null(m);
    return m;
}

static bool has_layer(const struct model *m, const char *name)
{
    for (size_t i = 0; i < m->n_layers; i++)
        if (strcmp(m->layers[i].name, name) == 0)
            return true;
    return false;
}

/* Names and sizes as torchvision has them, but for what is before the blocks of small
 * images. */
static void test_resnets_are_those_of_torchvision(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        size_t side, classes, parameters, states;
        const char *shape, *has, *has_not;
    } vectors[] = {
        {"resnet18", 64, 10, 11173962, 9600,
         "64x64x3-64x64x64-32x32x128-16x16x256-8x8x512-512-10", "layer4.1.bn2",
         "layer1.0.downsample.0"},
        {"resnet18", 224, 1000, 11689512, 9600,
         "224x224x3-112x112x64-56x56x64-28x28x128-14x14x256-7x7x512-512-1000", "maxpool",
         "layer1.2.conv1"},
        {"resnet50", 33, 10, 23520842, 53120,
         "33x33x3-33x33x64-33x33x256-17x17x512-9x9x1024-5x5x2048-2048-10",
         "layer1.0.downsample.1", "maxpool"},
        {"resnet50", 224, 1000, 25557032, 53120,
         "224x224x3-112x112x64-56x56x64-56x56x256-28x28x512-14x14x1024-7x7x2048-2048-"
         "1000",
         "layer3.5.conv3", "layer3.6.conv1"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct str text = STR_INIT;
        struct model *m =
            make_resnet(vectors[i].kind, vectors[i].side, vectors[i].classes);
        assert_int_equal(m->n_parameters, vectors[i].parameters);
        assert_int_equal(m->n_state, vectors[i].states);
        model_describe(m, &text);
        assert_string_equal(text.p, vectors[i].shape);
        assert_true(has_layer(m, vectors[i].has));
        assert_false(has_layer(m, vectors[i].has_not));
        assert_string_equal(m->layers[m->n_layers - 1].name, "fc");
        str_free(&text);
        model_destroy(m);
    }
}

/* Too many parameters to vary each: along the gradient the loss rises by its length. To
 * normalise few numbers, as the last layers do here, makes much of rounding. */
static void check_along_gradient(const struct model *m, const double *x,
                                 const int32_t *labels, const struct batch *b)
{
    double *values = reference_widen(m->values, m->n), length = 0, loss[2];
    const double step = 1e-7;

    for (size_t i = 0; i < m->n; i++)
        length += pow((double)m->gradients[i], 2);
    length = sqrt(length);
    for (int side = 0; side < 2; side++) {
        double by = (side ? step : -step) / length;
        for (size_t i = 0; i < m->n; i++)
            values[i] = (double)m->values[i] + by * (double)m->gradients[i];
        loss[side] = network_loss(m, values, NULL, x, labels, b, NULL);
    }
    assert_near((loss[1] - loss[0]) / (2 * step), length, 1e-3 * length);
    free(values);
}

static void test_resnet_agrees_with_a_plain_one(void **state)
{
    (void)state;
    enum { FEW = 3 };
    struct model *m = make_resnet("resnet18", 8, CLASSES);
    struct pass *p =
        pass_create(m, &(struct pass_config){0, m->n_layers, FEW, FEW}, NULL);
    size_t n_x = FEW * m->layers[0].in;
    float *x = reference_numbers(n_x, 7);
    double *xd = reference_widen(x, n_x), *values = reference_widen(m->values, m->n);
    static const int32_t labels[] = {0, 1, 2};
    static const uint32_t index[] = {0, 1, 2};
    struct batch batch = in_training(FEW);

    batch.x = x;
    for (int training = 0; training < 2; training++) {
        batch.training = training;
        struct device_totals totals = {0, 0};
        double want[FEW * CLASSES];
        network_loss(m, values, training ? NULL : m->state, xd, labels, &batch, want);
        const float *logits = pass_forward(p, &batch);
        for (size_t i = 0; i < FEW * CLASSES; i++)
            assert_near((double)logits[i], want[i], 1e-4 * (1 + fabs(want[i])));
        device->ops->softmax_loss(device, FEW, CLASSES, logits, labels, index, 0,
                                  1.0f / FEW, training ? pass_upstream(p) : NULL,
                                  &totals);
    }
    pass_backward(p, m->gradients, NULL, NULL, NULL);
    check_along_gradient(m, xd, labels, &batch);
    void *all[] = {x, xd, values};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
    pass_destroy(p);
    model_destroy(m);
}

/* The stride is in the first convolution of 3x3. */
static void test_resnet_halves_images_in_its_first_3x3(void **state)
{
    (void)state;
    struct model *m = make_resnet("resnet50", 8, 10);
    size_t halved = 0;

    for (size_t i = 0; i < m->n_layers; i++) {
        const struct layer *l = &m->layers[i];
        if (l->kind != &layer_kind_conv || l->window.stride == 1)
            continue;
        halved++;
        assert_int_equal(l->window.stride, 2);
        assert_non_null(
            strstr(l->name, l->window.size == 3 ? ".0.conv2" : ".downsample.0"));
    }
    assert_int_equal(halved, 6);
    model_destroy(m);
}

/* ---- memory ---- */

static size_t rows_in_evaluation(size_t n_hidden, size_t width, size_t rows, size_t most)
{
    size_t hidden[8];

    for (size_t i = 0; i < n_hidden; i++)
        hidden[i] = width;
    struct model *m = model_create(
        device, &(struct model_config){"mlp", {1, 1, 8}, 2, hidden, n_hidden, 1, 0},
        NULL);
    struct pass *p =
        pass_create(m, &(struct pass_config){0, m->n_layers, rows, most}, NULL);
    size_t got = pass_rows(p);
    pass_destroy(p);
    model_destroy(m);
    return got;
}

static void test_evaluation_has_the_rows_that_fit(void **state)
{
    (void)state;

    /* A small model: as many as it may. */
    assert_int_equal(rows_in_evaluation(3, 32, 1, 512), 512);
    assert_int_equal(rows_in_evaluation(3, 32, 600, 512), 600);
    assert_int_equal(rows_in_evaluation(3, 32, 7, 0), 7);
    /* Ten of 2048 at once in training, 8 outputs and two gradients; in evaluation two
     * outputs. Logits and their gradient are there when others are not. */
    assert_int_equal(rows_in_evaluation(8, 2048, 600, 100000), 600 * 10 / 2);
    /* Training needs less than 16 MiB. */
    assert_int_equal(rows_in_evaluation(8, 2048, 10, 100000),
                     ((size_t)1 << 22) / (2 * 2048));
}

static void test_large_batches_are_refused(void **state)
{
    (void)state;
    struct model *m = make(1, (const size_t[]){200}, 1);
    struct err e = {0};

    assert_null(pass_create(m, &(struct pass_config){0, 2, (size_t)1 << 31, 0}, &e));
    assert_int_equal(e.code, ERR_FULL);
    assert_non_null(strstr(e.text, "an array of 2147483648 rows has 2^31 numbers"));
    pass_destroy(NULL);
    model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_configurations_are_refused),
        cmocka_unit_test(test_weights_start_by_seed_layer_and_index),
        cmocka_unit_test(test_weights_start_as_kaiming_has_it),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_dense_gradients_are_differences),
        cmocka_unit_test(test_conv_gradients_are_differences),
        cmocka_unit_test(test_pool_gradients_are_differences),
        cmocka_unit_test(test_add_gradients_are_differences),
        cmocka_unit_test(test_dropout_gradients_are_differences),
        cmocka_unit_test(test_dropout_keeps_its_share_scaled),
        cmocka_unit_test(test_dropout_does_not_depend_on_how_a_batch_is_cut),
        cmocka_unit_test(test_conv_unbiased_gradients_are_differences),
        cmocka_unit_test(test_global_avg_pool_gradients_are_differences),
        cmocka_unit_test(test_batch_norm_gradients_are_differences),
        cmocka_unit_test(test_network_agrees_with_a_plain_one),
        cmocka_unit_test(test_network_with_dropout_agrees_with_a_plain_one),
        cmocka_unit_test(test_dropout_is_no_part_of_a_model),
        cmocka_unit_test(test_cnn_agrees_with_a_plain_one),
        cmocka_unit_test(test_branches_agree_with_plain_ones),
        cmocka_unit_test(test_residual_blocks_agree_with_plain_ones),
        cmocka_unit_test(test_resnets_are_those_of_torchvision),
        cmocka_unit_test(test_resnet_agrees_with_a_plain_one),
        cmocka_unit_test(test_resnet_halves_images_in_its_first_3x3),
        cmocka_unit_test(test_parts_give_the_bits_of_the_whole),
        cmocka_unit_test(test_evaluation_has_the_rows_that_fit),
        cmocka_unit_test(test_large_batches_are_refused),
    };

    return cmocka_run_group_tests_name("model", tests, setup, teardown);
}
