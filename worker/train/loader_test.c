#include "worker/train/cpu.h"
#include "worker/train/trainer_private.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Samples of one number, their own; the CPU's operations, counting. */
enum { SAMPLES = 50, BATCH = 4 };

static const struct device_ops *inner;
static struct device_ops counting;
static struct device *device;
static float values[SAMPLES];
static const float zero = 0, one = 1;
static int gathers;

static void count_gather(struct device *d, const struct device_gather *g, size_t rows,
                         void *out)
{
    gathers++;
    inner->gather(d, g, rows, out);
}

static int setup(void **state)
{
    (void)state;
    device = cpu_open(1);
    inner = device->ops;
    counting = *inner;
    counting.gather = count_gather;
    device->ops = &counting;
    for (int i = 0; i < SAMPLES; i++)
        values[i] = (float)i;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    device_close(device);
    return 0;
}

static void feed_make(struct feed *f, const struct part *p, uint32_t *order,
                      uint32_t times)
{
    for (uint32_t i = 0; i < SAMPLES; i++)
        order[i] = i * times % SAMPLES;
    *f = (struct feed){.part = p,
                       .order = order,
                       .gather = {.x = values,
                                  .type = SAMPLE_F32,
                                  .stride = sizeof(values[0]),
                                  .features = 1,
                                  .mean = &zero,
                                  .scale = &one,
                                  .planes = 1,
                                  .image = {1, 1, 1}}};
}

static void assert_rows(const float *x, const uint32_t *order, struct rows r)
{
    for (size_t i = 0; i < r.n; i++)
        assert_true(x[i] == (float)order[r.start + i]);
}

/* Takes all batches of an epoch; those that were taken before stay as long as is said. */
static void take_epoch(struct loader *l, const struct feed *f)
{
    const float *last = NULL;
    struct rows before = {0, 0};

    for (size_t at = 0; at < SAMPLES;) {
        struct rows now = {at, rows_left(f, at, BATCH)};
        at += now.n;
        const float *x = loader_take(l, f, now, (struct rows){at, SAMPLES - at});
        assert_rows(x, f->order, now);
        assert_rows(last, f->order, before);
        last = x;
        before = now;
    }
}

static void test_batches_come_in_their_order_several_at_once(void **state)
{
    (void)state;
    static const struct {
        size_t batches; /* at once */
        int gathers;    /* the first batch, then the other 46 samples */
    } cases[] = {{1, 13}, {2, 7}, {3, 5}, {12, 2}, {100, 2}};
    struct part part = {.n = SAMPLES};
    uint32_t order[SAMPLES];
    struct feed f;
    struct loader l;

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        assert_int_equal(loader_open(&l, device, 3, cases[c].batches * BATCH, 1, NULL),
                         0);
        for (uint32_t epoch = 0; epoch < 3; epoch++) {
            feed_make(&f, &part, order, 2 * epoch * epoch + 1); /* an order of its own */
            gathers = 0;
            take_epoch(&l, &f);
            assert_int_equal(gathers, cases[c].gathers);
        }
        loader_close(&l);
    }
}

/* A rank's shares of batches do not lie side by side, and are not all of one size. */
static void test_shares_come_one_by_one(void **state)
{
    (void)state;
    static const struct rows shares[] = {{2, 3}, {10, 2}, {17, 3}, {29, 1}, {30, 3}};
    struct part part = {.n = SAMPLES};
    uint32_t order[SAMPLES];
    struct feed f;
    struct loader l;

    feed_make(&f, &part, order, 3);
    assert_int_equal(loader_open(&l, device, 2, 3, 1, NULL), 0);
    gathers = 0;
    for (int i = 0; i < 5; i++)
        assert_rows(
            loader_take(&l, &f, shares[i], i < 4 ? shares[i + 1] : (struct rows){0, 0}),
            order, shares[i]);
    assert_int_equal(gathers, 5);
    loader_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_come_in_their_order_several_at_once),
        cmocka_unit_test(test_shares_come_one_by_one),
    };

    return cmocka_run_group_tests_name("loader", tests, setup, teardown);
}
