#include "launcher/drafter.h"

#include "base/mem.h"
#include "sched/search.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct play {
    struct spec spec;
    struct sweep *sw;
    struct drafter *drafter;
};

static void play_begin(struct play *p)
{
    static const char *const names[] = {"x"};

    spec_init(&p->spec);
    p->spec.objective[0].name = mem_strdup("loss");
    p->spec.space = space_new();
    space_declare(p->spec.space, names, 1);
    assert_int_equal(space_define(p->spec.space, 0, "uniform(0, 1)", NULL, NULL, NULL),
                     0);
    p->spec.search = SEARCH_TPE;
    p->spec.trials = 100;
    p->sw = sweep_new(&p->spec);
    p->drafter = drafter_new(NULL);
    assert_non_null(p->drafter);
}

static void play_end(struct play *p)
{
    drafter_free(p->drafter);
    sweep_free(p->sw);
    spec_clear(&p->spec);
}

static struct draft *begun(struct play *p)
{
    struct draft *d;

    assert_int_equal(draft_begin(p->sw, &d, NULL), 0);
    assert_non_null(d);
    return d;
}

static void it_makes_one_after_the_other(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p);
    assert_null(drafter_take(p.drafter));
    for (int32_t t = 0; t < 20; t++) {
        struct pollfd fd = {.fd = drafter_fd(p.drafter), .events = POLLIN};
        struct draft *d = begun(&p);
        struct event ev;

        drafter_make(p.drafter, d);
        assert_int_equal(poll(&fd, 1, 60000), 1);
        assert_ptr_equal(drafter_take(p.drafter), d);
        assert_null(drafter_take(p.drafter));
        assert_int_equal(poll(&fd, 1, 0), 0);
        assert_int_equal(draft_use(d, p.sw, &ev, NULL), 0);
        assert_int_equal(ev.trial, t);
        assert_int_equal(sweep_apply(p.sw, &ev, NULL, NULL), 0);
        draft_free(d);
    }
    play_end(&p);
}

static void it_may_end_at_any_time(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct play p;

        play_begin(&p);
        if (i > 0)
            drafter_make(p.drafter, begun(&p));
        if (i % 2)
            poll(&(struct pollfd){.fd = drafter_fd(p.drafter), .events = POLLIN}, 1,
                 60000);
        play_end(&p);
    }
    drafter_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_makes_one_after_the_other),
        cmocka_unit_test(it_may_end_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
