/* Gathering against plain ways to do the same, in one thread and beside others. */
#include "worker/train/subject.h"

#include "base/mem.h"
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
    if (!(fabs(got - want) <= 8 * FLT_EPSILON * magnitude))
        fail_msg("%.9g is not %.9g", got, want);
}

static void test_gather_picks_and_normalises(void **state)
{
    (void)state;
    enum { N = 5, FEATURES = 37, STRIDE = 40 };
    static const uint32_t index[] = {4, 0, 4, 2};
    uint8_t bytes[N * STRIDE];
    float floats[N * STRIDE], out[COUNT(index) * FEATURES];
    float *mean = reference_numbers(FEATURES, 1), *scale = reference_numbers(FEATURES, 2);

    for (size_t i = 0; i < N * STRIDE; i++)
        floats[i] = bytes[i] = (uint8_t)(i * 7);
    for (int type = SAMPLE_U8; type <= SAMPLE_F32; type++) {
        struct device_gather g = {
            .x = type == SAMPLE_U8 ? (void *)bytes : (void *)floats,
            .type = (enum sample_type)type,
            .stride = type == SAMPLE_U8 ? STRIDE : STRIDE * sizeof(float),
            .features = FEATURES,
            .index = index,
            .mean = mean,
            .scale = scale,
        };
        memset(out, 0, sizeof(out));
        device->ops->gather(device, &g, COUNT(index), out);
        device->ops->gather_wait(device);
        for (size_t r = 0; r < COUNT(index); r++)
            for (size_t f = 0; f < FEATURES; f++) {
                double x = floats[index[r] * STRIDE + f];
                assert_near(out[r * FEATURES + f],
                            (x - (double)mean[f]) * (double)scale[f], x + 1);
            }
    }
    free(mean);
    free(scale);
}

/* ---- samples that are stored channel by channel ---- */

static void test_gather_brings_the_channels_last(void **state)
{
    (void)state;
    enum { PLANES = 3, PIXELS = 35, N = 4, FEATURES = PLANES * PIXELS };
    static const uint32_t index[] = {3, 0, 3};
    uint8_t bytes[N * FEATURES];
    float floats[N * FEATURES], out[COUNT(index) * FEATURES];
    float *mean = reference_numbers(FEATURES, 1), *scale = reference_numbers(FEATURES, 2);

    for (size_t i = 0; i < N * FEATURES; i++)
        floats[i] = bytes[i] = (uint8_t)(i * 7);
    for (int type = SAMPLE_U8; type <= SAMPLE_F32; type++) {
        struct device_gather g = {
            .x = type == SAMPLE_U8 ? (void *)bytes : (void *)floats,
            .type = (enum sample_type)type,
            .stride = type == SAMPLE_U8 ? FEATURES : FEATURES * sizeof(float),
            .features = FEATURES,
            .index = index,
            .mean = mean,
            .scale = scale,
            .planes = PLANES,
        };
        reference_poison(out, COUNT(out));
        device->ops->gather(device, &g, COUNT(index), out);
        device->ops->gather_wait(device);
        for (size_t r = 0; r < COUNT(index); r++)
            for (size_t f = 0; f < FEATURES; f++) {
                double x = (double)floats[index[r] * FEATURES + f];
                size_t at = f % PIXELS * PLANES + f / PIXELS;
                assert_near((double)out[r * FEATURES + at],
                            (x - (double)mean[f]) * (double)scale[f], x + 1);
            }
    }
    free(mean);
    free(scale);
}

/* ---- samples that are moved ---- */

/* One plane of `sample`, every c-th number of its [h][w][c] from the first: padded by
 * `pad` on each side, cropped at (pad + dy, pad + dx), then mirrored. */
static void pad_and_crop(struct image i, struct device_move m, const double *sample,
                         double *out)
{
    enum { PAD = 9 };
    size_t width = i.w + 2 * PAD;
    double *padded = mem_alloc((i.h + 2 * PAD) * width * sizeof(*padded));

    for (size_t y = 0; y < i.h; y++)
        for (size_t x = 0; x < i.w; x++)
            padded[(y + PAD) * width + x + PAD] = sample[(y * i.w + x) * i.c];
    for (size_t y = 0; y < i.h; y++) {
        const double *row = padded + ((size_t)(PAD + m.dy) + y) * width + PAD + m.dx;
        for (size_t x = 0; x < i.w; x++)
            out[(y * i.w + (m.flip ? i.w - 1 - x : x)) * i.c] = row[x];
    }
    free(padded);
}

/* What of an image's numbers, [h][w][c], has which place where it is stored. */
static size_t stored_at(struct image i, bool planar, size_t f)
{
    return planar ? f % i.c * i.h * i.w + f / i.c : f;
}

/* Gathers samples of [h][w][c], stored so or by planes, as the model wants them. */
static void check_moves(enum sample_type type, bool planar, bool interleaved)
{
    enum { H = 5, W = 7, C = 3, N = 4, FEATURES = H * W * C };
    static const struct image image = {H, W, C};
    static const uint32_t index[] = {3, 0, 3, 1, 2, 0};
    static const struct device_move moves[COUNT(index)] = {{0, 0, false},  {0, 0, true},
                                                           {-2, 3, false}, {4, -6, true},
                                                           {5, 0, false},  {1, -9, true}};
    uint8_t bytes[N * FEATURES];
    float floats[N * FEATURES], out[COUNT(index) * FEATURES];
    float *mean = reference_numbers(FEATURES, 1), *scale = reference_numbers(FEATURES, 2);
    struct device_gather g = {
        .x = type == SAMPLE_U8 ? (void *)bytes : (void *)floats,
        .type = type,
        .stride = type == SAMPLE_U8 ? FEATURES : FEATURES * sizeof(float),
        .features = FEATURES,
        .index = index,
        .mean = mean,
        .scale = scale,
        .planes = planar && interleaved ? C : 1,
        .moves = moves,
        .image = {H, W, planar ? 1 : C},
    };

    for (size_t i = 0; i < N * FEATURES; i++)
        floats[i] = bytes[i] = (uint8_t)(i * 7);
    reference_poison(out, COUNT(out));
    device->ops->gather(device, &g, COUNT(index), out);
    device->ops->gather_wait(device);
    for (size_t r = 0; r < COUNT(index); r++) {
        double sample[FEATURES], want[FEATURES];
        for (size_t f = 0; f < FEATURES; f++) {
            size_t at = stored_at(image, planar, f);
            sample[f] = ((double)floats[index[r] * FEATURES + at] - (double)mean[at]) *
                        (double)scale[at];
        }
        for (size_t c = 0; c < C; c++)
            pad_and_crop(image, moves[r], sample + c, want + c);
        for (size_t f = 0; f < FEATURES; f++) {
            size_t at = stored_at(image, planar && !interleaved, f);
            assert_near((double)out[r * FEATURES + at], want[f], 256);
        }
    }
    free(mean);
    free(scale);
}

static void test_gather_moves_images(void **state)
{
    (void)state;
    for (int type = SAMPLE_U8; type <= SAMPLE_F32; type++) {
        check_moves((enum sample_type)type, false, false);
        check_moves((enum sample_type)type, true, false);
        check_moves((enum sample_type)type, true, true);
    }
}

/* ---- beside others ---- */

/* Rows enough for a thread: one after another, waited for late, at once, and by the next
 * one. What is gathered a row at a time is not gathered by a thread. */
static void test_gather_goes_on_beside_others(void **state)
{
    (void)state;
    enum { SIDE = 16, PLANES = 3, FEATURES = PLANES * SIDE * SIDE, N = 64, TIMES = 200 };
    static uint8_t bytes[N * FEATURES];
    static float want[N * FEATURES], out[2][N * FEATURES];
    uint32_t index[N];
    struct device_move moves[N];
    float *mean = reference_numbers(FEATURES, 1), *scale = reference_numbers(FEATURES, 2);
    struct device_gather g = {bytes, SAMPLE_U8, FEATURES, FEATURES, index,
                              mean,  scale,     PLANES,   moves,    {SIDE, SIDE, 1}};

    for (size_t i = 0; i < N * FEATURES; i++)
        bytes[i] = (uint8_t)(i * 7 % 251);
    for (uint32_t i = 0; i < N; i++) {
        index[i] = i * 5 % N;
        moves[i] = (struct device_move){(int32_t)i % 5 - 2, (int32_t)i % 7 - 3, i % 2};
    }
    for (size_t i = 0; i < N; i++) {
        struct device_gather one = g;
        one.index += i;
        one.moves += i;
        device->ops->gather(device, &one, 1, want + i * FEATURES);
        device->ops->gather_wait(device);
    }
    for (int i = 0; i < TIMES; i++) {
        reference_poison(out[0], N * FEATURES);
        reference_poison(out[1], N * FEATURES);
        device->ops->gather(device, &g, N, out[0]);
        if (i % 2) /* something else, which takes a while */
            memcpy(out[1], want, sizeof(want));
        if (i % 3) /* waits for the first */
            device->ops->gather(device, &g, N, out[1]);
        else
            memcpy(out[1], want, sizeof(want));
        device->ops->gather_wait(device);
        assert_memory_equal(out[0], want, sizeof(want));
        assert_memory_equal(out[1], want, sizeof(want));
    }
    /* Closed while it gathers. */
    struct device *other = subject_open(1);
    other->ops->gather(other, &g, N, out[0]);
    device_close(other);
    assert_memory_equal(out[0], want, sizeof(want));
    device->ops->gather_wait(device);
    free(mean);
    free(scale);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather_picks_and_normalises),
        cmocka_unit_test(test_gather_brings_the_channels_last),
        cmocka_unit_test(test_gather_moves_images),
        cmocka_unit_test(test_gather_goes_on_beside_others),
    };

    return cmocka_run_group_tests_name("cpu_gather", tests, setup, teardown);
}
