#include "gpu/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MIB = 1 << 20 };

/* A device of so many bytes. */
struct store {
    size_t left;
    int takes, gives;
    struct {
        void *p;
        size_t bytes;
    } taken[64];
};

static int store_take(void *arg, size_t bytes, void **p, struct err *e)
{
    struct store *s = arg;

    if (bytes > s->left)
        return err_set(e, ERR_FULL, "the store is empty");
    *p = malloc(bytes);
    s->left -= bytes;
    s->taken[s->takes].p = *p;
    s->taken[s->takes++].bytes = bytes;
    return 0;
}

static void store_give(void *arg, void *p)
{
    struct store *s = arg;

    for (int i = 0; i < s->takes; i++)
        if (s->taken[i].p == p) {
            s->left += s->taken[i].bytes;
            s->taken[i].p = NULL;
            s->gives++;
            free(p);
            return;
        }
    fail_msg("%p was not taken", p);
}

static struct cache *open_store(struct store *s, size_t bytes)
{
    *s = (struct store){.left = bytes};
    return cache_open(&(struct cache_source){store_take, store_give, s});
}

static void test_what_is_released_is_given_out_again(void **state)
{
    (void)state;
    struct store s;
    struct cache *c = open_store(&s, 64 * MIB);
    void *a, *b, *again;

    assert_int_equal(cache_allocate(c, 3 * MIB, &a, NULL), 0);
    assert_int_equal(cache_allocate(c, 1000, &b, NULL), 0);
    memset(a, 1, 3 * MIB);
    memset(b, 1, 1000);
    cache_release(c, a);
    assert_int_equal(cache_allocate(c, 4 * MIB, &again, NULL), 0);
    assert_ptr_equal(again, a);
    assert_int_equal(s.takes, 2);
    cache_release(c, again);
    /* Too small, by half: it would be wasted. */
    assert_int_equal(cache_allocate(c, 2 * MIB, &again, NULL), 0);
    assert_ptr_not_equal(again, a);
    cache_release(c, NULL);
    cache_close(c);
    assert_int_equal(s.gives, s.takes);
    assert_int_equal(s.left, 64 * MIB);
}

static void test_usage_is_counted(void **state)
{
    (void)state;
    struct store s;
    struct cache *c = open_store(&s, 64 * MIB);
    void *a, *b;

    cache_allocate(c, 1, &a, NULL);
    assert_int_equal(cache_usage(c).used, 512);
    cache_allocate(c, 3 * MIB, &b, NULL);
    assert_int_equal(cache_usage(c).used, 4 * MIB + 512);
    cache_release(c, b);
    assert_int_equal(cache_usage(c).used, 512);
    assert_int_equal(cache_usage(c).peak, 4 * MIB + 512);
    assert_int_equal(cache_usage(c).held, 4 * MIB + 512);
    cache_trim(c);
    assert_int_equal(cache_usage(c).held, 512);
    assert_int_equal(s.gives, 1);
    cache_close(c);
}

static void test_what_is_kept_goes_back_before_it_fails(void **state)
{
    (void)state;
    struct store s;
    struct cache *c = open_store(&s, 8 * MIB);
    struct err e;
    void *a, *b;

    assert_int_equal(cache_allocate(c, 6 * MIB, &a, NULL), 0);
    assert_int_equal(cache_allocate(c, 4 * MIB, &b, &e), ERR_FULL);
    assert_string_equal(e.text, "the store is empty");
    cache_release(c, a);
    assert_int_equal(cache_allocate(c, 4 * MIB, &b, NULL), 0);
    assert_int_equal(s.gives, 1);
    assert_int_equal(cache_usage(c).held, 4 * MIB);
    cache_close(c);
}

static void test_a_limit_is_of_what_is_kept_too(void **state)
{
    (void)state;
    struct store s;
    struct cache *c = open_store(&s, 64 * MIB);
    void *a;

    cache_allocate(c, 4 * MIB, &a, NULL);
    cache_release(c, a);
    cache_limit(c, 2 * MIB);
    assert_int_equal(cache_allocate(c, 4 * MIB, &a, NULL), ERR_FULL);
    assert_int_equal(cache_allocate(c, 2 * MIB, &a, NULL), 0);
    cache_close(c);
}

static void test_a_limit_is_kept(void **state)
{
    (void)state;
    struct store s;
    struct cache *c = open_store(&s, 64 * MIB);
    struct err e;
    void *a, *b;

    cache_allocate(c, 2 * MIB, &a, NULL);
    cache_limit(c, 4 * MIB);
    assert_int_equal(cache_allocate(c, 6 * MIB, &b, &e), ERR_FULL);
    assert_string_equal(e.text, "with 4 MiB left: cannot allocate 6 MiB");
    assert_int_equal(cache_allocate(c, 4 * MIB, &b, &e), 0);
    cache_release(c, b);
    assert_int_equal(cache_allocate(c, 1000, &b, &e), 0); /* the kept 4 MiB go */
    assert_true(cache_usage(c).left <= 4 * MIB);
    cache_limit(c, SIZE_MAX);
    assert_true(cache_usage(c).left == SIZE_MAX);
    assert_int_equal(cache_allocate(c, 6 * MIB, &b, &e), 0);
    assert_int_equal(cache_allocate(c, SIZE_MAX, &b, &e), ERR_FULL);
    assert_non_null(strstr(e.text, "cannot allocate so much"));
    cache_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_released_is_given_out_again),
        cmocka_unit_test(test_usage_is_counted),
        cmocka_unit_test(test_what_is_kept_goes_back_before_it_fails),
        cmocka_unit_test(test_a_limit_is_kept),
        cmocka_unit_test(test_a_limit_is_of_what_is_kept_too),
    };

    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
