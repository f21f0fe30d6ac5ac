/* A trial of `make bench` and `make bench-cluster`: bench_trial [X [GO [SECONDS FILE]]].
 * Reports X / step as fast as it is answered, and does as it is told. It begins when the
 * file GO is there; "-": at once. With SECONDS each step takes so long, and each adds a
 * line to FILE: when the step began, when it was reported, and when the answer came.
 * Outside a sweep it takes one such step; without SECONDS none, which shows what its
 * process alone costs. */
#include "worker/lib/rung.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wait_for(const char *go)
{
    while (strcmp(go, "-") != 0 && access(go, F_OK) != 0)
        usleep(100000);
}

int main(int argc, char **argv)
{
    double x = argc > 1 ? atof(argv[1]) : 0, seconds = argc > 4 ? atof(argv[3]) : 0;
    FILE *times = argc > 4 ? fopen(argv[4], "a") : NULL;
    double began = now();
    struct rung *r = rung_open();
    int answer = rung_active(r) || times ? RUNG_CONTINUE : RUNG_STOP;

    if (times)
        setvbuf(times, NULL, _IOLBF, 0); /* it may be ended at any time */
    if (argc > 2)
        wait_for(argv[2]);
    for (long step = rung_start(r) + 1; answer == RUNG_CONTINUE; step++) {
        struct rung_metric m = {"loss", x / (double)step};
        double reported;

        usleep((useconds_t)(1e6 * seconds));
        reported = now();
        answer = rung_report(r, step, 1, &m);
        if (times)
            fprintf(times, "%.6f %.6f %.6f\n", began, reported, now());
        began = now();
        if (!rung_active(r))
            break;
    }
    rung_close(r);
    return answer < 0 || (times && fclose(times) != 0);
}
