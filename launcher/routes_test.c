#include "launcher/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

static void hear(struct routes *r, uint64_t agent, uint64_t peer, const char *packet,
                 double now)
{
    routes_heard(r, agent, peer, packet, strlen(packet), now);
}

static void leads(const struct routes *r, uint64_t agent, uint64_t wanted)
{
    uint64_t peer = 0;

    assert_true(routes_find(r, agent, &peer));
    assert_int_equal(peer, wanted);
}

static void test_unknown(void **state)
{
    struct routes *r = routes_new(2);
    uint64_t peer;

    (void)state;
    assert_false(routes_find(r, 1, &peer));
    hear(r, 1, 10, "hello", 0);
    assert_false(routes_find(r, 2, &peer));
    leads(r, 1, 10);
    routes_free(r);
    routes_free(NULL);
}

static void test_copies(void **state)
{
    struct routes *r = routes_new(2);

    (void)state;
    hear(r, 1, 10, "hello", 100);
    hear(r, 1, 11, "hello", 100); /* at once, */
    leads(r, 1, 10);
    hear(r, 1, 10, "ask", 100.1);
    hear(r, 1, 12, "hello", 100.2); /* and overtaken */
    leads(r, 1, 10);
    hear(r, 2, 12, "hello", 100.2); /* another agent's is its own */
    leads(r, 2, 12);
    leads(r, 1, 10);
    routes_free(r);
}

static void test_another_connection(void **state)
{
    struct routes *r = routes_new(2);

    (void)state;
    hear(r, 1, 10, "beat", 100);
    hear(r, 1, 11, "something else", 100.1);
    leads(r, 1, 11);
    hear(r, 1, 10, "beat", 103); /* not a copy any more: it says the same again */
    leads(r, 1, 10);
    hear(r, 1, 11, "beat", 104);
    leads(r, 1, 10);
    hear(r, 1, 11, "beat", 105.1); /* who only ever says the same is followed, too */
    leads(r, 1, 11);
    routes_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_another_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
