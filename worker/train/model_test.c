/* The network against a plain one in double: forward by formula, gradients by central
 * differences of the loss. */
#include "worker/train/model.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/cpu.h"
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
    device = cpu_open(1);
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
        {{"mpl", {1, 1, 4}, 2, (const size_t[]){3}, 1, 1, 0}, "unknown model 'mpl'"},
        {{"mlp", {1, 1, 4}, 2, (const size_t[]){0}, 1, 1, 0},
         "layer 1: 0 by 4 weights cannot be"},
        {{"mlp", {1, 1, 0}, 2, (const size_t[]){3}, 1, 1, 0}, "layer 1"},
        {{"mlp", {1, 1, 4}, 2, (const size_t[]){3, (size_t)1 << 31}, 2, 1, 0}, "layer 2"},
        {{"mlp", {1, 1, 4}, 2, (const size_t[]){3}, 1, (size_t)1 << 31, 0},
         "a batch of 2147483648"},
        {{"cnn", {1, 1, 784}, 2, (const size_t[]){3}, 1, 1, 0},
         "these are no images, but 784 numbers each"},
        {{"cnn", {28, 15, 1}, 2, (const size_t[]){3}, 1, 1, 0},
         "pool2: images are too small for this model: a window of 2x2 meets 8x1"},
        {{"cnn", {4, 28, 1}, 2, (const size_t[]){3}, 1, 1, 0},
         "conv1: images are too small for this model: a window of 5x5 meets 4x28"},
        {{"cnn", {(size_t)1 << 20, (size_t)1 << 20, 1}, 2, NULL, 0, 1, 0},
         "conv1: images of 1048576x1048576x1 are too large"},
        {{"cnn", {28, 28, (size_t)1 << 28}, 2, NULL, 0, 1, 0}, "are too large"},
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
        device,
        &(struct model_config){"mlp", {1, 1, 300}, 10, hidden, n_hidden, 16, seed}, NULL);
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
                         "cnn", {28, 28, 1}, 10, (const size_t[]){120, 84}, 2, 1, 1},
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

/* sum(weights * y) in double. */
static double layer_sum(const struct layer *l, const double *values, const double *x,
                        size_t rows, const float *weights)
{
    double *y = mem_resize(NULL, rows * l->out, sizeof(*y)), sum = 0;

    reference_layer(l, values, rows, x, y);
    for (size_t i = 0; i < rows * l->out; i++)
        sum += y[i] * (double)weights[i];
    free(y);
    return sum;
}

static void check_layer(struct layer l, size_t rows)
{
    size_t n = 0, n_x = rows * l.in, n_y = rows * l.out;

    for (int k = 0; k < l.n_parameters; k++) {
        l.parameters[k].offset = n;
        n += l.parameters[k].count;
    }
    float *values = reference_numbers(n, 1), *x = reference_numbers(n_x, 2),
          *dy = reference_numbers(n_y, 3);
    float *y = reference_numbers(n_y, 4), *dx = reference_numbers(n_x, 5),
          *g = reference_numbers(n, 6);
    float *weights = mem_dup(dy, n_y * sizeof(*dy));
    double *w = reference_widen(values, n), *xd = reference_widen(x, n_x);
    const double step = 1e-6;

    reference_poison(y, n_y);
    reference_poison(dx, n_x);
    reference_poison(g, n);
    l.kind->forward(&l, device, values, rows, x, y);
    l.kind->backward(&l, device, values, g, rows, x, y, dy, dx);
    for (size_t i = 0; i < n + n_x; i++) {
        double *at = i < n ? &w[i] : &xd[i - n], kept = *at;
        *at = kept + step;
        double up = layer_sum(&l, w, xd, rows, weights);
        *at = kept - step;
        double down = layer_sum(&l, w, xd, rows, weights);
        *at = kept;
        assert_near((double)(i < n ? g[i] : dx[i - n]), (up - down) / (2 * step),
                    4 * FLT_EPSILON * (double)(rows + l.out) + 1e-7);
    }
    float *all[] = {values, x, dy, y, dx, g, weights};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
    free(w);
    free(xd);
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

/* ---- the whole network ---- */

/* Mean cross-entropy over the rows, in double; logits [rows][classes] if not NULL. */
static double network_loss(const struct model *m, const double *values, const double *x,
                           const int32_t *labels, size_t rows, double *logits)
{
    enum { MOST = 2 * 12 * 12 * 6 };
    double loss = 0, space[2][MOST];
    const double *a = x;
    size_t classes = m->layers[m->n_layers - 1].out;

    for (size_t k = 0; k < m->n_layers; k++) {
        assert_true(rows * m->layers[k].out <= MOST);
        reference_layer(&m->layers[k], values, rows, a, space[k % 2]);
        a = space[k % 2];
    }
    if (logits)
        memcpy(logits, a, rows * classes * sizeof(*a));
    for (size_t r = 0; r < rows; r++, a += classes) {
        double sum = 0;
        for (size_t c = 0; c < classes; c++)
            sum += exp(a[c]);
        loss += log(sum) - a[labels[r]];
    }
    return loss / (double)rows;
}

static void check_network(const char *kind, struct image sample, const size_t *hidden,
                          size_t n_hidden, size_t rows)
{
    enum { CLASSES = 3, ROWS = 9 };
    struct model *m = model_create(
        device, &(struct model_config){kind, sample, CLASSES, hidden, n_hidden, ROWS, 3},
        NULL);
    size_t n_x = rows * reference_size(sample);
    float *x = reference_numbers(n_x, 7);
    double *values = reference_widen(m->values, m->n), *xd = reference_widen(x, n_x),
           want[ROWS * CLASSES];
    struct device_totals totals = {0, 0};
    int32_t labels[ROWS];
    uint32_t index[ROWS];

    for (uint32_t r = 0; r < ROWS; r++) {
        index[r] = r;
        labels[r] = (int32_t)(r % CLASSES);
    }
    double loss = network_loss(m, values, xd, labels, rows, want);
    const float *logits = model_forward(m, rows, x);
    for (size_t i = 0; i < rows * CLASSES; i++)
        assert_near((double)logits[i], want[i], 1e-5);
    device->ops->softmax_loss(device, rows, CLASSES, logits, labels, index, 0,
                              m->upstream, &totals);
    assert_near(totals.loss / (double)rows, loss, 1e-5);
    model_backward(m, rows, x);
    for (size_t k = 0; k < m->n_layers; k++)
        for (int p = 0; p < m->layers[k].n_parameters; p++) {
            const struct parameter *q = &m->layers[k].parameters[p];
            for (size_t i = q->offset; i < q->offset + q->count; i++) {
                double kept = values[i], step = 1e-6;
                values[i] = kept + step;
                double up = network_loss(m, values, xd, labels, rows, NULL);
                values[i] = kept - step;
                double down = network_loss(m, values, xd, labels, rows, NULL);
                values[i] = kept;
                assert_near((double)m->gradients[i], (up - down) / (2 * step), 1e-6);
            }
        }
    free(x);
    free(values);
    free(xd);
    model_destroy(m);
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

static void test_cnn_agrees_with_a_plain_one(void **state)
{
    (void)state;
    /* The smallest images that leave the second pooling one place. */
    check_network("cnn", (struct image){16, 16, 1}, (const size_t[]){5, 4}, 2, 2);
    check_network("cnn", (struct image){16, 17, 2}, (const size_t[]){5}, 1, 1);
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
        cmocka_unit_test(test_network_agrees_with_a_plain_one),
        cmocka_unit_test(test_cnn_agrees_with_a_plain_one),
    };

    return cmocka_run_group_tests_name("model", tests, setup, teardown);
}
