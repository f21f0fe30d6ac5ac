/* Optimiser steps against the formulas of device.h in double, over several updates. */
#include "worker/train/optimizer.h"

#include "base/rng.h"
#include "worker/train/subject.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { N = 50, UPDATES = 20 };

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

static void test_an_unknown_kind_is_refused(void **state)
{
    (void)state;
    struct err e = {0};

    assert_null(
        optimizer_create(device, &(struct optimizer_config){.kind = "adamax"}, N, &e));
    assert_int_equal(e.code, ERR_INVAL);
    assert_non_null(strstr(e.text, "unknown optimizer 'adamax'"));
    optimizer_destroy(NULL);
}

static void test_slots(void **state)
{
    (void)state;
    static const struct {
        struct optimizer_config config;
        int n;
        const char *names[2];
    } vectors[] = {
        {{"sgd", 0.1, 0, 0, false}, 0, {NULL}},
        {{"sgd", 0.1, 0.9, 0, false}, 1, {"momentum"}},
        {{"sgd", 0.1, 0.9, 0, true}, 1, {"momentum"}},
        {{"adam", 0.1, 0, 0, false}, 2, {"m", "v"}},
        {{"adamw", 0.1, 0, 0, false}, 2, {"m", "v"}},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct optimizer *o = optimizer_create(device, &vectors[i].config, N, NULL);
        assert_int_equal(o->n_slots, vectors[i].n);
        for (int k = 0; k < o->n_slots; k++)
            assert_string_equal(optimizer_slot(o, k), vectors[i].names[k]);
        optimizer_destroy(o);
    }
}

static void sgd_reference(const struct optimizer_config *c, int t, double g, double *w,
                          double slots[2])
{
    (void)t;
    g += c->weight_decay * *w;
    slots[0] = c->momentum * slots[0] + g;
    *w -= c->lr * (c->nesterov ? g + c->momentum * slots[0] : slots[0]);
}

static void adam_reference(const struct optimizer_config *c, int t, double g, double *w,
                           double slots[2])
{
    g += c->weight_decay * *w;
    slots[0] = 0.9 * slots[0] + 0.1 * g;
    slots[1] = 0.999 * slots[1] + 0.001 * g * g;
    *w -= c->lr * (slots[0] / (1 - pow(0.9, t))) /
          (sqrt(slots[1] / (1 - pow(0.999, t))) + 1e-8);
}

static void adamw_reference(const struct optimizer_config *c, int t, double g, double *w,
                            double slots[2])
{
    struct optimizer_config plain = *c;

    plain.weight_decay = 0;
    *w -= c->lr * c->weight_decay * *w;
    adam_reference(&plain, t, g, w, slots);
}

static void test_steps_follow_the_formulas(void **state)
{
    (void)state;
    static const struct {
        struct optimizer_config config;
        void (*reference)(const struct optimizer_config *c, int t, double g, double *w,
                          double slots[2]);
    } vectors[] = {
        {{"sgd", 0.1, 0, 0, false}, sgd_reference},
        {{"sgd", 0.1, 0, 0.01, false}, sgd_reference},
        {{"sgd", 0.1, 0.9, 0, false}, sgd_reference},
        {{"sgd", 0.1, 0.9, 0.01, false}, sgd_reference},
        {{"sgd", 0.1, 0.9, 0, true}, sgd_reference},
        {{"sgd", 0.1, 0.5, 0.01, true}, sgd_reference},
        {{"adam", 0.01, 0, 0, false}, adam_reference},
        {{"adam", 0.01, 0, 0.1, false}, adam_reference},
        /* momentum is none of adam's */
        {{"adam", 0.01, 0.5, 0, true}, adam_reference},
        {{"adamw", 0.01, 0, 0, false}, adamw_reference},
        {{"adamw", 0.01, 0, 1, false}, adamw_reference},
        {{"adamw", 0.1, 0.5, 0.1, true}, adamw_reference},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct optimizer *o = optimizer_create(device, &vectors[i].config, N, NULL);
        float w[N], g[N];
        double want[N], slots[N][2] = {{0}};
        for (uint32_t k = 0; k < N; k++)
            want[k] = (double)(w[k] = (float)(2 * rng_unit(1, RNG_TEST, k, 0, 1) - 1));
        for (uint32_t t = 1; t <= UPDATES; t++) {
            /* The learning rate may be another at each step. */
            struct optimizer_config now = vectors[i].config;
            o->lr = now.lr *= 1 - 0.04 * t;
            for (uint32_t k = 0; k < N; k++) {
                g[k] = (float)(2 * rng_unit(1, RNG_TEST, k, t, 2) - 1);
                vectors[i].reference(&now, (int)t, (double)g[k], &want[k], slots[k]);
            }
            optimizer_step(o, w, g);
        }
        assert_int_equal(o->updates, UPDATES);
        for (size_t k = 0; k < N; k++)
            if (!(fabs((double)w[k] - want[k]) < 1e-5))
                fail_msg("case %zu: %.9g is not %.9g", i, (double)w[k], want[k]);
        optimizer_destroy(o);
    }
}

/* The gaps between a model's parameters have no gradient: they stay zero. */
static void test_zeros_stay_zero(void **state)
{
    (void)state;
    static const struct optimizer_config configs[] = {{"sgd", 0.1, 0.9, 0.1, false},
                                                      {"sgd", 0.1, 0.9, 0.1, true},
                                                      {"adam", 0.1, 0, 0.1, false},
                                                      {"adamw", 0.1, 0, 0.1, false}};

    for (size_t i = 0; i < COUNT(configs); i++) {
        struct optimizer *o = optimizer_create(device, &configs[i], N, NULL);
        float w[N] = {0}, g[N] = {0};
        for (int t = 0; t < 3; t++)
            optimizer_step(o, w, g);
        for (size_t k = 0; k < N; k++)
            assert_true(w[k] == 0);
        optimizer_destroy(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unknown_kind_is_refused),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_steps_follow_the_formulas),
        cmocka_unit_test(test_zeros_stay_zero),
    };

    return cmocka_run_group_tests_name("optimizer", tests, setup, teardown);
}
