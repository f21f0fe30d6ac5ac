#include "base/clock.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/loaded.h"

#include <stdio.h>
#include <stdlib.h>

enum { OPT_VERIFY };
const struct cli_option replay_options[] = {
    [OPT_VERIFY] = {"verify", 'v', NULL,
                    "fail when a decision, a promotion or a draw comes out otherwise"},
    {0}};

static int report(const struct loaded *l, bool verify, double seconds)
{
    const struct sweep_totals *n = sweep_totals(l->sw);

    printf("%lld events of %d epochs in %.3f s: %d trials, %d attempts, %lld reports\n",
           (long long)l->replay.pos.events, l->replay.pos.epoch, seconds,
           sweep_trials(l->sw), n->attempts, (long long)n->reports);
    if (l->replay.mismatches == 0) {
        printf("every decision, promotion and draw comes out as it is in the journal\n");
        return EXIT_GOOD;
    }
    printf("%lld come out otherwise; the first: %s\n", (long long)l->replay.mismatches,
           l->replay.first_mismatch);
    return verify ? EXIT_FAILED : EXIT_GOOD;
}

int cmd_replay(int argc, char **argv)
{
    const struct cli_command *self = cli_find("replay");
    const char *value, *dir = NULL;
    bool verify = false;
    struct loaded l = {0};
    struct err e = {0};
    struct cli c;
    double began;
    char *found;
    int status;

    cli_begin(&c, self, argc, argv);
    for (;;) {
        switch (cli_next(&c, &value)) {
        case OPT_VERIFY: verify = true; continue;
        case CLI_POSITIONAL: dir = value; continue;
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        case CLI_END: break;
        }
        break;
    }
    found = sweep_dir_find(dir, &e);
    if (!found)
        return cli_fail(self, EXIT_USAGE, "%s", e.text);
    began = clock_mono();
    if (loaded_verify(&l, found, &e) != 0)
        status = cli_fail(self, EXIT_FAILED, "%s", e.text);
    else
        status = report(&l, verify, clock_mono() - began);
    loaded_close(&l);
    free(found);
    return status;
}
