/* `rung log`: reports from a trial that is a shell script. */
#include "base/num.h"
#include "base/vec.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "worker/agent/parse.h"
#include "worker/lib/rung.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option log_options[] = {{0}};

/* What the exit status says. */
enum { EXIT_PAUSE = 3, EXIT_STOP = 4 };

struct words {
    int64_t step, saved; /* -1: not given */
    VEC(struct rung_metric) metrics;
};

static int read_step(const struct cli_command *self, const char *name, const char *value,
                     int64_t *out)
{
    if (*out >= 0)
        return cli_fail(self, EXIT_USAGE, "%s is given twice", name);
    if (num_parse_int(value, strlen(value), out) != 0 || *out < 0)
        return cli_fail(self, EXIT_USAGE, "%s=%s: a step is 0, 1, 2, ...", name, value);
    return 0;
}

/* NAME=VALUE, which is cut in two. */
static int read_word(const struct cli_command *self, char *word, struct words *w)
{
    char *equals = strchr(word, '=');
    double value;

    if (!equals || equals == word)
        return cli_fail(self, EXIT_USAGE, "'%s' is not NAME=VALUE", word);
    *equals = '\0';
    if (strcmp(word, "step") == 0)
        return read_step(self, word, equals + 1, &w->step);
    if (strcmp(word, "saved") == 0)
        return read_step(self, word, equals + 1, &w->saved);
    if (!parse_value(equals + 1, strlen(equals + 1), &value))
        return cli_fail(self, EXIT_USAGE, "%s=%s: that is not a number", word,
                        equals + 1);
    vec_push(&w->metrics, ((struct rung_metric){word, value}));
    return 0;
}

static int report(const struct cli_command *self, const struct words *w)
{
    struct rung *r = rung_open();
    int answer = w->saved >= 0 ? rung_saved(r, w->saved) : 0;
    int status = EXIT_GOOD;

    if (answer == 0 && w->step >= 0)
        answer = rung_report(r, w->step, w->metrics.n, w->metrics.v);
    if (answer < 0)
        status = cli_fail(self, EXIT_FAILED, "%s", rung_error(r));
    else if (answer & RUNG_SAVE)
        puts("save");
    else if (answer == RUNG_PAUSE)
        status = EXIT_PAUSE;
    else if (answer == RUNG_STOP)
        status = EXIT_STOP;
    rung_close(r);
    return status;
}

int cmd_log(int argc, char **argv)
{
    const struct cli_command *self = cli_find("log");
    struct words w = {.step = -1, .saved = -1};
    const char *value;
    struct cli c;
    int status = 0;

    cli_begin(&c, self, argc, argv);
    for (;;) {
        switch (cli_next(&c, &value)) {
        case CLI_POSITIONAL: status = read_word(self, argv[c.at - 1], &w); break;
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        case CLI_END: goto all;
        }
        if (status)
            goto out;
    }
all:
    if (w.step < 0 && (w.saved < 0 || w.metrics.n > 0))
        status = cli_fail(self, EXIT_USAGE, "a report wants step=N");
    else
        status = report(self, &w);
out:
    vec_free(&w.metrics);
    return status;
}
