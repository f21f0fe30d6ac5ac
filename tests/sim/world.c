/* The world's clock, chance and network, and the sweep that a seed draws. */
#include "tests/sim/world.h"

#include "base/rng.h"
#include "tests/sim/disk.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE 15000.0 /* seconds after the last fault in which the sweep must end */

/* ---- chance ---- */

double chance(struct world *w, enum stream s)
{
    return rng_unit(w->c.seed, RNG_TEST, (uint32_t)s, w->draws[s]++, 0);
}

double between(struct world *w, enum stream s, double lo, double hi)
{
    return lo + (hi - lo) * chance(w, s);
}

bool may(const struct world *w, enum fault f)
{
    return !(w->c.off >> f & 1) && w->now >= w->c.from && w->now < w->faults_end;
}

bool happens(struct world *w, enum fault f, enum stream s)
{
    return chance(w, s) < w->rate[f] && may(w, f);
}

/* ---- words ---- */

void tell(const struct world *w, const char *fmt, ...)
{
    va_list ap;

    if (!w->c.loud)
        return;
    va_start(ap, fmt);
    printf("%10.3f  ", w->now);
    vprintf(fmt, ap);
    putchar('\n');
    va_end(ap);
}

void broken(const struct world *w, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    printf("seed %llu, %.3f s: ", (unsigned long long)w->c.seed, w->now);
    vprintf(fmt, ap);
    putchar('\n');
    va_end(ap);
    fflush(stdout);
    _exit(1);
}

/* ---- the network ---- */

static bool before(const struct flight *a, const struct flight *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void heap_push(struct world *w, struct flight f)
{
    size_t i = w->air.n;

    vec_push(&w->air, f);
    while (i > 0 && before(&f, &w->air.v[(i - 1) / 2])) {
        w->air.v[i] = w->air.v[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->air.v[i] = f;
}

static struct flight heap_pop(struct world *w)
{
    struct flight first = w->air.v[0], last = w->air.v[--w->air.n];
    size_t i = 0, k;

    while ((k = 2 * i + 1) < w->air.n) {
        if (k + 1 < w->air.n && before(&w->air.v[k + 1], &w->air.v[k]))
            k++;
        if (!before(&w->air.v[k], &last))
            break;
        w->air.v[i] = w->air.v[k];
        i = k;
    }
    w->air.v[i] = last;
    return first;
}

void fly(struct world *w, int machine, int process, const char *data, size_t n)
{
    int copies = happens(w, F_LOSE, S_NET) ? 0 : 1;

    if (happens(w, F_DOUBLE, S_NET))
        copies++;
    for (; copies > 0; copies--) {
        double u = chance(w, S_NET), late = chance(w, S_NET), delay = 0.001 + 0.01 * u;

        if (happens(w, F_LATE, S_NET))
            delay = (late < 0.02 ? 7200 : late < 0.2 ? 200 : 6) * u;
        heap_push(w, (struct flight){w->now + delay, w->flights++, machine, process,
                                     mem_dup(data, n), n});
    }
}

static void deliver(struct world *w, struct flight f)
{
    w->packets++;
    if (f.process >= 0) {
        struct process *p = w->processes.v[f.process];

        if (p->over && chance(w, S_NET) < 0.3) /* its successor has its address */
            p = w->processes.v[w->processes.n - 1];
        process_hear(p, f.data, f.n);
        return;
    }
    machine_hear(w->machines.v[f.machine], f.data, f.n);
    free(f.data);
}

/* ---- faults that come by themselves ---- */

static struct machine *any_machine(struct world *w)
{
    int living = 0, k;

    for (size_t i = 0; i < w->machines.n; i++)
        living += !w->machines.v[i]->gone;
    k = (int)(chance(w, S_JOB) * living);
    for (size_t i = 0; i < w->machines.n; i++)
        if (!w->machines.v[i]->gone && k-- == 0)
            return w->machines.v[i];
    return NULL;
}

static struct process *any_process(struct world *w)
{
    int living = 0, k;

    for (size_t i = 0; i < w->processes.n; i++)
        living += !w->processes.v[i]->over;
    k = (int)(chance(w, S_PROCESS) * living);
    for (size_t i = 0; i < w->processes.n; i++)
        if (!w->processes.v[i]->over && k-- == 0)
            return w->processes.v[i];
    return NULL;
}

/* All that runs there is killed, and forgotten what was not synced. */
static void power_off(struct world *w, int host)
{
    tell(w, "host %d loses power", host);
    for (size_t i = 0; i < w->processes.n; i++)
        if (w->processes.v[i]->host == host) {
            w->processes.v[i]->torn = false;
            process_kill(w->processes.v[i]);
        }
    disk_power_cut(host);
}

static void strike(struct world *w, enum fault f)
{
    struct process *p = f == F_CUT || f == F_POWER ? any_process(w) : NULL;
    struct machine *m = f == F_POWER || f == F_SECOND ? NULL : any_machine(w);
    double u = chance(w, S_JOB);

    switch (f) {
    case F_DEATH:
        if (m) {
            machine_die(m);
            m->seems = u < 0.2;
        }
        break;
    case F_EVICT:
        if (m)
            machine_evict(m, "preempted");
        break;
    case F_CUT:
        if (u < 0.3 && p)
            p->cut_until = w->now + 1000 * u;
        else if (m)
            m->cut_until = w->now + 1000 * u * u * u;
        break;
    case F_POWER:
        if (p)
            power_off(w, p->host);
        break;
    case F_SECOND: process_begin(w, u < 0.9); break;
    case F_FULL: w->full_until = w->now + 30 * u; break;
    case F_JUMP: w->jump[(int)(u * HOSTS)] = 7200 * (chance(w, S_JOB) - 0.5); break;
    default: break;
    }
}

static const enum fault striking[] = {F_DEATH,  F_EVICT, F_CUT, F_POWER,
                                      F_SECOND, F_FULL,  F_JUMP};
#define STRIKING (sizeof(striking) / sizeof(striking[0]))

static void set_next(struct world *w, enum fault f)
{
    double u = chance(w, S_CASE);

    w->next[f] = w->rate[f] > 0 ? w->now - log(1 - u) / w->rate[f] : INFINITY;
}

static void strikes(struct world *w)
{
    for (size_t i = 0; i < STRIKING; i++) {
        enum fault f = striking[i];

        if (w->next[f] > w->now)
            continue;
        if (may(w, f))
            strike(w, f);
        set_next(w, f);
    }
}

/* ---- people ---- */

/* Somebody who wants the sweep to end begins a controller when none responds. */
static void look_after(struct world *w)
{
    if (w->person_at > w->now)
        return;
    w->person_at = w->now + between(w, S_PEOPLE, 1, 60);
    if (w->finished)
        return;
    for (size_t i = 0; i < w->processes.n; i++)
        if (process_responds(w->processes.v[i]))
            return;
    process_begin(w, true);
}

/* ---- the clock ---- */

static double next_time(const struct world *w)
{
    double t = w->finished ? INFINITY : w->person_at;

    if (w->air.n > 0)
        t = fmin(t, w->air.v[0].at);
    for (size_t i = 0; i < STRIKING; i++)
        if (w->now < w->faults_end)
            t = fmin(t, w->next[striking[i]]);
    for (size_t i = 0; i < w->processes.n; i++)
        t = fmin(t, process_due(w->processes.v[i]));
    for (size_t i = 0; i < w->machines.n; i++)
        t = fmin(t, machine_due(w->machines.v[i]));
    return fmax(t, w->now);
}

static void step(struct world *w)
{
    w->now = next_time(w);
    while (w->air.n > 0 && w->air.v[0].at <= w->now)
        deliver(w, heap_pop(w));
    strikes(w);
    look_after(w);
    for (size_t i = 0; i < w->processes.n; i++)
        if (process_due(w->processes.v[i]) <= w->now)
            process_go_on(w->processes.v[i]);
    for (size_t i = 0; i < w->machines.n; i++)
        if (machine_due(w->machines.v[i]) <= w->now)
            machine_act(w->machines.v[i]);
}

static bool quiet(const struct world *w)
{
    if (!w->finished || w->air.n > 0)
        return false;
    for (size_t i = 0; i < w->processes.n; i++)
        if (!w->processes.v[i]->over)
            return false;
    for (size_t i = 0; i < w->machines.n; i++)
        if (!w->machines.v[i]->gone)
            return false;
    return true;
}

/* ---- a case ---- */

static int pick(struct world *w, int n)
{
    return (int)(chance(w, S_CASE) * n);
}

static void draw_faults(struct world *w)
{
    static const double most[FAULTS] = {
        [F_LOSE] = 0.3,   [F_DOUBLE] = 0.3,    [F_LATE] = 0.3,   [F_CRASH] = 0.004,
        [F_POWER] = 0.01, [F_SECOND] = 0.02,   [F_SLOW] = 0.2,   [F_FREEZE] = 0.001,
        [F_FULL] = 0.005, [F_SYNC] = 0.005,    [F_DEATH] = 0.01, [F_EVICT] = 0.01,
        [F_CUT] = 0.02,   [F_STILLBORN] = 0.3, [F_JUMP] = 0.01,  [F_PEOPLE] = 0.003,
        [F_FAIL] = 0.05,  [F_HANG] = 0.1,      [F_NAN] = 0.3,    [F_OMIT] = 0.4,
        [F_LEAP] = 0.3,   [F_EARLY] = 0.3,     [F_DEAF] = 0.3,   [F_FORGET] = 0.3,
        [F_REFUSE] = 0.5,
    };
    double kind = chance(w, S_CASE);
    bool calm = kind < 0.05;

    w->only_network = kind < 0.15;
    w->slow_submits = chance(w, S_SUBMIT) < 0.5;
    for (int f = 0; f < FAULTS; f++) {
        /* with a stream of its own a fault leaves cases that are kept what they are */
        enum stream s = f == F_REFUSE ? S_SUBMIT : S_CASE;
        bool here = chance(w, s) < 0.6;

        w->rate[f] = most[f] * chance(w, s);
        if (!here || calm || (w->only_network && f > F_LATE && f < F_PEOPLE))
            w->rate[f] = 0;
        set_next(w, f);
    }
    w->faults_end = fmin(w->c.until, between(w, S_CASE, 20, 600));
}

static void draw_sweep(struct world *w)
{
    static const int etas[][2] = {{2, 1}, {3, 1}, {4, 1}, {3, 2}, {5, 2}};
    int eta = pick(w, 5), levels = 1;

    w->promote = chance(w, S_CASE) < 0.6;
    w->in_place = chance(w, S_CASE) < 0.6;
    w->keeps_idle = chance(w, S_CASE) < 0.5;
    w->printed = chance(w, S_CASE) < 0.15;
    w->restart = w->promote && (w->printed || chance(w, S_CASE) < 0.1);
    w->num = etas[eta][0];
    w->den = etas[eta][1];
    w->grace = 1 + pick(w, 2);
    w->max_t = w->grace * (1 + pick(w, 20));
    for (double t = w->grace; t < (double)w->max_t; t *= (double)w->num / w->den)
        levels++;
    w->brackets = 1 + (chance(w, S_CASE) < 0.3 && levels > 2);
    w->finalists = pick(w, 3);
    w->retries = pick(w, 4);
    w->trials = 1 + pick(w, 16);
    w->slots = 1 + pick(w, 6);
    w->slots_per_job = 1 + pick(w, SLOTS_MAX < w->slots ? SLOTS_MAX : w->slots);
    w->trials_per_job = w->in_place ? 0 : 1;
    if (w->c.trials > 0 && w->trials > w->c.trials)
        w->trials = w->c.trials;
    if (w->c.slots > 0 && w->slots > w->c.slots)
        w->slots = w->slots_per_job = w->c.slots;
    w->timeout = w->rate[F_HANG] > 0 ? 120 : 0;
    timers_default(&w->timers);
    if (w->promote && chance(w, S_METHOD) < 0.3)
        w->method = chance(w, S_METHOD) < 0.5 ? SCHEDULE_HYPERBAND : SCHEDULE_SHA;
    if (w->method == SCHEDULE_ASHA && w->promote && !w->restart && !w->printed &&
        w->trials >= 4 && chance(w, S_POPULATION) < 0.3) {
        w->method = SCHEDULE_PBT;
        w->in_place = false;
        w->interval = 1 + (int)(chance(w, S_POPULATION) * 3);
        w->max_t = 1 + w->interval * (1 + (int)(chance(w, S_POPULATION) * 5));
    }
    if (w->method != SCHEDULE_ASHA)
        w->brackets = 1;
}

static void write_sweep(struct world *w)
{
    struct str s = STR_INIT;

    str_addf(&s, "name: sim\ncommand: train\nmetric: loss\nmode: %s\nseed: %u\n",
             w->c.seed % 2 ? "min" : "max", (unsigned)(w->c.seed % 1000));
    str_add(&s, "space: {x: \"uniform(0, 1)\"}\n");
    str_addf(&s, "search: {method: random, trials: %d}\n", w->trials);
    str_addf(&s, "schedule: {method: %s, mode: %s, grace_period: %d, max_t: %d,\n",
             schedule_names[w->method], w->promote ? "promote" : "stop", w->grace,
             (int)w->max_t);
    str_addf(&s, "           reduction_factor: %g, brackets: %d", (double)w->num / w->den,
             w->brackets);
    if (w->promote)
        str_addf(&s, ", finalists: %d", w->finalists);
    if (w->interval > 0)
        str_addf(&s, ", interval: %d", w->interval);
    str_addf(&s, "}\nslots: %d\nidle: 30s\nretry: {failures: %d}\n", w->slots,
             w->retries);
    str_addf(&s, "slots_per_job: %d\ntrials_per_job: %d\n", w->slots_per_job,
             w->trials_per_job);
    if (w->timeout > 0)
        str_addf(&s, "timeout: %ds\n", (int)w->timeout);
    if (w->restart)
        str_add(&s, "restart: true\n");
    if (w->printed)
        str_add(&s, "parse: 'step (?<step>\\d+) loss (?<loss>\\S+)'\n");
    disk_put(SWEEP_DIR "/sweep.yaml", s.p);
    if (w->c.loud)
        printf("%s", s.p);
    str_free(&s);
}

static void world_begin(struct world *w, const struct sim_case *c)
{
    struct disk_port port = disk_of_processes;

    *w = (struct world){.c = *c};
    draw_faults(w);
    draw_sweep(w);
    port.ctx = w;
    disk_begin(&port);
    disk_mkdir(SWEEP_DIR);
    disk_mkdir(SWEEP_DIR "/journal");
    write_sweep(w);
    w->judge = judge_new();
    process_begin(w, true);
    w->person_at = 30;
}

static void world_end(struct world *w)
{
    for (size_t i = 0; i < w->processes.n; i++)
        process_free(w->processes.v[i]);
    for (size_t i = 0; i < w->machines.n; i++)
        machine_free(w->machines.v[i]);
    vec_free(&w->processes);
    vec_free(&w->machines);
    vec_free(&w->air);
    vec_free(&w->dirs);
    vec_free(&w->kept);
    judge_free(w->judge);
    disk_end();
}

void world_run(const struct sim_case *c, struct tally *t)
{
    struct world w;

    world_begin(&w, c);
    while (!quiet(&w)) {
        step(&w);
        if (w.now > w.faults_end + PATIENCE)
            broken(&w, "the sweep does not end");
    }
    if (disk_open_files() > 0)
        broken(&w, "%d files were left open", disk_open_files());
    judge_end(&w);
    t->sweeps++;
    t->events += w.events;
    t->attempts += w.attempts;
    t->packets += w.packets;
    t->epochs += w.epochs;
    t->seconds += w.now;
    world_end(&w);
}
