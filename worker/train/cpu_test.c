/* Each operation of the device against a plain one in double. The tolerance scales with
 * rounding: so many times float32's epsilon, times the magnitudes that were added. */
#include "worker/train/cpu.h"
#include "worker/train/subject.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/draw.h"
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
    device = subject_open(1);
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

static void test_impossible_memory_is_refused(void **state)
{
    (void)state;
    struct err e = {0};
    void *p = NULL;

    assert_int_equal(device->ops->allocate(device, SIZE_MAX, &p, &e), ERR_FULL);
    assert_int_equal(device->ops->allocate(device, PTRDIFF_MAX, &p, &e), ERR_FULL);
    assert_null(p);
    device->ops->release(device, NULL);
    device_close(NULL);
}

static void test_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 1000};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        void *p;
        assert_int_equal(device->ops->allocate(device, sizes[i], &p, NULL), 0);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(((char *)p)[k], 0);
        device->ops->release(device, p);
    }
}

static void check_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, const float *bias,
                       enum device_activation activation, bool weight_gradient)
{
    float *a = reference_numbers(m * k, 1), *b = reference_numbers(k * n, 2),
          *c = reference_numbers(m * n, 3);

    device->ops->gemm(device, &(struct device_gemm){ta, tb, m, n, k, a, b, c, bias,
                                                    activation, weight_gradient});
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double want = bias ? (double)bias[j] : 0, magnitude = fabs(want);
            for (size_t l = 0; l < k; l++) {
                double term = (double)a[ta ? l * m + i : i * k + l] *
                              (double)b[tb ? j * k + l : l * n + j];
                want += term;
                magnitude += fabs(term);
            }
            if (bias && activation == ACTIVATION_RELU && want < 0)
                want = 0;
            assert_near(c[i * n + j], want, magnitude);
        }
    free(a);
    free(b);
    free(c);
}

static void test_memory_is_counted_and_limited(void **state)
{
    (void)state;
    struct device *d = cpu_open(1);
    struct device_memory m;
    struct err e;
    void *p, *q;

    assert_int_equal(d->ops->allocate(d, 1000, &p, NULL), 0);
    assert_int_equal(d->ops->allocate(d, 500, &q, NULL), 0);
    d->ops->release(d, q);
    d->ops->memory(d, &m);
    assert_int_equal(m.used, 1000);
    assert_int_equal(m.peak, 1500);
    d->ops->limit(d, 400);
    assert_int_equal(d->ops->allocate(d, 500, &q, &e), ERR_FULL);
    assert_non_null(strstr(e.text, "left: cannot allocate"));
    assert_int_equal(d->ops->allocate(d, 400, &q, &e), 0);
    d->ops->release(d, p);
    d->ops->release(d, q);
    device_close(d);
}

static void test_precisions_of_gpus_are_refused(void **state)
{
    (void)state;
    struct device *d = cpu_open(1);
    struct err e;

    assert_int_equal(d->ops->set_precision(d, PRECISION_TF32, &e), ERR_UNSUPPORTED);
    assert_int_equal(d->ops->set_precision(d, PRECISION_FP16, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "use fp32 or bf16"));
    device_close(d);
}

static void test_unscale(void **state)
{
    (void)state;
    enum { N = 37 };
    float g[N];
    bool finite = false;

    for (int i = 0; i < N; i++)
        g[i] = (float)i * 8;
    assert_int_equal(device->ops->unscale(device, 0.125f, N, g, &finite, NULL), 0);
    assert_true(finite);
    for (int i = 0; i < N; i++)
        assert_true(g[i] == (float)i);
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    for (int i = 0; i < 3; i++) {
        g[i * 17] = bad[i];
        assert_int_equal(device->ops->unscale(device, 1, N, g, &finite, NULL), 0);
        assert_false(finite);
        g[i * 17] = 0;
    }
}

static void test_gemm_in_all_its_forms(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {64, 10, 33}, {17, 130, 129}};

    for (size_t s = 0; s < COUNT(sizes); s++) {
        float *bias = reference_numbers(sizes[s][1], 4);
        for (int t = 0; t < 4; t++) {
            check_gemm(t & 1, t & 2, sizes[s][0], sizes[s][1], sizes[s][2], NULL,
                       ACTIVATION_NONE, false);
            check_gemm(t & 1, t & 2, sizes[s][0], sizes[s][1], sizes[s][2], NULL,
                       ACTIVATION_NONE, true);
            check_gemm(t & 1, t & 2, sizes[s][0], sizes[s][1], sizes[s][2], bias,
                       ACTIVATION_NONE, false);
            check_gemm(t & 1, t & 2, sizes[s][0], sizes[s][1], sizes[s][2], bias,
                       ACTIVATION_RELU, false);
        }
        free(bias);
    }
}

static void test_gemm_in_bf16(void **state)
{
    struct device *fp32 = device, *bf16 = subject_open(2);
    float a[] = {1 + 1.0f / 1024, 1}, b[] = {1, 1}, c[1];
    struct err e = {0};

    if (bf16->ops->set_precision(bf16, PRECISION_BF16, &e) < 0) {
        assert_int_equal(e.code, ERR_UNSUPPORTED);
        assert_non_null(strstr(e.text, "use fp32"));
        device_close(bf16);
        skip();
    }
    device = bf16;
    /* Inputs are rounded, and sums are not. */
    device->ops->gemm(
        device,
        &(struct device_gemm){
            .m = 1, .n = 1, .k = 2, .a = a, .b = b, .c = c, .weight_gradient = true});
    assert_true(c[0] == 2);
    a[0] = 1.0f / 1024;
    device->ops->gemm(
        device,
        &(struct device_gemm){
            .m = 1, .n = 1, .k = 2, .a = a, .b = b, .c = c, .weight_gradient = true});
    assert_true(c[0] == 1 + 1.0f / 1024);
    /* Each number loses less than half of 2^-7 of itself, and two are multiplied. */
    rounding = 1.0 / 128;
    test_gemm_in_all_its_forms(state);
    device = fp32;
    rounding = 8 * FLT_EPSILON;
    device_close(bf16);
}

/* Of 11 bits, two numbers that are multiplied, and in fp16 the result. CPUs have neither.
 */
static void test_gemm_in_precisions_of_gpus(void **state)
{
    static const enum device_precision precisions[] = {PRECISION_TF32, PRECISION_FP16};
    struct device *fp32 = device;

    for (size_t i = 0; i < COUNT(precisions); i++) {
        device = subject_open(1);
        rounding = 1.0 / 512;
        if (device->ops->set_precision(device, precisions[i], NULL) == 0)
            test_gemm_in_all_its_forms(state);
        device_close(device);
    }
    device = fp32;
    rounding = 8 * FLT_EPSILON;
}

static void test_relu_keeps_a_nan(void **state)
{
    (void)state;
    float a[] = {NAN}, b[] = {1}, bias[] = {0}, c[1];

    device->ops->gemm(device, &(struct device_gemm){.m = 1,
                                                    .n = 1,
                                                    .k = 1,
                                                    .a = a,
                                                    .b = b,
                                                    .c = c,
                                                    .bias = bias,
                                                    .activation = ACTIVATION_RELU});
    assert_true(isnan(c[0]));
}

static void test_activation_backward(void **state)
{
    (void)state;
    enum { ROWS = 9, COLS = 21 };

    for (int relu = 0; relu < 2; relu++) {
        float *y = numbers(ROWS * COLS, 1), *dy = numbers(ROWS * COLS, 2);
        float *given = mem_dup(dy, ROWS * COLS * sizeof(*dy)), dbias[COLS];
        for (size_t i = 0; i < ROWS * COLS; i++)
            y[i] = relu && y[i] < 0 ? 0 : y[i];
        device->ops->activation_backward(device, relu ? ACTIVATION_RELU : ACTIVATION_NONE,
                                         ROWS, COLS, y, dy, dbias);
        for (size_t c = 0; c < COLS; c++) {
            double sum = 0;
            for (size_t r = 0; r < ROWS; r++) {
                float want = relu && y[r * COLS + c] == 0 ? 0 : given[r * COLS + c];
                assert_true(dy[r * COLS + c] == want);
                sum += (double)want;
            }
            assert_near(dbias[c], sum, ROWS);
        }
        free(y);
        free(dy);
        free(given);
    }
}

/* Softmax cross-entropy of one row, and its gradient times `rows`. */
static double loss_of(const float *z, size_t classes, size_t label, double smoothing,
                      double *gradient)
{
    double sum = 0, loss = 0;
    for (size_t c = 0; c < classes; c++)
        sum += exp((double)z[c]);
    for (size_t c = 0; c < classes; c++) {
        double target =
            (1 - smoothing) * (c == label ? 1 : 0) + smoothing / (double)classes;
        gradient[c] = exp((double)z[c]) / sum - target;
        loss += target * (log(sum) - (double)z[c]);
    }
    return loss;
}

static void check_softmax_loss(float smoothing)
{
    enum { ROWS = 13, CLASSES = 7 };
    float *z = numbers(ROWS * CLASSES, 1), g[ROWS * CLASSES];
    int32_t labels[ROWS];
    uint32_t index[ROWS];
    struct device_totals totals = {1.5, 2}, want = totals;

    for (uint32_t r = 0; r < ROWS; r++) {
        index[r] = (r * 5) % ROWS;
        labels[r] = (int32_t)(r * 3 % CLASSES);
    }
    z[3 * CLASSES + 1] = 20; /* one row that is sure */
    device->ops->softmax_loss(device, ROWS, CLASSES, z, labels, index, smoothing,
                              1.0f / ROWS, g, &totals);
    for (size_t r = 0; r < ROWS; r++) {
        size_t label = (size_t)labels[index[r]], best = 0;
        double gradient[CLASSES];
        want.loss +=
            loss_of(z + r * CLASSES, CLASSES, label, (double)smoothing, gradient);
        for (size_t c = 0; c < CLASSES; c++) {
            assert_near(g[r * CLASSES + c], gradient[c] / ROWS, 1.0 / ROWS);
            if (z[r * CLASSES + c] > z[r * CLASSES + best])
                best = c;
        }
        want.correct += best == label;
    }
    assert_near(totals.loss, want.loss, want.loss);
    assert_true(totals.correct == want.correct);

    struct device_totals again = {0, 0};
    device->ops->softmax_loss(device, ROWS, CLASSES, z, labels, index, smoothing, 0, NULL,
                              &again);
    assert_near(again.loss, want.loss - 1.5, want.loss);
    free(z);
}

static void test_softmax_loss(void **state)
{
    (void)state;
    static const float smoothings[] = {0, 0.1f, 0.75f};

    for (size_t i = 0; i < COUNT(smoothings); i++)
        check_softmax_loss(smoothings[i]);
}

static void test_softmax_loss_of_extremes(void **state)
{
    (void)state;
    static const struct {
        float z[2], smoothing;
        double loss; /* of label 0 */
    } vectors[] = {
        {{1000, -1000}, 0, 0},         {{-1000, 1000}, 0, 2000},
        {{3e38f, 3e38f}, 0, M_LN2},    {{NAN, 0}, 0, NAN},
        {{1000, -1000}, 0.5f, 500},    {{-1000, 1000}, 0.5f, 1500},
        {{3e38f, 3e38f}, 0.5f, M_LN2}, {{NAN, 0}, 0.5f, NAN},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct device_totals totals = {0, 0};
        device->ops->softmax_loss(device, 1, 2, vectors[i].z, (const int32_t[]){0},
                                  (const uint32_t[]){0}, vectors[i].smoothing, 1, NULL,
                                  &totals);
        if (isnan(vectors[i].loss))
            assert_true(isnan(totals.loss));
        else
            assert_near(totals.loss, vectors[i].loss, vectors[i].loss);
    }
}

/* By device.h's words. */
static void check_dropout(struct device *on, size_t rows, size_t cols, size_t row,
                          uint32_t keep)
{
    const struct device_dropout d = {rows, cols, 0xfedcba9876543210, row, keep};
    float *x = numbers(rows * cols, 1);
    float *y = mem_alloc(rows * cols * sizeof(*y));

    reference_poison(y, rows * cols);
    on->ops->dropout(on, &d, x, y);
    for (size_t i = 0; i < rows * cols; i++) {
        size_t r = i / cols, c = i % cols;
        uint64_t draws[2];
        rng_u128(d.seed, RNG_TRAIN, (uint32_t)(row + r), (uint32_t)(c / 8), DRAW_DROPOUT,
                 draws);
        bool kept = (draws[c % 8 / 4] >> c % 4 * 16 & 0xffff) < keep;
        float want = kept ? x[i] * (65536 / (float)keep) : 0;
        assert_near(y[i], want, rounding > 1e-4 ? fabsf(want) : 0);
    }
    free(x);
    free(y);
}

static void test_dropout_draws_what_its_numbers_say(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 0},   {3, 7, 5},
                                       {4, 64, 0},  {2, 65, (size_t)1 << 31},
                                       {5, 203, 1}, {97, 203, 8}};
    static const uint32_t keeps[] = {1, 20000, 32768, 65535, DROPOUT_ALL};
    struct device *three = cpu_open(3);

    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t k = 0; k < COUNT(keeps); k++) {
            check_dropout(device, shapes[i][0], shapes[i][1], shapes[i][2], keeps[k]);
            check_dropout(three, shapes[i][0], shapes[i][1], shapes[i][2], keeps[k]);
        }
    device_close(three);
}

/* ---- 16 bits ---- */

static void check_add(void)
{
    enum { N = 1003 };
    float *a = numbers(N, 1), *b = numbers(N, 2), *y = numbers(N, 3), *dy = numbers(N, 4),
          *da = numbers(N, 5), *db = numbers(N, 6);

    device->ops->add(device, ACTIVATION_RELU, N, a, b, y);
    device->ops->add_backward(device, ACTIVATION_RELU, N, y, dy, da, db);
    for (size_t i = 0; i < N; i++) {
        assert_true(y[i] == (a[i] + b[i] < 0 ? 0 : a[i] + b[i]));
        assert_true(da[i] == (y[i] == 0 ? 0 : dy[i]));
        assert_true(db[i] == da[i]);
    }
    void *all[] = {a, b, y, dy, da, db};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

/* A gradient is fp32 whatever activations are. */
static void check_accumulate(void)
{
    enum { N = 1003 };
    float *g = reference_numbers(N, 1), *old = reference_numbers(N, 1),
          *more = reference_numbers(N, 2);

    device->ops->accumulate(device, N, g, more);
    for (size_t i = 0; i < N; i++)
        assert_true(g[i] == old[i] + more[i]);
    free(g);
    free(old);
    free(more);
}

/* Where a device keeps activations in 16 bits, they are rounded once; else it is as in
 * fp32. */
static void test_operations_in_all_precisions(void **state)
{
    struct device *fp32 = device;

    for (int p = PRECISION_FP32; p <= PRECISION_FP16; p++) {
        device = subject_open(1);
        rounding = p == PRECISION_BF16   ? 1.0 / 128
                   : p == PRECISION_FP16 ? 1.0 / 512
                                         : 8 * FLT_EPSILON;
        if (device->ops->set_precision(device, (enum device_precision)p, NULL) == 0) {
            check_add();
            check_accumulate();
            check_dropout(device, 97, 203, 8, 32768);
            check_dropout(device, 4, 64, 0, 20000);
            test_activation_backward(state);
            test_softmax_loss(state);
            test_unscale(state);
        }
        device_close(device);
    }
    device = fp32;
    rounding = 8 * FLT_EPSILON;
}

/* ---- threads ---- */

enum { MANY = 70001 };

/* Operations on elements, one after another, on copies of the same numbers. */
static void run_elements(struct device *d, float *v[5])
{
    const struct device_sgd sgd = {0.1f, 0.9f, 0.01f, true}, plain = {0.1f, 0, 0.01f, 0};
    const struct device_adam adam = {0.9f, 0.99f, 1e-8f, 0.01f, 0.1f, 2, 1};

    for (uint32_t i = 0; i < 5; i++)
        v[i] = reference_numbers(MANY, i);
    d->ops->add(d, ACTIVATION_RELU, MANY, v[0], v[1], v[0]);
    d->ops->add(d, ACTIVATION_NONE, MANY, v[1], v[2], v[1]);
    d->ops->activation_backward(d, ACTIVATION_RELU, 1, MANY, v[0], v[1], NULL);
    d->ops->add_backward(d, ACTIVATION_RELU, MANY, v[0], v[1], v[2], v[3]);
    d->ops->add_backward(d, ACTIVATION_NONE, MANY, NULL, v[2], v[1], NULL);
    for (size_t i = 0; i < MANY; i++)
        v[4][i] = fabsf(v[4][i]);
    d->ops->adam(d, &adam, MANY, v[2], v[1], v[3], v[4]);
    d->ops->sgd(d, &sgd, MANY, v[2], v[1], v[3]);
    d->ops->sgd(d, &plain, MANY, v[2], v[1], NULL);
}

static void test_threads_change_nothing_in_elements(void **state)
{
    (void)state;
    struct device *three = cpu_open(3);
    float *one[5], *many[5];

    run_elements(device, one);
    run_elements(three, many);
    for (size_t i = 0; i < 5; i++) {
        assert_memory_equal(one[i], many[i], MANY * sizeof(float));
        free(one[i]);
        free(many[i]);
    }
    device_close(three);
}

static void test_as_many_threads_give_the_same_bits(void **state)
{
    (void)state;
    enum { N = 7001, C = 10 };
    struct device *three = cpu_open(3);
    float *x = reference_numbers(N * C, 1), *w = reference_numbers(C, 2), mean[C],
          rstd[C];
    float *y = mem_alloc(N * C * sizeof(*y)), *dx = mem_alloc(N * C * sizeof(*dx)),
          dw[2 * C], *kept = NULL, kept_dw[2 * C], running[2 * C] = {0};
    struct device_batch_norm b = {
        N, C, 1e-5f, 0.1f, ACTIVATION_RELU, w, w, running, running + C, mean, rstd};

    for (int i = 0; i < 20; i++) {
        three->ops->batch_norm(three, &b, x, y);
        three->ops->batch_norm_backward(three, &b, x, y, dw, dw + C, dx);
        if (i == 0) {
            kept = mem_dup(dx, N * C * sizeof(*dx));
            memcpy(kept_dw, dw, sizeof(dw));
        }
        assert_memory_equal(dx, kept, N * C * sizeof(*dx));
        assert_memory_equal(dw, kept_dw, sizeof(dw));
    }
    void *all[] = {x, w, y, dx, kept};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
    device_close(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_impossible_memory_is_refused),
        cmocka_unit_test(test_memory_is_zeroed_and_aligned),
        cmocka_unit_test(test_memory_is_counted_and_limited),
        cmocka_unit_test(test_precisions_of_gpus_are_refused),
        cmocka_unit_test(test_unscale),
        cmocka_unit_test(test_gemm_in_all_its_forms),
        cmocka_unit_test(test_gemm_in_bf16),
        cmocka_unit_test(test_gemm_in_precisions_of_gpus),
        cmocka_unit_test(test_relu_keeps_a_nan),
        cmocka_unit_test(test_activation_backward),
        cmocka_unit_test(test_softmax_loss),
        cmocka_unit_test(test_softmax_loss_of_extremes),
        cmocka_unit_test(test_dropout_draws_what_its_numbers_say),
        cmocka_unit_test(test_operations_in_all_precisions),
        cmocka_unit_test(test_threads_change_nothing_in_elements),
        cmocka_unit_test(test_as_many_threads_give_the_same_bits),
    };

    return cmocka_run_group_tests_name("cpu", tests, setup, teardown);
}
