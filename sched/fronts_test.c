#include "base/mem.h"
#include "base/rng.h"
#include "sched/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

#define MOST 120

/* The same by the book: fronts are peeled off one by one, neighbours are looked for among
 * all of the front. */
struct plain {
    struct score score[MOST];
    uint32_t order[MOST];
    bool passed[MOST], paused[MOST];
    uint32_t n;
    uint32_t front[MOST], sorted[MOST]; /* sorted: best first */
    double distance[MOST];
};

static void peel(struct plain *p)
{
    uint32_t left = p->n;

    memset(p->front, 0, sizeof(p->front));
    for (uint32_t front = 1; left > 0; front++) {
        for (uint32_t i = 0; i < p->n; i++) {
            bool dominated = p->front[i] > 0;

            for (uint32_t k = 0; k < p->n && !dominated; k++)
                dominated = (p->front[k] == 0 || p->front[k] == front) &&
                            score_dominates(&p->score[k], &p->score[i]);
            if (!dominated) {
                p->front[i] = front;
                left--;
            }
        }
    }
}

/* Does i come before k in an objective? */
static bool ahead(const struct plain *p, int v, uint32_t i, uint32_t k)
{
    double a = p->score[i].v[v], b = p->score[k].v[v];

    return a < b || (a == b && p->order[i] < p->order[k]);
}

static double distance_in(const struct plain *p, int v, uint32_t i)
{
    uint32_t least = i, most = i;
    bool any_below = false, any_above = false;
    uint32_t below = i, above = i;

    for (uint32_t k = 0; k < p->n; k++) {
        if (p->front[k] != p->front[i])
            continue;
        if (ahead(p, v, k, least))
            least = k;
        if (ahead(p, v, most, k))
            most = k;
        if (ahead(p, v, k, i) && (!any_below || ahead(p, v, below, k))) {
            below = k;
            any_below = true;
        }
        if (ahead(p, v, i, k) && (!any_above || ahead(p, v, k, above))) {
            above = k;
            any_above = true;
        }
    }
    if (p->score[least].v[v] == p->score[most].v[v])
        return 0;
    if (i == least || i == most)
        return INFINITY;
    return (p->score[above].v[v] - p->score[below].v[v]) /
           (p->score[most].v[v] - p->score[least].v[v]);
}

static bool first_of(const struct plain *p, uint32_t i, uint32_t k)
{
    if (p->front[i] != p->front[k])
        return p->front[i] < p->front[k];
    if (p->distance[i] != p->distance[k])
        return p->distance[i] > p->distance[k];
    return p->order[i] < p->order[k];
}

static void plain_sort(struct plain *p)
{
    peel(p);
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t at = i;

        p->distance[i] = 0;
        for (int v = 0; v < OBJECTIVES_MAX; v++)
            p->distance[i] += distance_in(p, v, i);
        for (; at > 0; at--)
            p->sorted[at] = p->sorted[at - 1];
        p->sorted[0] = i;
    }
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = i + 1; k < p->n; k++)
            if (first_of(p, p->sorted[k], p->sorted[i])) {
                uint32_t swapped = p->sorted[i];

                p->sorted[i] = p->sorted[k];
                p->sorted[k] = swapped;
            }
}

static void assert_same(struct fronts *f, struct plain *p)
{
    uint32_t competing = 0, order = 0, place[MOST], front[MOST];
    int32_t trial = -1, first = -1;

    plain_sort(p);
    fronts_sort(p->score, p->n, place, front);
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t who = p->sorted[i];

        assert_int_equal(fronts_place(f, p->order[who]), i);
        assert_int_equal(place[who], i);
        assert_int_equal(front[who], p->front[who]);
        if (!p->passed[who])
            assert_int_equal(fronts_best(f, competing++), i);
        if (p->paused[who] && first < 0)
            first = (int32_t)who;
    }
    assert_int_equal(fronts_count(f), p->n);
    assert_int_equal(fronts_competing(f), competing);
    assert_int_equal(fronts_paused(f, &order, &trial), first >= 0);
    if (first >= 0) {
        assert_int_equal(trial, first);
        assert_int_equal(order, p->order[first]);
    }
}

/* Shape 1 has many ties, shape 2 one front of all, shape 3 a front for each. */
static double value_of(int shape, uint32_t i, int v, int objectives)
{
    double u = rng_unit(5, RNG_TEST, i, (uint32_t)(8 * shape + v), (uint32_t)objectives);

    if (v >= objectives)
        return 0;
    switch (shape) {
    case 0: return u - 0.5;
    case 1: return floor(u * 4) / 4;
    case 2: return v == 0 ? (double)((i * 37) % MOST) : -(double)((i * 37) % MOST);
    default: return -(double)i;
    }
}

static void test_against_plain(void **state)
{
    (void)state;
    for (int objectives = 1; objectives <= OBJECTIVES_MAX; objectives++) {
        for (int shape = 0; shape < 4; shape++) {
            struct plain *p = mem_alloc(sizeof(*p));
            struct fronts *f = fronts_new();

            for (uint32_t i = 0; i < MOST; i++) {
                for (int v = 0; v < objectives; v++)
                    p->score[i].v[v] = value_of(shape, i, v, objectives);
                p->order[i] = 3 * i + 1;
                fronts_insert(f, &p->score[i], p->order[i]);
                p->n++;
                if (i % 3 == 0) {
                    uint32_t who = i * 7 % p->n;

                    fronts_pass_over(f, p->order[who]);
                    p->passed[who] = true;
                }
                if (i % 2 == 0) {
                    fronts_pause(f, p->order[i], (int32_t)i);
                    p->paused[i] = true;
                }
                if (i % 5 == 4) {
                    uint32_t who = i * 11 % p->n;

                    fronts_resume(f, p->order[who]);
                    p->paused[who] = false;
                }
                assert_same(f, p);
            }
            fronts_free(f);
            free(p);
        }
    }
}

/* Figure 1 of the paper: the ends of a front first, then by how alone one is. */
static void test_by_hand(void **state)
{
    static const struct score scores[] = {{{1, 10}}, {{5, 5}}, {{2, 9}},
                                          {{3, 8}},  {{9, 1}}, {{6, 6}}};
    /* distances inside: (2, 9) 2/8 + 2/9, (3, 8) 3/8 + 4/9, (5, 5) 6/8 + 7/9 */
    static const uint32_t places[] = {0, 2, 4, 3, 1, 5}, fronts[] = {1, 1, 1, 1, 1, 2};
    uint32_t place[6], front[6];

    (void)state;
    fronts_sort(scores, 6, place, front);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(place[i], places[i]);
        assert_int_equal(front[i], fronts[i]);
    }
    fronts_sort(scores, 0, place, NULL);
}

/* The distance between the largest numbers is not finite, what is compared is. */
static void test_extremes(void **state)
{
    static const struct score scores[] = {{{-1.7e308, 1.7e308}},
                                          {{-1e308, 1e308}},
                                          {{1e307, -1e307}},
                                          {{1.7e308, -1.7e308}}};
    static const uint32_t places[] = {0, 3, 2, 1};
    uint32_t place[4];

    (void)state;
    fronts_sort(scores, 4, place, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(place[i], places[i]);
}

/* A rung of two objectives answers as one of one does, by places. */
static void test_rung(void **state)
{
    static const struct score scores[] = {{{1, 3}}, {{2, 2}},     {{3, 1}},
                                          {{3, 3}}, {{NAN, 0.1}}, {{0, INFINITY}}};
    struct queued best;
    struct rung r;

    (void)state;
    rung_init(&r, 1, 0, 0, 2);
    assert_false(rung_in_top(&r, 0, 0, 1));
    assert_int_equal(rung_record(&r, &scores[3], 0), 1);
    assert_int_equal(rung_record(&r, &scores[0], 1),
                     1); /* the one before is second now */
    assert_int_equal(rung_record(&r, &scores[4], 2), 3);
    assert_int_equal(rung_record(&r, &scores[5], 3), 4);
    assert_int_equal(rung_record(&r, &scores[1], 4), 2);
    assert_int_equal(rung_record(&r, &scores[2], 5), 2); /* an end of the front */
    assert_int_equal(rung_rank(&r, &scores[1], 4), 3);
    assert_int_equal(rung_rank(&r, &scores[4], 2), 6);
    assert_int_equal(rung_candidates(&r), 4);
    assert_true(isnan(rung_top_cutoff(&r, 2)));

    assert_true(rung_in_top(&r, rung_standing(&r, &scores[2], 5), 5, 2));
    assert_false(rung_in_top(&r, rung_standing(&r, &scores[1], 4), 4, 2));
    rung_pass_over(&r, &scores[0], 1);
    assert_true(rung_in_top(&r, rung_standing(&r, &scores[1], 4), 4, 2));
    assert_false(rung_in_top(&r, rung_standing(&r, &scores[3], 0), 0, 2));
    assert_int_equal(rung_candidates(&r), 3);

    assert_false(rung_paused(&r, &best));
    rung_pause(&r, &scores[3], 0, 30);
    rung_pause(&r, &scores[1], 4, 34);
    assert_true(rung_paused(&r, &best));
    assert_int_equal(best.trial, 34);
    assert_true(best.value == 2);
    rung_resume(&r, &best);
    assert_true(rung_paused(&r, &best));
    assert_int_equal(best.trial, 30);
    rung_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_rung),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
