/* tests/sim/sim [OPTION...]: sweeps in a simulated world; see doc/reliability.md.
 *
 * Worlds run in child processes, a batch of seeds in each: one that breaks a promise says
 * so and exits. Its case is then shrunk, by taking away faults, trials, slots and time
 * for as long as it still fails, and printed as the options that show it again. */
#include "base/clock.h"
#include "tests/sim/case.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH          50
#define SHRINK_SECONDS 60

static const struct {
    const char *name, *what;
} faults[FAULTS] = {
#define FAULT_ROW_(NAME, name, what) {#name, what},
    FAULT_MAP(FAULT_ROW_)
#undef FAULT_ROW_
};

/* What a child tells of its batch, in memory that is shared with it. */
struct report {
    struct tally tally;
    uint64_t at; /* the seed that runs */
};

/* Runs n cases from *c on in a child; its exit status, or 128 and its signal. */
static int run_batch(struct sim_case c, uint64_t n, struct report *r, bool quiet)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        if (quiet && !freopen("/dev/null", "w", stdout))
            _exit(2);
        for (; n > 0; n--, c.seed++) {
            r->at = c.seed;
            alarm(quiet ? 10 : 60); /* a world that stands still */
            world_run(&c, &r->tally);
        }
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- shrinking ---- */

static bool fails(const struct sim_case *c)
{
    struct report r;

    return run_batch(*c, 1, &r, true) != 0;
}

/* Takes the change if the case still fails. */
static void try(struct sim_case *c, struct sim_case changed, double deadline)
{
    if (clock_mono() < deadline && fails(&changed))
        *c = changed;
}

static void shrink(struct sim_case *c)
{
    double deadline = clock_mono() + SHRINK_SECONDS;
    struct sim_case d;

    for (int f = 0; f < FAULTS; f++) {
        d = *c;
        d.off |= 1u << f;
        try(c, d, deadline);
    }
    for (int n = 1; n <= 16 && (c->trials == 0 || n < c->trials); n++) {
        d = *c;
        d.trials = n;
        try(c, d, deadline);
    }
    for (int n = 1; n <= 6 && (c->slots == 0 || n < c->slots); n++) {
        d = *c;
        d.slots = n;
        try(c, d, deadline);
    }
    d = *c;
    d.until = fmin(d.until, 1024);
    try(c, d, deadline);
    for (double cut = 512; cut >= 0.5; cut /= 2) {
        d = *c;
        d.until -= cut;
        if (d.until > d.from)
            try(c, d, deadline);
        d = *c;
        d.from += cut;
        if (d.until > d.from)
            try(c, d, deadline);
    }
}

static void print_case(const struct sim_case *c)
{
    const char *before = " --off ";

    printf("sim --seed %llu --seeds 1", (unsigned long long)c->seed);
    for (int f = 0; f < FAULTS; f++) {
        if (c->off >> f & 1) {
            printf("%s%s", before, faults[f].name);
            before = ",";
        }
    }
    if (c->from > 0)
        printf(" --from %g", c->from);
    if (c->until < INFINITY)
        printf(" --until %g", c->until);
    if (c->trials > 0)
        printf(" --trials %d", c->trials);
    if (c->slots > 0)
        printf(" --slots %d", c->slots);
    putchar('\n');
}

/* ---- the options ---- */

enum { SEED = 256, SEEDS, SECONDS, OFF, FROM, UNTIL, TRIALS, SLOTS, LOUD, KEEP, LIST };
static const struct option options[] = {
    {"seed", 1, NULL, SEED},       {"seeds", 1, NULL, SEEDS},
    {"seconds", 1, NULL, SECONDS}, {"off", 1, NULL, OFF},
    {"from", 1, NULL, FROM},       {"until", 1, NULL, UNTIL},
    {"trials", 1, NULL, TRIALS},   {"slots", 1, NULL, SLOTS},
    {"loud", 0, NULL, LOUD},       {"no-shrink", 0, NULL, KEEP},
    {"faults", 0, NULL, LIST},     {0},
};

static int usage(void)
{
    puts("usage: sim [--seed FIRST] [--seeds N | --seconds N] [--off FAULT,...] [--from "
         "S]\n"
         "           [--until S] [--trials MOST] [--slots MOST] [--loud] [--no-shrink]\n"
         "faults:");
    for (int f = 0; f < FAULTS; f++)
        printf("  %-10s %s\n", faults[f].name, faults[f].what);
    return 2;
}

static bool turn_off(uint32_t *off, char *list)
{
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        int f = 0;

        while (f < FAULTS && strcmp(faults[f].name, name) != 0)
            f++;
        if (f == FAULTS)
            return false;
        *off |= 1u << f;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct sim_case c = {.seed = 1, .until = INFINITY};
    struct report *r =
        mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t n = 1000, done = 0;
    double seconds = 0, began = clock_mono();
    bool keep = false;
    int option, status = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case SEED: c.seed = strtoull(optarg, NULL, 10); break;
        case SEEDS:
            n = strtoull(optarg, NULL, 10);
            seconds = 0;
            break;
        case SECONDS: seconds = strtod(optarg, NULL); break;
        case FROM: c.from = strtod(optarg, NULL); break;
        case UNTIL: c.until = strtod(optarg, NULL); break;
        case TRIALS: c.trials = atoi(optarg); break;
        case SLOTS: c.slots = atoi(optarg); break;
        case LOUD: c.loud = true; break;
        case KEEP: keep = true; break;
        case OFF:
            if (!turn_off(&c.off, optarg))
                return usage();
            break;
        default: return usage();
        }
    }
    if (optind < argc || r == MAP_FAILED)
        return usage();
    while (status == 0 && (seconds > 0 ? clock_mono() - began < seconds : done < n)) {
        uint64_t batch = seconds > 0 || n - done > BATCH ? BATCH : n - done;

        status = run_batch(c, batch, r, false);
        if (status != 0)
            c.seed = r->at;
        else
            c.seed += batch;
        done += batch;
    }
    seconds = clock_mono() - began;
    printf("%lld sweeps, %lld epochs, %lld attempts, %lld events, %lld packets, "
           "%.0f h of their time; %.1f s, %.0f sweeps a minute\n",
           (long long)r->tally.sweeps, (long long)r->tally.epochs,
           (long long)r->tally.attempts, (long long)r->tally.events,
           (long long)r->tally.packets, r->tally.seconds / 3600, seconds,
           (double)r->tally.sweeps / seconds * 60);
    if (status == 0)
        return 0;
    if (status >= 128)
        printf("seed %llu: ended by signal %d\n", (unsigned long long)c.seed,
               status - 128);
    c.loud = false;
    if (!keep)
        shrink(&c);
    print_case(&c);
    return 1;
}
