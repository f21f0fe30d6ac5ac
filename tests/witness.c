/* usage: witness DIR MILLISECONDS
 *
 * A trial program that keeps, in DIR, its own account of what it was told and promised,
 * where neither the sweep nor its disk can change it:
 *
 *     told TRIAL ATTEMPT STEP DECISION   the answer at a milestone: that is durable
 *     lost TRIAL ATTEMPT STEP            RUNG_START, but the checkpoint does not hold it
 *     home PATH                          of its socket
 *
 * It saves a checkpoint at each step, durably, and says so. */
#include "worker/lib/rung.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One write, so that lines of several programs do not mix. */
static int note(const char *dir, const char *line)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/account", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd < 0)
        return -1;
    int bad = write(fd, line, strlen(line)) != (ssize_t)strlen(line);
    return close(fd) < 0 || bad ? -1 : 0;
}

static int sync_path(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

static int save(const char *dir, long step)
{
    char path[4096], temporary[4096], text[32];
    snprintf(path, sizeof(path), "%s/checkpoint", dir);
    snprintf(temporary, sizeof(temporary), "%s/checkpoint.new", dir);
    int n = snprintf(text, sizeof(text), "%ld\n", step);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        return -1;
    int bad = write(fd, text, (size_t)n) != n || fsync(fd) < 0;
    bad |= close(fd) < 0;
    return bad || rename(temporary, path) < 0 ? -1 : sync_path(dir);
}

static long saved(const char *dir)
{
    char path[4096];
    long step = -1;
    snprintf(path, sizeof(path), "%s/checkpoint", dir);
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    if (fscanf(f, "%ld", &step) != 1)
        step = -1;
    fclose(f);
    return step;
}

int main(int argc, char **argv)
{
    static const char *const words[] = {"continue", "pause", "stop"};
    char line[4096];
    struct rung *r = rung_open();
    const char *x = rung_param(r, "x"), *dir = rung_checkpoint_dir(r);
    const char *home = getenv("RUNG_SOCKET");
    long start = rung_start(r);
    int answer = RUNG_CONTINUE;

    if (argc != 3 || !x || !home)
        return 2;
    struct timespec pause = {0, atol(argv[2]) * 1000000};
    snprintf(line, sizeof(line), "home %s\n", home);
    if (note(argv[1], line) < 0)
        return 2;
    if (start > 0 && saved(dir) < start) {
        snprintf(line, sizeof(line), "lost %ld %ld %ld\n", rung_trial(r), rung_attempt(r),
                 start);
        note(argv[1], line);
        return 9;
    }
    for (long step = start + 1; (answer & ~RUNG_SAVE) == RUNG_CONTINUE; step++) {
        struct rung_metric m = {"loss", atof(x) + 1 / (double)step};
        long until = rung_until(r);
        nanosleep(&pause, NULL);
        answer = rung_report(r, step, 1, &m);
        if (answer < 0)
            return 1;
        if (step >= until) {
            snprintf(line, sizeof(line), "told %ld %ld %ld %s\n", rung_trial(r),
                     rung_attempt(r), step, words[answer & ~RUNG_SAVE]);
            if (note(argv[1], line) < 0)
                return 2;
        }
        if (answer != RUNG_STOP && (save(dir, step) < 0 || rung_saved(r, step) < 0))
            return 1;
    }
    rung_close(r);
    return 0;
}
