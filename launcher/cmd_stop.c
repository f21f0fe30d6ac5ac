#include "base/num.h"
#include "base/vec.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/loaded.h"
#include "launcher/serve.h"
#include "launcher/submit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_PAUSE };
const struct cli_option stop_options[] = {
    [OPT_PAUSE] =
        {"pause", 'p', NULL,
         "save what runs at its next report and interrupt it; `rung resume` goes on"},
    {0}};

/* Without a controller the sweep is served just long enough to journal what is asked and
 * to send its agents, if any still live, away. */
static int stop(const struct cli_command *self, const char *dir, const struct request *r,
                size_t n)
{
    struct serve_options o = {.asks = r, .n_asks = n};
    struct controller_file f;
    struct loaded l;
    struct err e = {0};
    int32_t trials;
    bool finished;
    int rc = loaded_open(&l, dir, false, &e);

    if (rc != 0) {
        int status = rc == ERR_NOENT && l.sw && submit_has_chain(dir)
                         ? submit_withdraw(self, dir)
                         : cli_fail(self, EXIT_FAILED, "%s", e.text);

        loaded_close(&l);
        return status;
    }
    trials = sweep_trials(l.sw);
    finished = sweep_totals(l.sw)->finished;
    loaded_close(&l);
    for (size_t i = 0; i < n; i++) {
        if (r[i].trial >= trials)
            return cli_fail(self, EXIT_USAGE, "there is no trial %d, only 0 to %d",
                            r[i].trial, trials - 1);
    }
    if (sweep_served(dir, &f) != SERVING_NO)
        return requests_hand_over(self, dir, &f, r, n);
    if (finished) {
        cli_say("%s is finished already", dir);
        return EXIT_GOOD;
    }
    return serve(dir, &o);
}

int cmd_stop(int argc, char **argv)
{
    const struct cli_command *self = cli_find("stop");
    VEC(struct request) asks = {0};
    const char *value, *dir = NULL;
    bool pause = false;
    struct err e = {0};
    struct cli c;
    int64_t trial;
    char *found;
    int status;

    cli_begin(&c, self, argc, argv);
    for (;;) {
        switch (cli_next(&c, &value)) {
        case OPT_PAUSE: pause = true; continue;
        case CLI_POSITIONAL:
            if (num_parse_int(value, strlen(value), &trial) != 0 || trial < 0 ||
                trial > INT32_MAX) {
                if (dir)
                    return cli_fail(self, EXIT_USAGE, "'%s' is not the number of a trial",
                                    value);
                dir = value;
                continue;
            }
            vec_push(&asks,
                     ((struct request){.op = REQUEST_STOP, .trial = (int32_t)trial}));
            continue;
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        case CLI_END: break;
        }
        break;
    }
    if (pause && asks.n > 0)
        return cli_fail(self, EXIT_USAGE,
                        "--pause is for the whole sweep, not for trials");
    if (asks.n == 0)
        vec_push(&asks, ((struct request){.op = pause ? REQUEST_PAUSE : REQUEST_STOP,
                                          .trial = -1}));
    found = sweep_dir_unfinished(dir, &e);
    status = found ? stop(self, found, asks.v, asks.n)
                   : cli_fail(self, EXIT_USAGE, "%s", e.text);
    vec_free(&asks);
    free(found);
    return status;
}
