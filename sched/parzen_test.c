/* Densities against formulas written out here for one kernel after the other. */
#include "sched/parzen.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { X, N, C, DIMS };

static void refuse(void *ctx, size_t offset, const char *text)
{
    (void)ctx;
    fail_msg("%zu: %s", offset, text);
}

/* A real one, four integers on a logarithmic scale, three choices. */
static struct space *space_of_kinds(void)
{
    static const struct space_errors errors = {refuse, NULL};
    static const char *const names[] = {"x", "n", "c"};
    struct space *sp = space_new();
    space_declare(sp, names, DIMS);
    space_define(sp, X, "uniform(0, 1)", NULL, &errors, NULL);
    space_define(sp, N, "lograndint(1, 5)", NULL, &errors, NULL);
    space_define(sp, C, "choice(p, q, r)", NULL, &errors, NULL);
    return sp;
}

static double phi(double z)
{
    return erfc(-z / sqrt(2)) / 2;
}

static double normal(double x, double mu, double sigma)
{
    double z = (x - mu) / sigma;
    return exp(-z * z / 2) / (sigma * sqrt(2 * M_PI)) /
           (phi((1 - mu) / sigma) - phi(-mu / sigma));
}

static double share(double lo, double hi, double mu, double sigma)
{
    return (phi((hi - mu) / sigma) - phi((lo - mu) / sigma)) /
           (phi((1 - mu) / sigma) - phi(-mu / sigma));
}

static double density_of(const double points[][DIMS], int n, const int dims[], int n_dims,
                         double x, double k, double c)
{
    struct space *sp = space_of_kinds();
    const double *at[64], u[DIMS] = {x, k, c};
    for (int i = 0; i < n; i++)
        at[i] = points[i];
    struct parzen *p = parzen_new(sp, dims, n_dims, at, n);
    double density = exp(parzen_log_density(p, u));
    parzen_free(p);
    space_free(sp);
    return density;
}

#define ONLY(d) ((const int[]){d}), 1

static void assert_near(double have, double want)
{
    if (!(fabs(have - want) <= 1e-12 * fabs(want)))
        fail_msg("%.17g, not %.17g", have, want);
}

static void without_points_it_is_the_prior(void **state)
{
    (void)state;
    assert_near(density_of(NULL, 0, ONLY(X), 0.2, NAN, NAN), normal(0.2, 0.5, 1));
    assert_near(density_of(NULL, 0, ONLY(C), NAN, NAN, 0.5), 1.0 / 3);
}

/* Widths: the larger distance to a neighbour; at the ends the only one, and the ends of
 * the interval count for a point that is alone. */
static void numbers_are_normals(void **state)
{
    static const double one[][DIMS] = {{0.3}}, three[][DIMS] = {{0.9}, {0.1}, {0.4}};
    static const double close[][DIMS] = {{0.5}, {0.51}};
    (void)state;
    assert_near(density_of(one, 1, ONLY(X), 0.2, NAN, NAN),
                (normal(0.2, 0.3, 0.7) + normal(0.2, 0.5, 1)) / 2);
    assert_near(density_of(three, 3, ONLY(X), 0.2, NAN, NAN),
                (normal(0.2, 0.9, 0.5) + normal(0.2, 0.1, 0.3) + normal(0.2, 0.4, 0.5) +
                 normal(0.2, 0.5, 1)) /
                    4);
    /* no narrower than 0.75 / (2 + 2) */
    assert_near(
        density_of(close, 2, ONLY(X), 0.2, NAN, NAN),
        (normal(0.2, 0.5, 0.1875) + normal(0.2, 0.51, 0.1875) + normal(0.2, 0.5, 1)) / 3);
}

static void many_are_no_narrower_than_a_hundredth(void **state)
{
    struct space *sp = space_of_kinds();
    static double points[200][DIMS];
    const double *at[200];
    double own = 0, sum = 0;
    (void)state;
    for (int i = 0; i < 200; i++) {
        points[i][X] = 0.25 + 1e-6 * i;
        at[i] = points[i];
        double w = i < 175 ? 1.0 / 200 + (1 - 1.0 / 200) * i / 174 : 1;
        own += w * normal(0.26, points[i][X], 0.0075);
        sum += w;
    }
    struct parzen *p = parzen_new(sp, (const int[]){X}, 1, at, 200);
    double u[DIMS] = {0.26, NAN, NAN};
    assert_near(exp(parzen_log_density(p, u)), (own + normal(0.26, 0.5, 1)) / (sum + 1));
    parzen_free(p);
    space_free(sp);
}

/* The 25 newest have full weight; the oldest has 1 / n. */
static void old_points_weigh_less(void **state)
{
    static double points[27][DIMS];
    (void)state;
    for (int i = 0; i < 27; i++)
        points[i][C] = i < 2 ? 0.1 : 0.9;
    /* 27 points in all, their kernels with 28 */
    double all = 1 + 3.0 / 28, hit = (1 + 1.0 / 28) / all, miss = 1.0 / 28 / all;
    assert_near(density_of(points, 27, ONLY(C), NAN, NAN, 0.1),
                ((1.0 / 27 + 1) * hit + 25 * miss + 1.0 / 3) / (1.0 / 27 + 1 + 25 + 1));
    /* one too many, which is the oldest */
    all = 1 + 3.0 / 27, hit = (1 + 1.0 / 27) / all, miss = 1.0 / 27 / all;
    assert_near(density_of(points, 26, ONLY(C), NAN, NAN, 0.1),
                ((1.0 / 26 + 1) * hit + 24 * miss + 1.0 / 3) / (1.0 / 26 + 25 + 1));
}

static void rounded_numbers_have_probabilities(void **state)
{
    /* 1, 2, 3, 4: [0, log 2 / log 5), ... */
    double edge[] = {0, log(2) / log(5), log(3) / log(5), log(4) / log(5), 1}, sum = 0;
    double points[][DIMS] = {{0, (edge[1] + edge[2]) / 2}};
    double mu = points[0][N], sigma = mu > 1 - mu ? mu : 1 - mu;
    (void)state;
    for (int k = 0; k < 4; k++) {
        double u = edge[k] + 0.01, have = density_of(points, 1, ONLY(N), NAN, u, NAN);
        assert_near(have, (share(edge[k], edge[k + 1], mu, sigma) +
                           share(edge[k], edge[k + 1], 0.5, 1)) /
                              2);
        sum += have;
    }
    assert_near(sum, 1);
}

/* Jointly: products of what each kernel has, and the prior's part where a point has no
 * such dimension; dimensions that the place in question lacks do not count. */
static void kernels_are_products(void **state)
{
    static const double points[][DIMS] = {{0.3, 0.1, 0.5}, {0.6, 0.1, NAN}};
    static const int both[] = {X, C};
    /* each of the two is the other's only neighbour; one of them has C */
    double all = 1 + 3.0 / 2, hit = (1 + 1.0 / 2) / all;
    (void)state;
    assert_near(density_of(points, 2, both, 2, 0.4, 0.1, 0.5),
                (normal(0.4, 0.3, 0.3) * hit + normal(0.4, 0.6, 0.3) / 3 +
                 normal(0.4, 0.5, 1) / 3) /
                    3);
    assert_near(density_of(points, 2, both, 2, 0.4, 0.1, NAN),
                (normal(0.4, 0.3, 0.3) + normal(0.4, 0.6, 0.3) + normal(0.4, 0.5, 1)) /
                    3);
}

/* So many draws fall into each part of the space as its density says. */
static void draws_follow_the_density(void **state)
{
    enum { DRAWS = 40000, PARTS = 10 };
    static const double points[][DIMS] = {
        {0.05, NAN, 0.1}, {0.15, NAN, 0.5}, {0.9, NAN, NAN}};
    static const int both[] = {X, C};
    struct space *sp = space_of_kinds();
    const double *at[] = {points[0], points[1], points[2]};
    struct parzen *p = parzen_new(sp, both, 2, at, 3);
    int seen[PARTS][3] = {{0}};
    double u[DIMS] = {0, NAN, 0};
    (void)state;
    for (uint32_t i = 0; i < DRAWS; i++) {
        double random[3];
        for (uint32_t k = 0; k < 3; k++)
            random[k] = rng_unit(1, RNG_TEST, i, k, 0);
        parzen_draw(p, random, u);
        assert_true(u[X] >= 0 && u[X] < 1);
        seen[(int)(u[X] * PARTS)][(int)(u[C] * 3)]++;
    }
    for (int part = 0; part < PARTS; part++)
        for (int c = 0; c < 3; c++) {
            double want = 0;
            for (int k = 0; k < 100; k++) {
                u[X] = (part + (k + 0.5) / 100) / PARTS;
                u[C] = (c + 0.5) / 3;
                want += DRAWS * exp(parzen_log_density(p, u)) / PARTS / 100;
            }
            if (fabs(seen[part][c] - want) > 5 * sqrt(want))
                fail_msg("part %d, choice %d: %d, not %.0f", part, c, seen[part][c],
                         want);
        }
    parzen_free(p);
    space_free(sp);
}

/* At the ends of what random numbers can be. */
static void draws_stay_inside(void **state)
{
    static const double points[][DIMS] = {{0, NAN, 0.5}, {1 - 0x1p-53, NAN, 0.9}};
    static const int both[] = {X, C};
    static const double ends[] = {0, 1 - 0x1p-53};
    struct space *sp = space_of_kinds();
    const double *at[] = {points[0], points[1]};
    struct parzen *p = parzen_new(sp, both, 2, at, 2);
    double u[DIMS];
    (void)state;
    for (int i = 0; i < 8; i++) {
        double random[] = {ends[i & 1], ends[i >> 1 & 1], ends[i >> 2]};
        parzen_draw(p, random, u);
        assert_true(u[X] >= 0 && u[X] < 1 && u[C] > 0 && u[C] < 1);
        assert_true(isfinite(parzen_log_density(p, u)));
    }
    parzen_free(p);
    space_free(sp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_points_it_is_the_prior),
        cmocka_unit_test(numbers_are_normals),
        cmocka_unit_test(many_are_no_narrower_than_a_hundredth),
        cmocka_unit_test(old_points_weigh_less),
        cmocka_unit_test(rounded_numbers_have_probabilities),
        cmocka_unit_test(kernels_are_products),
        cmocka_unit_test(draws_follow_the_density),
        cmocka_unit_test(draws_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
