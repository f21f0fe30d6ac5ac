/* What the journal and what is made of it cost. Prints lines of figure, target, method.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/rank.h"
#include "store/h5.h"
#include "store/rehearsal.h"
#include "store/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS 1000000

static char dir[] = "journal_bench.XXXXXX";

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "journal_bench: %s: %s\n", what, e->text);
    exit(1);
}

/* Keeps the compiler from leaving out work whose result is not looked at. */
static void keep(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

/* ---- one line ---- */

static struct str line = STR_INIT;
static struct event_scratch *scratch;

static void encode(void)
{
    static const struct metric m[] = {{{"train_loss", 10}, 0.31415926535897931},
                                      {{"val_loss", 8}, 0.21345678901234567}};
    static const struct verdict v = {.decision = DECISION_CONTINUE, .rung = -1};
    struct event ev = {
        .kind = EVENT_REPORT, .time = 1763655343.9819322, .trial = 1234, .attempt = 2};

    ev.report.number = 17;
    ev.report.step = 26;
    ev.report.elapsed = 812.0412345;
    ev.report.metrics = m;
    ev.report.n_metrics = 2;
    str_cut(&line, 0);
    event_encode(&ev, &v, true, &line);
    keep(line.p);
}

static void decode(void)
{
    struct event ev;

    if (event_decode(line.p, line.len, &ev, NULL, scratch, NULL) != 0)
        abort();
    keep(&ev);
}

static void time_line(const char *what, void (*run)(void))
{
    enum { REPEAT = 10000, RUNS = 100 }; /* short ones, that others do not break */
    double best = INFINITY;

    for (int i = 0; i < RUNS; i++) {
        double start = clock_mono();
        for (int k = 0; k < REPEAT; k++)
            run();
        double us = (clock_mono() - start) * 1e6 / REPEAT;
        best = us < best ? us : best;
    }
    printf("%.2f us\t< 0.6 us\t%s a report's line of %zu bytes; best of %d runs of %d\n",
           best, what, line.len, RUNS, REPEAT);
}

/* ---- a sweep of a million events, each part in a process of its own ---- */

struct measured {
    double seconds, count;
};

/* What `run` measured, and the most memory that its process had, in MB. */
static struct measured apart(struct measured (*run)(void), double *mb)
{
    struct measured m;
    struct rusage usage;
    int fd[2], status;

    fflush(stdout);
    if (pipe(fd) < 0)
        exit(1);
    pid_t pid = fork();
    if (pid < 0)
        exit(1);
    if (pid == 0) {
        m = run();
        _exit(write(fd[1], &m, sizeof(m)) == (ssize_t)sizeof(m) ? 0 : 1);
    }
    close(fd[1]);
    if (read(fd[0], &m, sizeof(m)) != (ssize_t)sizeof(m) ||
        wait4(pid, &status, 0, &usage) < 0 || status != 0)
        exit(1);
    close(fd[0]);
    *mb = (double)usage.ru_maxrss / 1024;
    return m;
}

static void make_spec(struct spec *spec)
{
    rehearsal_spec(spec, 1000000, false);
    spec->grace_period = 9;
    spec->max_t = 243;
}

struct writer {
    struct journal *j;
    int64_t events;
};

static void write_event(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct writer *w = ctx;
    struct err e;

    journal_append(w->j, ev, v);
    if (++w->events % 5000 == 0 && journal_commit(w->j, &e) != 0)
        die("commit", &e);
}

static struct measured make_journal(void)
{
    struct event ev = {.kind = EVENT_EPOCH, .time = 1.7e9, .trial = -1};
    struct writer w = {0};
    struct spec spec;
    struct err e;
    double start = clock_mono();

    make_spec(&spec);
    struct rehearsal r = {.sw = sweep_new(&spec),
                          .seed = 1,
                          .slots = 64,
                          .metrics = 2,
                          .clock = 1.7e9,
                          .emit = write_event,
                          .ctx = &w,
                          .limit = EVENTS - 1};
    if (journal_begin(dir, &ev, &w.j, NULL, &e) != 0)
        die("begin", &e);
    rehearse(&r);
    if (journal_commit(w.j, &e) != 0)
        die("commit", &e);
    return (struct measured){clock_mono() - start, (double)journal_bytes(w.j)};
}

static struct sweep *replayed(struct history *h, double *seconds)
{
    struct spec *spec = mem_alloc(sizeof(*spec));
    struct err e;

    make_spec(spec);
    history_init(h);
    double start = clock_mono();
    struct replay r = {.sw = sweep_new(spec), .history = h};
    if (replay_run(&r, dir, NULL, &e) != 0)
        die("replay", &e);
    *seconds = clock_mono() - start;
    return r.sw;
}

static struct measured replay_journal(void)
{
    struct measured m;
    struct history h;

    replayed(&h, &m.seconds);
    m.count = (double)h.reports.n;
    return m;
}

static struct measured write_table(void)
{
    char *path = path_join(dir, "sweep.h5");
    struct measured m;
    struct history h;
    struct stat st;
    struct err e;
    struct h5_input in = {.sw = replayed(&h, &m.seconds),
                          .history = &h,
                          .name = "bench",
                          .yaml = "",
                          .written = clock_wall()};
    double start = clock_mono();

    if (h5_write(path, &in, &e) != 0)
        die("h5", &e);
    m.seconds = (clock_mono() - start) * 1e6 / (double)h.reports.n;
    m.count = stat(path, &st) == 0 ? (double)st.st_size : 0;
    return m;
}

/* ---- one commit ---- */

static void time_commit(void)
{
    enum { COMMITS = 201 };
    double seconds[COMMITS];
    struct event ev = {.kind = EVENT_EPOCH, .time = 1.7e9, .trial = -1};
    struct journal *j;
    struct err e;

    if (journal_begin(dir, &ev, &j, NULL, &e) != 0)
        die("begin", &e);
    ev = (struct event){.kind = EVENT_PAUSE, .time = 1.7e9, .trial = -1};
    for (int i = 0; i < COMMITS; i++) {
        double start = clock_mono();
        journal_append(j, &ev, NULL);
        if (journal_commit(j, &e) != 0)
            die("commit", &e);
        seconds[i] = clock_mono() - start;
    }
    journal_close(j);
    numbers_sort(seconds, COMMITS);
    printf(
        "%.2f ms\t-\tcommit one event, fsync included; median of %d, slowest %.2f ms\n",
        seconds[COMMITS / 2] * 1e3, COMMITS, seconds[COMMITS - 1] * 1e3);
}

int main(void)
{
    struct measured m;
    struct err e;
    double mb;

    if (!mkdtemp(dir))
        return 1;
    scratch = event_scratch_new();
    encode();
    time_line("encode", encode);
    time_line("decode", decode);
    m = apart(make_journal, &mb);
    printf("%.2f s\t-\tplay a sweep of 1,000,000 events into a journal of %.0f MB\n",
           m.seconds, m.count / 1e6);
    m = apart(replay_journal, &mb);
    printf("%.2f s\t< 1.5 s\treplay these with the state machine and the tables' history "
           "(%.0f reports)\n",
           m.seconds, m.count);
    printf("%.0f MB\t< 300 MB\tmost memory of that process\n", mb);
    m = apart(write_table, &mb);
    printf("%.2f s\t< 2 s\twrite sweep.h5 for 1,000,000 metric rows (scaled; %.1f MB, "
           "%.0f MB "
           "of memory with all)\n",
           m.seconds, m.count / 1e6, mb);
    time_commit();
    event_scratch_free(scratch);
    str_free(&line);
    if (dir_remove(dir, &e) != 0)
        die("remove", &e);
    return 0;
}
