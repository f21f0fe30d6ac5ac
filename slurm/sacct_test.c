/* What sacct printed, of Slurm 22.05.8 unless it is said. */
#include "slurm/sacct.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* A requeued job, one cancelled, one that waits, and one with an attempt that ended well,
 * one that exited with 3 and one that was killed. */
static const char printed[] =
    "7|CANCELLED by 0|2026-11-27T01:10:42|2026-11-27T01:10:50|8|00:00.002|||n3|wrap\n"
    "7.batch|CANCELLED|2026-11-27T01:10:42|2026-11-27T01:10:51|9|00:00.002|3190784|0|n3|"
    "batch\n"
    "4|PENDING|Unknown|Unknown|0|00:00:00||0|None assigned|wrap\n"
    "9|RUNNING|2026-11-27T01:10:42|Unknown|12|00:00.002|||n4|wrap\n"
    "9|REQUEUED|2026-11-27T01:10:42|2026-11-27T01:10:54|12|00:00.022||0|n4|wrap\n"
    "6_0|COMPLETED|2026-11-27T01:10:42|2026-11-27T01:10:45|3|00:01.190||0|n1|j.sh\n"
    "6_0.0|COMPLETED|2026-11-27T01:10:42|2026-11-27T01:10:43|1|00:00.003|2920448|0|n1|"
    "t000000.r1\n"
    "6_0.1|FAILED|2026-11-27T01:10:43|2026-11-27T01:10:43|0|00:00.001|978944|0|n1|"
    "t000001.r1\n"
    "6_0.2|CANCELLED|2026-11-27T01:10:43|2026-11-27T01:10:43|0|00:00.001|3088384|0|n1|"
    "t000002.r1\n";

struct want {
    const char *job, *step, *name, *state, *nodes;
    enum job_state is;
    double elapsed, cpu, rss;
};

static const struct want wanted[] = {
    {"7", "", "wrap", "CANCELLED", "n3", JOB_GONE, 8, .002, NAN},
    {"7", "batch", "batch", "CANCELLED", "n3", JOB_GONE, 9, .002, 3190784},
    {"4", "", "wrap", "PENDING", "", JOB_PENDING, 0, 0, NAN},
    {"9", "", "wrap", "RUNNING", "n4", JOB_RUNNING, 12, .002, NAN},
    {"9", "", "wrap", "REQUEUED", "n4", JOB_GONE, 12, .022, NAN},
    {"6_0", "", "j.sh", "COMPLETED", "n1", JOB_GONE, 3, 1.19, NAN},
    {"6_0", "0", "t000000.r1", "COMPLETED", "n1", JOB_GONE, 1, .003, 2920448},
    {"6_0", "1", "t000001.r1", "FAILED", "n1", JOB_GONE, 0, .001, 978944},
    {"6_0", "2", "t000002.r1", "CANCELLED", "n1", JOB_GONE, 0, .001, 3088384},
};

static void is_text(struct slice got, const char *want)
{
    if (!slice_eq(got, want))
        fail_msg("'%.*s', not '%s'", (int)got.len, got.p, want);
}

static void is_number(double got, double want)
{
    if (!(isnan(want) ? isnan(got) : fabs(got - want) < 1e-9))
        fail_msg("%g, not %g", got, want);
}

static void test_printed(void **state)
{
    struct slice rest = SLICE(printed);
    struct account r;

    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    tzset();
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        const struct want *w = &wanted[i];

        assert_true(sacct_next(&rest, &r));
        is_text(r.job, w->job);
        is_text(r.step, w->step);
        is_text(r.name, w->name);
        is_text(r.state, w->state);
        is_text(r.nodes, w->nodes);
        assert_int_equal(r.is, w->is);
        is_number(r.elapsed, w->elapsed);
        is_number(r.cpu_seconds, w->cpu);
        is_number(r.max_rss, w->rss);
        assert_true(isnan(r.energy));
        if (w->is != JOB_PENDING)
            assert_true(r.started == 1795741842 || r.started == 1795741843);
    }
    assert_true(r.ended == 1795741843);
    assert_false(sacct_next(&rest, &r));
}

static struct account one(const char *line)
{
    struct slice rest = slice_of(line);
    struct account r;

    if (!sacct_next(&rest, &r))
        fail_msg("no record: %s", line);
    return r;
}

/* Sizes with and without a unit, CPU times of all lengths, energy where it is measured.
 */
static void test_numbers(void **state)
{
    struct account r;

    (void)state;
    r = one("1|COMPLETED|a|b|90061|1-01:01:01|3164K|51234|n[1-2,7]|a|b");
    is_number(r.cpu_seconds, 90061);
    is_number(r.elapsed, 90061);
    is_number(r.max_rss, 3164 * 1024);
    is_number(r.energy, 51234);
    is_number(r.started, NAN);
    is_text(r.nodes, "n[1-2,7]");
    is_text(r.name, "a|b");
    r = one("1|COMPLETED|a|b|1|01:02:03|1.50G|18446744073709551614|n1|x");
    is_number(r.cpu_seconds, 3723);
    is_number(r.max_rss, 1.5 * (1 << 30));
    is_number(r.energy, NAN);
    r = one("1|COMPLETED|a|b||1:|K||n1|x");
    is_number(r.cpu_seconds, NAN);
    is_number(r.max_rss, NAN);
    is_number(r.elapsed, NAN);
    r = one("1|COMPLETED|a|b|-1|7|-3K|-1|n1|x");
    is_number(r.cpu_seconds, NAN);
    is_number(r.max_rss, NAN);
    is_number(r.elapsed, NAN);
    is_number(r.energy, NAN);
}

static void test_no_records(void **state)
{
    static const char *const lines[] = {
        "",
        "|||||||||\n",
        "Welcome to Hydra! | Downtime on Monday | Be good\n",
        "JobID|State|Start|End|ElapsedRaw|TotalCPU|MaxRSS|ConsumedEnergyRaw|NodeList|x\n",
        "52+0|COMPLETED|a|b|1|00:01|1K|0|n1|part of a heterogeneous job\n",
        "52_[1-9]|PENDING|Unknown|Unknown|0|00:00:00||0|None assigned|x\n",
        "52|COMPLETED|a|b|1|00:01|1K|0|n1\n",
        "52||a|b|1|00:01|1K|0|n1|x\n",
    };
    struct account r;

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct slice rest = slice_of(lines[i]);

        if (sacct_next(&rest, &r))
            fail_msg("a record: %s", lines[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printed),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_no_records),
    };

    return cmocka_run_group_tests_name("slurm/sacct", tests, NULL, NULL);
}
