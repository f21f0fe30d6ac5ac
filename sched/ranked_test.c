#include "base/mem.h"
#include "base/rng.h"
#include "sched/rung.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

/* The same by the book: an array, sorted by insertion. */
struct plain {
    struct ranked_key key[10000]; /* more than a group has room for */
    uint32_t n;
};

static bool smaller(struct ranked_key a, struct ranked_key b)
{
    return a.value < b.value || (a.value == b.value && a.order < b.order);
}

static uint32_t plain_below(const struct plain *p, struct ranked_key key)
{
    uint32_t n = 0;

    while (n < p->n && smaller(p->key[n], key))
        n++;
    return n;
}

static void plain_insert(struct plain *p, struct ranked_key key)
{
    uint32_t at = plain_below(p, key);

    memmove(&p->key[at + 1], &p->key[at], (p->n - at) * sizeof(key));
    p->key[at] = key;
    p->n++;
}

/* coarse values make ties; ordered ones fill one end */
static double value_of(int shape, uint32_t i)
{
    double u = rng_unit(7, RNG_TEST, i, (uint32_t)shape, 0);

    return shape == 0   ? u
           : shape == 1 ? floor(u * 20)
           : shape == 2 ? (double)i
                        : -(double)i;
}

static void test_against_plain(void **state)
{
    struct plain *p = mem_alloc(sizeof(*p));

    (void)state;
    for (int shape = 0; shape < 4; shape++) {
        struct ranked *r = ranked_new();

        p->n = 0;
        assert_int_equal(ranked_below(r, (struct ranked_key){1, 1}), 0);
        for (uint32_t i = 0; i < 10000; i++) {
            struct ranked_key key = {value_of(shape, i), i}, probe;

            plain_insert(p, key);
            assert_int_equal(ranked_insert(r, key), plain_below(p, key));
            probe = p->key[(i * 7919u) % p->n];
            assert_int_equal(ranked_below(r, probe), plain_below(p, probe));
            assert_int_equal(ranked_count(r), p->n);
            if (i % 500 == 0) {
                for (uint32_t k = 0; k < p->n; k++)
                    assert_int_equal(ranked_at(r, k).order, p->key[k].order);
            }
        }
        ranked_free(r);
    }
    free(p);
}

/* 0 .. n - 1, in an order that jumps about: so many that there are large slabs. */
static void test_many(void **state)
{
    struct ranked *r = ranked_new();
    const uint32_t n = 300007, step = 123457; /* without a common factor */

    (void)state;
    for (uint32_t i = 0, v = 0; i < n; i++, v = (v + step) % n)
        assert_in_range(ranked_insert(r, (struct ranked_key){v, i}), 0, v);
    assert_int_equal(ranked_count(r), n);
    for (uint32_t k = 0; k < n; k++) {
        struct ranked_key key = ranked_at(r, k);

        assert_true(key.value == k);
        assert_int_equal(ranked_below(r, key), k);
    }
    ranked_free(r);
}

static struct eta eta_of(const char *text)
{
    struct eta eta;

    assert_int_equal(eta_parse(text, &eta, NULL), 0);
    return eta;
}

static void test_top(void **state)
{
    struct rung r;

    (void)state;
    rung_init(&r, 1, 0, 0, 1);
    assert_true(isnan(rung_top_cutoff(&r, 0)));
    for (uint32_t i = 0; i < 9; i++) /* 8, 7, ... 0 */
        assert_int_equal(rung_record(&r, &(struct score){{8. - i}}, i), 1);
    assert_true(rung_top_cutoff(&r, 3) == 2);
    assert_true(rung_in_top(&r, 2, 6, 3));
    assert_false(rung_in_top(&r, 3, 5, 3));
    /* 1 and 2 fail: 3 and 4 take their places */
    rung_pass_over(&r, &(struct score){{1}}, 7);
    rung_pass_over(&r, &(struct score){{2}}, 6);
    assert_true(rung_top_cutoff(&r, 3) == 4);
    assert_true(rung_in_top(&r, 4, 4, 3));
    assert_false(rung_in_top(&r, 5, 3, 3));
    /* NaN counts in the size, at the worst rank, and is never in the top */
    assert_int_equal(rung_record(&r, &(struct score){{NAN}}, 9), 10);
    assert_int_equal(rung_record(&r, &(struct score){{INFINITY}}, 10), 11);
    assert_int_equal(rung_record(&r, &(struct score){{-INFINITY}}, 11), 12);
    assert_true(rung_top_cutoff(&r, 4) == 5);
    /* a tie: recorded first wins */
    assert_int_equal(rung_record(&r, &(struct score){{0}}, 12), 2);
    rung_clear(&r);
}

/* All but two fail: the cutoff is the worst of those that are left. */
static void test_top_of_few(void **state)
{
    struct rung r;

    (void)state;
    rung_init(&r, 1, 0, 0, 1);
    for (uint32_t i = 0; i < 10; i++)
        rung_record(&r, &(struct score){{i}}, i);
    for (uint32_t i = 0; i < 8; i++)
        rung_pass_over(&r, &(struct score){{i}}, i);
    assert_true(rung_top_cutoff(&r, 5) == 9);
    assert_true(rung_in_top(&r, 9, 9, 5));
    rung_clear(&r);
}

/* Expected values: numpy 1.24, percentile(y, (1 - 1/eta) * 100), printed with %.17g */
static void test_stop_cutoff(void **state)
{
    struct rung r;

    (void)state;
    rung_init(&r, 1, 0, 0, 1);
    assert_true(isnan(rung_stop_cutoff(&r, eta_of("3"))));
    rung_record(&r, &(struct score){{.5}}, 0);
    assert_true(rung_stop_cutoff(&r, eta_of("3")) == -.5);
    rung_record(&r, &(struct score){{.1}}, 1);
    rung_record(&r, &(struct score){{NAN}}, 2);
    rung_record(&r, &(struct score){{.9}}, 3);
    rung_record(&r, &(struct score){{.3}}, 4);
    assert_true(rung_stop_cutoff(&r, eta_of("2")) == -0.40000000000000002);
    assert_true(rung_stop_cutoff(&r, eta_of("3")) == -0.29999999999999999);
    assert_true(rung_stop_cutoff(&r, eta_of("4")) == -0.25);
    assert_true(rung_stop_cutoff(&r, eta_of("1.1")) == -0.79090909090909089);
    rung_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain), cmocka_unit_test(test_many),
        cmocka_unit_test(test_top),           cmocka_unit_test(test_top_of_few),
        cmocka_unit_test(test_stop_cutoff),
    };

    return cmocka_run_group_tests_name("ranked", tests, NULL, NULL);
}
