/* What the GPU's kernels do to an element (gpu/arith.h), done here element after element,
 * against the CPU device: to the bit. Results are full of NaN before. */
#include "gpu/arith.h"

#include "base/mem.h"
#include "worker/train/subject.h"
#include "worker/train/draw.h"
#include "worker/train/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
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

static float *poisoned(size_t n)
{
    float *p = mem_resize(NULL, n, sizeof(*p));

    reference_poison(p, n);
    return p;
}

static void test_activations(void **state)
{
    (void)state;
    static const float z[] = {-1, -0.0f, 0, 1e-30f, 3, INFINITY, -INFINITY, NAN};
    enum { N = COUNT(z) };
    float zero[N] = {0}, y[N], dy[N], own[N];

    for (int relu = 0; relu < 2; relu++) {
        device->ops->add(device, relu ? ACTIVATION_RELU : ACTIVATION_NONE, N, z, zero, y);
        for (size_t i = 0; i < N; i++)
            own[i] = arith_activate(relu, z[i] + 0);
        assert_memory_equal(own, y, sizeof(y));
        device->ops->add_backward(device, relu ? ACTIVATION_RELU : ACTIVATION_NONE, N, y,
                                  z, dy, NULL);
        for (size_t i = 0; i < N; i++)
            own[i] = arith_activate_backward(relu, y[i], z[i]);
        assert_memory_equal(own, dy, sizeof(dy));
    }
}

/* Several steps, so that the slots matter. */
static void check_optimizer(const struct device_sgd *sgd, const struct device_adam *adam)
{
    enum { N = 1000 };
    float *w = reference_numbers(N, 1), *own_w = reference_numbers(N, 1);
    float *g = reference_numbers(N, 2);
    float m[N] = {0}, v[N] = {0}, own_m[N] = {0}, own_v[N] = {0};
    bool slot = adam || sgd->momentum > 0;

    for (int step = 0; step < 5; step++) {
        if (adam)
            device->ops->adam(device, adam, N, w, g, m, v);
        else
            device->ops->sgd(device, sgd, N, w, g, slot ? v : NULL);
        for (size_t i = 0; i < N; i++) {
            if (adam)
                arith_adam(adam, i, own_w, g, own_m, own_v);
            else
                arith_sgd(sgd, i, own_w, g, slot ? own_v : NULL);
        }
        assert_memory_equal(own_w, w, N * sizeof(*w));
        assert_memory_equal(own_m, m, sizeof(m));
        assert_memory_equal(own_v, v, sizeof(v));
    }
    free(w);
    free(own_w);
    free(g);
}

static void test_optimizer_steps(void **state)
{
    (void)state;
    static const struct device_sgd sgd[] = {
        {0.1f, 0, 0, false},
        {0.1f, 0, 0.01f, false},
        {0.1f, 0.9f, 0.01f, false},
        {0.1f, 0.9f, 0.01f, true},
    };
    static const struct device_adam adam[] = {
        {0.9f, 0.999f, 1e-8f, 0, 0.01f, 31.6f, 1},
        {0.9f, 0.999f, 1e-8f, 0.01f, 0.003f, 2, 1},
        {0.9f, 0.999f, 1e-8f, 0, 0.003f, 2, 0.999f},
    };

    for (size_t i = 0; i < COUNT(sgd); i++)
        check_optimizer(&sgd[i], NULL);
    for (size_t i = 0; i < COUNT(adam); i++)
        check_optimizer(NULL, &adam[i]);
}

static void test_dropout(void **state)
{
    (void)state;
    static const struct device_dropout cases[] = {
        {1, 1, 7, 0, 32768},
        {3, 8, UINT64_MAX, 5, 1},
        {13, 77, 0x123456789abcdef, (size_t)1 << 20, 50000},
        {2, 16, 3, 0, DROPOUT_ALL},
    };

    for (size_t k = 0; k < COUNT(cases); k++) {
        const struct device_dropout *d = &cases[k];
        size_t n = d->rows * d->cols;
        float *x = reference_numbers(n, 1), *y = poisoned(n), *own = poisoned(n);
        device->ops->dropout(device, d, x, y);
        for (size_t i = 0; i < n; i++) {
            size_t r = i / d->cols, c = i % d->cols;
            float eight[ARITH_DRAWS] = {0};
            eight[c % ARITH_DRAWS] = x[i];
            arith_dropout(d, r, c / ARITH_DRAWS, eight);
            own[i] = eight[c % ARITH_DRAWS];
        }
        assert_memory_equal(own, y, n * sizeof(*y));
        free(x);
        free(y);
        free(own);
    }
}

/* ---- gathering ---- */

static void check_gather(const struct device_gather *g, size_t rows)
{
    size_t n = rows * g->features;
    float *out = poisoned(n), *own = poisoned(n);

    device->ops->gather(device, g, rows, out);
    device->ops->gather_wait(device);
    for (size_t i = 0; i < n; i++)
        own[i] =
            arith_gather(g, (uint32_t)(i / g->features), (uint32_t)(i % g->features));
    assert_memory_equal(own, out, n * sizeof(*out));
    free(out);
    free(own);
}

static void test_gather(void **state)
{
    (void)state;
    enum { H = 5, W = 7, C = 3, N = 4, FEATURES = H * W * C };
    static const uint32_t index[] = {3, 0, 3, 1, 2, 0};
    static const struct device_move moves[COUNT(index)] = {{0, 0, false},  {0, 0, true},
                                                           {-2, 3, false}, {4, -6, true},
                                                           {5, 0, false},  {1, -9, true}};
    uint8_t bytes[N * FEATURES];
    float floats[N * FEATURES];
    float *mean = reference_numbers(FEATURES, 1), *scale = reference_numbers(FEATURES, 2);

    for (size_t i = 0; i < N * FEATURES; i++)
        floats[i] = bytes[i] = (uint8_t)(i * 7);
    for (int way = 0; way < 16; way++) {
        bool u8 = way & 1, moved = way & 2, planar = way & 4, interleaved = way & 8;
        check_gather(
            &(struct device_gather){
                .x = u8 ? (void *)bytes : (void *)floats,
                .type = u8 ? SAMPLE_U8 : SAMPLE_F32,
                .stride = u8 ? FEATURES : FEATURES * sizeof(float),
                .features = FEATURES,
                .index = index,
                .mean = mean,
                .scale = scale,
                .planes = planar && interleaved ? C : 1,
                .moves = moved ? moves : NULL,
                .image = {H, W, planar ? 1 : C},
            },
            COUNT(index));
    }
    free(mean);
    free(scale);
}

/* ---- pooling ---- */

static void check_pool(const struct device_slide *s, float *x)
{
    size_t n_x = s->rows * image_size(s->in), n_y = s->rows * image_size(s->out);
    float *y = poisoned(n_y), *own = poisoned(n_y), *dy = reference_numbers(n_y, 2);
    float *dx = poisoned(n_x), *own_dx = poisoned(n_x);

    device->ops->max_pool(device, s, x, y);
    for (size_t i = 0; i < n_y; i++)
        own[i] = arith_max_pool(s, x, (uint32_t)i);
    assert_memory_equal(own, y, n_y * sizeof(*y));
    device->ops->max_pool_backward(device, s, x, y, dy, dx);
    for (size_t i = 0; i < n_x; i++)
        own_dx[i] = arith_max_pool_backward(s, x, y, dy, (uint32_t)i);
    assert_memory_equal(own_dx, dx, n_x * sizeof(*dx));
    void *all[] = {x, y, own, dy, dx, own_dx};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void test_pooling(void **state)
{
    (void)state;
    static const struct {
        size_t rows;
        struct image in;
        struct window window;
    } cases[] = {
        {1, {1, 1, 1}, {1, 1, 0}}, {3, {24, 24, 6}, {2, 2, 0}},
        {2, {7, 5, 3}, {2, 2, 0}}, {2, {9, 8, 16}, {3, 2, 1}},
        {1, {6, 6, 9}, {3, 1, 1}}, {4, {7, 7, 1}, {2, 3, 0}},
        {2, {5, 9, 2}, {4, 3, 2}},
    };

    for (size_t k = 0; k < COUNT(cases); k++) {
        struct window w = cases[k].window;
        struct image in = cases[k].in;
        struct device_slide s = {
            cases[k].rows, in, {window_steps(w, in.h), window_steps(w, in.w), in.c}, w};
        size_t n = s.rows * image_size(in);
        float *coarse = reference_numbers(n, 1), *odd = reference_numbers(n, 1);
        for (size_t i = 0; i < n; i++) {
            coarse[i] = roundf(coarse[i]); /* many are alike */
            if (i % 11 == 3)
                odd[i] = i % 2 ? NAN : -INFINITY;
        }
        check_pool(&s, reference_numbers(n, 1));
        check_pool(&s, coarse);
        check_pool(&s, odd);
    }
}

/* ---- what is merged and compared by many threads ---- */

static void test_moments_are_merged(void **state)
{
    (void)state;
    static const double x[] = {3, 1e6, -2, 0.5, 7, 7, -1e3};
    enum { N = COUNT(x) };
    struct arith_moments m = {0, 0};
    double mean = 0, squares = 0;

    for (size_t i = 0; i < N; i++)
        arith_merge((double)i, &m, 1, (struct arith_moments){x[i], 0});
    arith_merge(N, &m, 0, (struct arith_moments){NAN, NAN});
    for (size_t i = 0; i < N; i++)
        mean += x[i] / N;
    for (size_t i = 0; i < N; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    assert_true(fabs(m.mean - mean) < 1e-9 * 1e6);
    assert_true(fabs(m.squares - squares) < 1e-9 * squares);
}

static void test_the_first_of_the_largest_wins(void **state)
{
    (void)state;
    assert_true(arith_beats(2, 5, 1, 0));
    assert_false(arith_beats(1, 0, 2, 5));
    assert_true(arith_beats(1, 0, 1, 5));
    assert_false(arith_beats(1, 5, 1, 0));
    assert_false(arith_beats(NAN, 0, 1, 5));
    assert_true(arith_beats(-INFINITY, 3, -INFINITY, UINT32_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_optimizer_steps),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_pooling),
        cmocka_unit_test(test_moments_are_merged),
        cmocka_unit_test(test_the_first_of_the_largest_wins),
    };

    return cmocka_run_group_tests_name("arith", tests, setup, teardown);
}
