/* Convolution and pooling of the device against plain ones in double. The tolerance
 * scales with rounding: so many times float32's epsilon, times the magnitudes that were
 * added. Results are full of NaN before: each must be written. In three threads, which
 * the larger cases have work for. */
#include "worker/train/subject.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/reference.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct device *device;
static double rounding = 8 * FLT_EPSILON;

static int setup(void **state)
{
    (void)state;
    device = subject_open(3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    device_close(device);
    return 0;
}

static void assert_near(double got, double want, double magnitude)
{
    if (!(fabs(got - want) <= rounding * magnitude))
        fail_msg("%.9g is not %.9g", got, want);
}

/* Activations: in 16 bits such as these hold, with 4 added, too. */
static float *numbers(size_t n, uint32_t which)
{
    float *v = reference_numbers(n, which);

    for (size_t i = 0; i < n && rounding > 1e-4; i++)
        v[i] = roundf(v[i] * 32) / 32;
    return v;
}

/* ---- convolution ---- */

struct conv {
    struct device_slide s;
    size_t n_x, n_weight, n_y;
    float *x, *weight, *y, *bias;
    double *xd, *weightd, *yd;
    double *want, *magnitude;
};

static void conv_make(struct conv *c, const struct device_slide *s)
{
    size_t size = s->window.size;

    *c = (struct conv){.s = *s};
    c->n_x = s->rows * image_size(s->in);
    c->n_weight = s->out.c * size * size * s->in.c;
    c->n_y = s->rows * image_size(s->out);
    c->x = reference_numbers(c->n_x, 1);
    c->weight = reference_numbers(c->n_weight, 2);
    c->y = reference_numbers(c->n_y, 3);
    c->bias = reference_numbers(s->out.c, 4);
    c->xd = reference_widen(c->x, c->n_x);
    c->weightd = reference_widen(c->weight, c->n_weight);
    c->yd = reference_widen(c->y, c->n_y);
    size_t most = c->n_x + c->n_weight + c->n_y;
    c->want = mem_resize(NULL, most, sizeof(double));
    c->magnitude = mem_resize(NULL, most, sizeof(double));
}

static void conv_free(struct conv *c)
{
    void *all[] = {c->x,       c->weight, c->y,    c->bias,     c->xd,
                   c->weightd, c->yd,     c->want, c->magnitude};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void refer(struct conv *c, enum reference_target target)
{
    reference_conv(&c->s, target, c->xd, c->weightd, c->yd, c->want, c->magnitude);
}

static void check_forward(struct conv *c, const float *bias, enum device_activation a)
{
    refer(c, REFERENCE_Y);
    reference_poison(c->y, c->n_y);
    device->ops->conv(device, &c->s, c->x, c->weight, bias, a, c->y);
    for (size_t i = 0; i < c->n_y; i++) {
        double b = bias ? (double)bias[i % c->s.out.c] : 0, z = c->want[i] + b;
        if (bias && a == ACTIVATION_RELU && z < 0)
            z = 0;
        assert_near((double)c->y[i], z, c->magnitude[i] + fabs(b));
    }
}

static void check_backward(struct conv *c)
{
    float *dy = reference_numbers(c->n_y, 3);

    refer(c, REFERENCE_X);
    reference_poison(c->x, c->n_x);
    device->ops->conv_backward_data(device, &c->s, c->weight, dy, c->x);
    for (size_t i = 0; i < c->n_x; i++)
        assert_near((double)c->x[i], c->want[i], c->magnitude[i]);
    free(c->x);
    c->x = reference_numbers(c->n_x, 1);

    refer(c, REFERENCE_WEIGHT);
    for (int with_bias = 0; with_bias < 2; with_bias++) {
        reference_poison(c->weight, c->n_weight);
        reference_poison(c->bias, c->s.out.c);
        device->ops->conv_backward_weight(device, &c->s, c->x, dy, c->weight,
                                          with_bias ? c->bias : NULL);
        for (size_t i = 0; i < c->n_weight; i++)
            assert_near((double)c->weight[i], c->want[i], c->magnitude[i]);
    }
    for (size_t o = 0; o < c->s.out.c; o++) {
        double sum = 0, magnitude = 0;
        for (size_t i = o; i < c->n_y; i += c->s.out.c) {
            sum += c->yd[i];
            magnitude += fabs(c->yd[i]);
        }
        assert_near((double)c->bias[o], sum, magnitude);
    }
    free(dy);
}

/* rows, in, channels, window */
static struct device_slide slide(size_t rows, struct image in, size_t channels,
                                 struct window w)
{
    struct image out = {window_steps(w, in.h), window_steps(w, in.w), channels};
    return (struct device_slide){rows, in, out, w};
}

static void test_convolution_and_its_gradients(void **state)
{
    (void)state;
    const struct device_slide cases[] = {
        slide(1, (struct image){1, 1, 1}, 1, (struct window){1, 1, 0}),
        slide(1, (struct image){5, 5, 3}, 2, (struct window){5, 1, 0}),
        slide(3, (struct image){28, 28, 1}, 6, (struct window){5, 1, 0}),
        slide(5, (struct image){12, 12, 6}, 16, (struct window){5, 1, 0}),
        slide(2, (struct image){9, 7, 3}, 5, (struct window){3, 1, 1}),
        slide(4, (struct image){9, 10, 17}, 19, (struct window){3, 2, 1}),
        slide(2, (struct image){8, 8, 16}, 32, (struct window){1, 2, 0}),
        slide(2, (struct image){15, 11, 3}, 4, (struct window){7, 2, 3}),
        slide(3, (struct image){2, 3, 2}, 3, (struct window){3, 3, 2}),
        slide(67, (struct image){6, 6, 2}, 3, (struct window){3, 1, 1}),
        slide(7, (struct image){20, 20, 2}, 24, (struct window){3, 1, 1}),
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct conv c;
        conv_make(&c, &cases[i]);
        check_forward(&c, NULL, ACTIVATION_NONE);
        check_forward(&c, c.bias, ACTIVATION_NONE);
        check_forward(&c, c.bias, ACTIVATION_RELU);
        check_backward(&c);
        conv_free(&c);
    }
}

/* The last batch of an epoch is shorter than the others, and validation's are longer. */
static void test_convolution_with_changing_rows(void **state)
{
    (void)state;
    static const size_t rows[] = {7, 3, 50, 7, 1};

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct device_slide s =
            slide(rows[i], (struct image){12, 12, 6}, 16, (struct window){5, 1, 0});
        struct conv c;
        conv_make(&c, &s);
        check_forward(&c, c.bias, ACTIVATION_RELU);
        check_backward(&c);
        conv_free(&c);
    }
}

/* Each number loses less than half of 2^-7 of itself, and two are multiplied. */
static void test_convolution_in_bf16(void **state)
{
    struct device *fp32 = device, *bf16 = subject_open(3);

    if (bf16->ops->set_precision(bf16, PRECISION_BF16, NULL) < 0) {
        device_close(bf16);
        skip();
    }
    device = bf16;
    rounding = 1.0 / 128;
    test_convolution_and_its_gradients(state);
    test_convolution_with_changing_rows(state);
    device = fp32;
    rounding = 8 * FLT_EPSILON;
    device_close(bf16);
}

/* Of 11 bits, two numbers that are multiplied, and in fp16 the result. CPUs have neither.
 */
static void test_convolution_in_precisions_of_gpus(void **state)
{
    static const enum device_precision precisions[] = {PRECISION_TF32, PRECISION_FP16};
    struct device *fp32 = device;

    for (size_t i = 0; i < COUNT(precisions); i++) {
        device = subject_open(1);
        rounding = 1.0 / 512;
        if (device->ops->set_precision(device, precisions[i], NULL) == 0)
            test_convolution_and_its_gradients(state);
        device_close(device);
    }
    device = fp32;
    rounding = 8 * FLT_EPSILON;
}

static void test_convolution_keeps_a_nan(void **state)
{
    (void)state;
    const struct device_slide s =
        slide(1, (struct image){3, 3, 1}, 1, (struct window){3, 1, 0});
    float x[9] = {0, 0, 0, 0, NAN}, weight[9] = {0}, bias[1] = {0}, y[1] = {0};

    device->ops->conv(device, &s, x, weight, bias, ACTIVATION_RELU, y);
    assert_true(isnan(y[0]));
}

/* ---- pooling ---- */

static void check_pool(const struct device_slide *s, float *x)
{
    size_t n_x = s->rows * image_size(s->in), n_y = s->rows * image_size(s->out);
    float *y = mem_alloc(n_y * sizeof(*y)), *dx = mem_alloc(n_x * sizeof(*dx));
    float *dy = numbers(n_y, 2);
    double *xd = reference_widen(x, n_x), *want = mem_alloc(n_x * sizeof(*want));
    double *magnitude = mem_alloc(n_x * sizeof(*magnitude));
    size_t *places = mem_alloc(n_y * sizeof(*places));

    reference_max_pool(s, xd, places);
    reference_poison(y, n_y);
    device->ops->max_pool(device, s, x, y);
    for (size_t i = 0; i < n_y; i++) {
        assert_true(y[i] == x[places[i]]);
        want[places[i]] += (double)dy[i];
        magnitude[places[i]] += fabs((double)dy[i]);
    }
    reference_poison(dx, n_x);
    device->ops->max_pool_backward(device, s, x, y, dy, dx);
    for (size_t i = 0; i < n_x; i++)
        assert_near((double)dx[i], want[i], magnitude[i]);
    void *all[] = {x, y, dx, dy, xd, want, magnitude, places};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void test_pooling_and_its_gradient(void **state)
{
    (void)state;
    const struct device_slide cases[] = {
        slide(1, (struct image){1, 1, 1}, 1, (struct window){1, 1, 0}),
        slide(3, (struct image){24, 24, 6}, 6, (struct window){2, 2, 0}),
        slide(2, (struct image){7, 5, 3}, 3, (struct window){2, 2, 0}),
        slide(2, (struct image){9, 8, 16}, 16, (struct window){3, 2, 1}),
        slide(1, (struct image){6, 6, 9}, 9, (struct window){3, 1, 1}),
        slide(4, (struct image){7, 7, 1}, 1, (struct window){2, 3, 0}),
        slide(20, (struct image){24, 24, 6}, 6, (struct window){2, 2, 0}),
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct device_slide *s = &cases[i];
        size_t n = s->rows * image_size(s->in);
        float *coarse = reference_numbers(n, 1);
        check_pool(s, numbers(n, 1));
        /* Many alike: the first of them has the gradient. */
        for (size_t k = 0; k < n; k++)
            coarse[k] = roundf(coarse[k] * 2);
        check_pool(s, coarse);
    }
}

static void test_pooling_keeps_a_nan(void **state)
{
    (void)state;
    const struct device_slide s =
        slide(1, (struct image){2, 2, 1}, 1, (struct window){2, 2, 0});

    for (size_t i = 0; i < 4; i++) {
        float x[4] = {1, 2, 3, 4}, y[1] = {0};
        x[i] = NAN;
        device->ops->max_pool(device, &s, x, y);
        assert_true(isnan(y[0]));
    }
}

/* ---- batch normalisation ---- */

/* A mean far from zero would show what is lost where large numbers are subtracted. */
static float *away_from_zero(size_t n)
{
    float *x = numbers(n, 1);

    for (size_t i = 0; i < n; i++)
        x[i] = 4 + x[i];
    return x;
}

static void check_batch_norm(size_t n, size_t c, enum device_activation activation)
{
    float *x = away_from_zero(n * c), *weight = reference_numbers(c, 2),
          *bias = reference_numbers(c, 3), *running_mean = reference_numbers(c, 4),
          *running_var = reference_numbers(c, 5), *mean = mem_alloc(c * sizeof(float)),
          *rstd = mem_alloc(c * sizeof(float)), *y = mem_alloc(n * c * sizeof(float));
    double *xd = reference_widen(x, n * c);
    struct device_batch_norm b = {n,           c,      1e-5f, 0.25f,
                                  activation,  weight, bias,  running_mean,
                                  running_var, mean,   rstd};

    for (int training = 0; training < 2; training++) {
        double *old_mean = reference_widen(running_mean, c),
               *old_var = reference_widen(running_var, c);
        for (size_t i = 0; i < c; i++)
            running_var[i] = (float)(old_var[i] = fabs(old_var[i]) + 0.5);
        reference_poison(y, n * c);
        (training ? device->ops->batch_norm : device->ops->batch_norm_running)(device, &b,
                                                                               x, y);
        for (size_t i = 0; i < c; i++) {
            double m = old_mean[i], v = old_var[i], unbiased;
            if (training) {
                reference_moments(n, c, xd + i, &m, &v);
                unbiased = n > 1 ? v * (double)n / (double)(n - 1) : v;
                assert_near((double)mean[i], m, 5);
                assert_near((double)running_mean[i], 0.75 * old_mean[i] + 0.25 * m, 2);
                assert_near((double)running_var[i], 0.75 * old_var[i] + 0.25 * unbiased,
                            2);
            }
            double r = 1 / sqrt(v + (double)1e-5f);
            for (size_t k = i; k < n * c; k += c) {
                double z = (xd[k] - m) * r * (double)weight[i] + (double)bias[i];
                if (activation == ACTIVATION_RELU && z < 0)
                    z = 0;
                assert_near((double)y[k], z, (n > 1 ? 1 + 5 * r : 1) * 2);
            }
        }
        free(old_mean);
        free(old_var);
    }
    void *all[] = {x, weight, bias, running_mean, running_var, mean, rstd, y, xd};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void test_batch_norm(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1},   {1, 7},   {2, 3},     {31, 64},
                                      {33, 17}, {64, 64}, {70000, 3}, {4097, 20}};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        check_batch_norm(sizes[i][0], sizes[i][1], ACTIVATION_NONE);
        check_batch_norm(sizes[i][0], sizes[i][1], ACTIVATION_RELU);
    }
}

/* Of y = act((x - m) r w + b), m and r being those of the batch: dx is w r times
 * g - mean(g) - (x - m) r mean(g (x - m) r), g being dy where y is not 0. */
static void check_batch_norm_backward(size_t n, size_t c,
                                      enum device_activation activation)
{
    float *x = away_from_zero(n * c), *weight = reference_numbers(c, 2),
          *bias = reference_numbers(c, 3), *dy = numbers(n * c, 4),
          *mean = mem_alloc(c * sizeof(float)), *rstd = mem_alloc(c * sizeof(float)),
          *state = mem_alloc(2 * c * sizeof(float)),
          *y = mem_alloc(n * c * sizeof(float)), *dx = mem_alloc(n * c * sizeof(float)),
          *dweight = mem_alloc(c * sizeof(float)), *dbias = mem_alloc(c * sizeof(float));
    double *xd = reference_widen(x, n * c);
    struct device_batch_norm b = {n,    c,     1e-5f,     0.1f, activation, weight,
                                  bias, state, state + c, mean, rstd};

    device->ops->batch_norm(device, &b, x, y);
    reference_poison(dx, n * c);
    reference_poison(dweight, c);
    reference_poison(dbias, c);
    device->ops->batch_norm_backward(device, &b, x, dy, dweight, dbias, dx);
    for (size_t i = 0; i < c; i++) {
        double m, v, sum = 0, product = 0, magnitude = 0;
        reference_moments(n, c, xd + i, &m, &v);
        double r = 1 / sqrt(v + (double)1e-5f);
        for (size_t k = i; k < n * c; k += c) {
            double g = activation == ACTIVATION_RELU && y[k] == 0 ? 0 : (double)dy[k];
            sum += g;
            product += g * (xd[k] - m) * r;
            magnitude += fabs(g) * (1 + 5 * r);
        }
        assert_near((double)dbias[i], sum, magnitude);
        assert_near((double)dweight[i], product, magnitude);
        for (size_t k = i; k < n * c; k += c) {
            double g = activation == ACTIVATION_RELU && y[k] == 0 ? 0 : (double)dy[k];
            double away = (xd[k] - m) * r, scale = (double)weight[i] * r;
            assert_near((double)dx[k], scale * (g - (sum + away * product) / (double)n),
                        fabs(scale) * (1 + 5 * r) * 4);
        }
    }
    void *all[] = {x, weight, bias, dy, mean, rstd, state, y, dx, dweight, dbias, xd};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void test_batch_norm_backward(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{2, 3}, {33, 17}, {64, 64}, {70000, 3}, {4097, 20}};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        check_batch_norm_backward(sizes[i][0], sizes[i][1], ACTIVATION_NONE);
        check_batch_norm_backward(sizes[i][0], sizes[i][1], ACTIVATION_RELU);
    }
}

static void test_batch_norm_keeps_a_nan(void **state)
{
    (void)state;
    float x[] = {1, NAN}, one[] = {1}, zero[] = {0}, mean[] = {0}, var[] = {1};
    float batch_mean[1], rstd[1], y[2] = {0};
    struct device_batch_norm b = {2,    1,   1e-5f,      0.1f, ACTIVATION_RELU, one, zero,
                                  mean, var, batch_mean, rstd};

    device->ops->batch_norm_running(device, &b, x, y);
    assert_true(y[0] > 0 && isnan(y[1]));
    device->ops->batch_norm(device, &b, x, y);
    assert_true(isnan(y[0]) && isnan(y[1]) && isnan(mean[0]));
}

/* Where a device keeps activations in 16 bits, results are rounded once; else it is as in
 * fp32. */
static void test_images_in_16_bits(void **state)
{
    static const enum device_precision precisions[] = {PRECISION_BF16, PRECISION_FP16};
    struct device *fp32 = device;

    for (size_t i = 0; i < COUNT(precisions); i++) {
        device = subject_open(1);
        rounding = precisions[i] == PRECISION_BF16 ? 1.0 / 128 : 1.0 / 512;
        if (device->ops->set_precision(device, precisions[i], NULL) == 0) {
            test_pooling_and_its_gradient(state);
            test_pooling_keeps_a_nan(state);
            test_batch_norm(state);
            test_batch_norm_backward(state);
            test_batch_norm_keeps_a_nan(state);
            test_convolution_keeps_a_nan(state);
        }
        device_close(device);
    }
    device = fp32;
    rounding = 8 * FLT_EPSILON;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolution_and_its_gradients),
        cmocka_unit_test(test_convolution_with_changing_rows),
        cmocka_unit_test(test_convolution_in_bf16),
        cmocka_unit_test(test_convolution_in_precisions_of_gpus),
        cmocka_unit_test(test_convolution_keeps_a_nan),
        cmocka_unit_test(test_pooling_and_its_gradient),
        cmocka_unit_test(test_pooling_keeps_a_nan),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_batch_norm_backward),
        cmocka_unit_test(test_batch_norm_keeps_a_nan),
        cmocka_unit_test(test_images_in_16_bits),
    };

    return cmocka_run_group_tests_name("cpu_image", tests, setup, teardown);
}
