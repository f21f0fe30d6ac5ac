/* A trial in C that trains nothing: its loss falls towards a floor that is lowest
 * where lr is 0.01. What a real program would do is all here: parameters, steps, a
 * checkpoint to go on from, reports, and doing as one is told.
 *
 *     cc -o trial trial.c $(pkg-config --cflags --libs rung) -lm
 *     ./trial                 by hand: nine steps
 *     command: ./trial        in a sweep file, with lr: loguniform(1e-4, 1) in space
 *     command: ./trial 0.5    the same, each step taking half a second */
#include <rung.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A checkpoint is there as a whole or not at all: it is written beside, and renamed. */
static int save(const char *dir, long step, double loss)
{
    char path[4096], temporary[4096];
    snprintf(path, sizeof(path), "%s/trial.checkpoint", dir);
    snprintf(temporary, sizeof(temporary), "%s/trial.checkpoint.new", dir);
    FILE *f = fopen(temporary, "w");
    if (!f)
        return -1;
    int bad = fprintf(f, "%ld %.17g\n", step, loss) < 0 || fflush(f) || fsync(fileno(f));
    bad |= fclose(f) != 0;
    return bad || rename(temporary, path) ? -1 : 0;
}

static int load(const char *dir, long wanted, double *loss)
{
    char path[4096];
    long step = -1;
    snprintf(path, sizeof(path), "%s/trial.checkpoint", dir);
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    if (fscanf(f, "%ld %lf", &step, loss) != 2)
        step = -1;
    fclose(f);
    return step == wanted ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct rung *r = rung_open();
    const char *lr = rung_param(r, "lr"), *dir = rung_checkpoint_dir(r);
    double seconds = argc > 1 ? atof(argv[1]) : 0, loss = 1;
    double floor = 0.1 + 0.2 * pow(log10(lr ? atof(lr) : 0.001) + 2, 2);
    long start = rung_start(r), last = rung_active(r) ? LONG_MAX : 9;
    int answer = RUNG_CONTINUE;

    if (start > 0 && load(dir, start, &loss) < 0) {
        fprintf(stderr, "no checkpoint of step %ld in %s\n", start, dir);
        return 1;
    }
    for (long step = start + 1; step <= last; step++) {
        struct timespec t = {(time_t)seconds, (long)(1e9 * fmod(seconds, 1))};
        nanosleep(&t, NULL);
        loss += 0.3 * (floor - loss);

        struct rung_metric m = {"val_loss", loss};
        answer = rung_report(r, step, 1, &m);
        if (answer < 0)
            break;
        if (answer == RUNG_PAUSE || answer & RUNG_SAVE) {
            if (save(dir, step, loss) < 0 || rung_saved(r, step) < 0)
                return 1;
        }
        if ((answer & ~RUNG_SAVE) != RUNG_CONTINUE)
            break;
    }
    if (answer < 0)
        fprintf(stderr, "%s\n", rung_error(r));
    rung_close(r);
    return answer < 0;
}
