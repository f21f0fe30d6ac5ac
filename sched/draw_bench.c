/* What a draw costs, and what writing and reading it costs. Prints lines of figure,
 * target, method. */
#include "base/clock.h"
#include "base/rng.h"
#include "sched/gp.h"
#include "sched/tpe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct line {
    const char *name, *expr, *when;
} five[] =
    {
        {"l1", "2 ** randint(2, 9)", NULL},
        {"l2", "2 ** randint(2, 9)", NULL},
        {"lr", "loguniform(1e-4, 1e-1)", NULL},
        {"batch_size", "choice(16, 32, 64, 128)", NULL},
        {"momentum", "uniform(0.5, 0.99)", "l1 >= 32"},
},
  ten[] =
      {
          {"a", "uniform(0, 1)", NULL}, {"b", "uniform(0, 1)", NULL},
          {"c", "uniform(0, 1)", NULL}, {"d", "uniform(0, 1)", NULL},
          {"e", "uniform(0, 1)", NULL}, {"f", "uniform(0, 1)", NULL},
          {"g", "uniform(0, 1)", NULL}, {"h", "uniform(0, 1)", NULL},
          {"i", "uniform(0, 1)", NULL}, {"j", "uniform(0, 1)", NULL},
},
  integers[] = {
      {"a", "randint(0, 100)", NULL}, {"b", "randint(0, 100)", NULL},
      {"c", "randint(0, 100)", NULL}, {"d", "randint(0, 100)", NULL},
      {"e", "randint(0, 100)", NULL}, {"f", "randint(0, 100)", NULL},
      {"g", "randint(0, 100)", NULL}, {"h", "randint(0, 100)", NULL},
      {"i", "randint(0, 100)", NULL}, {"j", "randint(0, 100)", NULL},
};

static void refuse(void *ctx, size_t offset, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%zu: %s\n", offset, text);
    abort();
}

static struct space *built(const struct line lines[], size_t n)
{
    const struct space_errors errors = {refuse, NULL};
    const char *names[16];
    struct space *sp = space_new();
    for (size_t i = 0; i < n; i++)
        names[i] = lines[i].name;
    space_declare(sp, names, n);
    for (size_t i = 0; i < n; i++)
        space_define(sp, (int)i, lines[i].expr, lines[i].when, &errors, &errors);
    return sp;
}

struct bench {
    struct space *space;
    double u[16];
    struct value values[16];
    struct draw draw;
    struct str json;
};

static void draw_one(struct bench *b, enum search_method method, uint32_t trial)
{
    b->draw.u = b->u;
    b->draw.values = b->values;
    if (search_draw(b->space, method, 1, trial, 0, 1, &b->draw, NULL) != 0)
        abort();
}

static void draw_random(struct bench *b, uint32_t trial)
{
    draw_one(b, SEARCH_RANDOM, trial);
}

static void draw_sobol(struct bench *b, uint32_t trial)
{
    b->draw.next = trial;
    draw_one(b, SEARCH_SOBOL, trial);
}

static void eval(struct bench *b, uint32_t trial)
{
    b->u[0] = (trial % 1000 + 0.5) / 1000;
    if (space_eval(b->space, b->u, b->values, NULL) != SPACE_OK)
        abort();
}

static void write_json(struct bench *b, uint32_t trial)
{
    (void)trial;
    str_cut(&b->json, 0);
    space_json(b->space, b->values, &b->json);
}

static void read_json(struct bench *b, uint32_t trial)
{
    struct value values[16];
    struct json j;
    (void)trial;
    json_begin(&j, b->json.p, b->json.len);
    if (space_scan(b->space, &j, values, NULL) != 0)
        abort();
    values_free(values, space_count(b->space));
}

/* 1,000 trials of a space, each with a value; of two objectives none dominates another.
 */
static struct observed *thousand(const struct space *sp, int objectives)
{
    struct observed *o = observed_new(sp, 1, objectives);
    struct value values[16];
    double u[16];
    for (uint32_t t = 0; t < 1000; t++) {
        double value = rng_unit(1, RNG_TEST, t, 0, 0);
        struct score score = {{value, objectives > 1 ? 1 - sqrt(value) : 0}};
        space_point(sp, 1, t, 0, u);
        if (space_eval(sp, u, values, NULL) != SPACE_OK)
            abort();
        observed_add(o, u, values);
        observed_score(o, (int32_t)t, 0, &score);
    }
    return o;
}

/* Seconds a draw. */
static double time_tpe(struct bench *b, bool multivariate, int objectives)
{
    enum { DRAWS = 50 };
    struct observed *o = thousand(b->space, objectives);
    double start = clock_mono();
    b->draw.u = b->u;
    b->draw.values = b->values;
    for (uint32_t t = 1000; t < 1000 + DRAWS; t++)
        if (tpe_draw(b->space, o, 1, t, (struct tpe_rule){.multivariate = multivariate},
                     &b->draw, NULL) != 0)
            abort();
    double each = (clock_mono() - start) / DRAWS;
    observed_free(o);
    return each;
}

static void bench_tpe(struct bench *b, int objectives, const char *what)
{
    for (int multivariate = 1; multivariate >= 0; multivariate--)
        printf("%.2f ms\t< 10 ms\ttpe draw of %s after 1000 trials, %s; mean of 50\n",
               1e3 * time_tpe(b, multivariate, objectives), what,
               multivariate ? "multivariate" : "univariate");
}

/* Each of them runs and comes to a value before the next one, as in a sweep. */
static void bench_gp(struct bench *b, const char *what)
{
    enum { DRAWS = 200 };
    const struct gp_ops *ops = gp_open(NULL);
    if (!ops) {
        printf("-\t< 250 ms\tgp draw: left out of this build\n");
        return;
    }
    struct observed *o = thousand(b->space, 1);
    struct gp *gp = gp_new(b->space, 1, ops);
    double all = 0, most = 0;
    b->draw.u = b->u;
    b->draw.values = b->values;
    for (uint32_t t = 1000; t < 1000 + DRAWS; t++) {
        double start = clock_mono();
        if (gp_draw(gp, o, t, &b->draw, NULL) != 0)
            abort();
        double took = clock_mono() - start;
        all += took;
        most = took > most ? took : most;
        observed_add(o, b->u, b->values);
        observed_value(o, (int32_t)t, 0, rng_unit(1, RNG_TEST, t, 0, 0));
    }
    printf("%.1f ms\t< 250 ms\tgp draw of %s after 1000 trials; mean of %d (the longest: "
           "%.0f ms)\n",
           1e3 * all / DRAWS, what, DRAWS, 1e3 * most);
    gp_free(gp);
    observed_free(o);
}

int main(void)
{
    enum { REPEAT = 200000, RUNS = 5 };
    static struct bench small = {.json = STR_INIT}, wide = {.json = STR_INIT};
    static struct bench whole = {.json = STR_INIT};
    static const struct {
        const char *what;
        double target; /* ns */
        struct bench *bench;
        void (*run)(struct bench *b, uint32_t trial);
    } cases[] = {
        {"random draw of 5 parameters, 2 of them computed, 1 conditional", 1000, &small,
         draw_random},
        {"evaluation of the same at a given point", 1000, &small, eval},
        {"its parameters written as JSON", 1000, &small, write_json},
        {"and read back", 1000, &small, read_json},
        {"random draw of 10 real parameters", 2000, &wide, draw_random},
        {"sobol draw of 10 real parameters, points 0 to 199999", 2000, &wide, draw_sobol},
    };
    small.space = built(five, sizeof(five) / sizeof(five[0]));
    wide.space = built(ten, sizeof(ten) / sizeof(ten[0]));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double best = 1e9;
        for (int run = 0; run < RUNS; run++) {
            double start = clock_mono();
            for (uint32_t k = 0; k < REPEAT; k++)
                cases[i].run(cases[i].bench, k);
            double ns = (clock_mono() - start) * 1e9 / REPEAT;
            best = ns < best ? ns : best;
        }
        printf("%.0f ns\t< %.0f ns\t%s; best of %d runs of %d\n", best, cases[i].target,
               cases[i].what, RUNS, REPEAT);
    }
    whole.space = built(integers, sizeof(integers) / sizeof(integers[0]));
    bench_tpe(&wide, 1, "10 real parameters");
    bench_tpe(&whole, 1, "10 integers of 100 values");
    bench_tpe(&wide, 2, "10 real parameters, two metrics, one front");
    bench_gp(&wide, "10 real parameters");
    bench_gp(&whole, "10 integers of 100 values");
    space_free(whole.space);
    space_free(small.space);
    space_free(wide.space);
    str_free(&small.json);
    return 0;
}
