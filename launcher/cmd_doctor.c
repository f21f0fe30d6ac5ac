/* `rung doctor`: what this machine and this site allow and lack, on one screen. */
#include "config.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/units.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/doctor.h"
#include "launcher/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_DIR, OPT_TIMEOUT, OPT_JSON };
const struct cli_option doctor_options[] = {
    [OPT_DIR] = {"dir", 'd', "DIR", "where sweeps would be (default: here)"},
    [OPT_TIMEOUT] = {"timeout", 't', "TIME",
                     "how long each command of the site may take (default: 10s)"},
    [OPT_JSON] = {"json", 'j', NULL, "all of it as one JSON object"},
    {0}};

#define WIDTH_MAX 100
#define INDENT    20

static const char *const mark_names[] = {"ok", "note", "bad"};

/* ---- on a screen ---- */

/* A text in the last column, wrapped at blanks. */
static void add_wrapped(struct str *out, const char *text, int width)
{
    int column = INDENT;

    while (*text) {
        size_t n = strcspn(text, " ");
        bool first = column == INDENT;

        if (!first && column + 1 + (int)n > width) {
            str_addf(out, "\n%*s", INDENT, "");
            column = INDENT;
            first = true;
        }
        str_add(out, first ? "" : " ");
        str_add_visible(out, text, n);
        column += (int)n + !first;
        text += n;
        text += strspn(text, " ");
    }
}

static void add_check(struct str *out, const struct doctor_check *c, int width,
                      bool colour)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};

    str_addf(out, "%s%-4s%s  %-12s  ", colour ? colours[c->mark] : "",
             mark_names[c->mark], colour ? "\033[0m" : "", c->what);
    add_wrapped(out, c->finding, width);
    str_addc(out, '\n');
    if (c->mark != MARK_OK && c->next) {
        str_addf(out, "%*s", INDENT - 3, "");
        str_add(out, "-> ");
        add_wrapped(out, c->next, width);
        str_addc(out, '\n');
    }
}

/* What there is to say since *shown. */
static void show(const struct doctor *d, size_t *shown)
{
    int width = look_size(STDOUT_FILENO).width;
    struct str out = STR_INIT;

    width = !isatty(STDOUT_FILENO) ? 80 : width < WIDTH_MAX ? width : WIDTH_MAX;
    for (; *shown < d->checks.n; ++*shown) {
        const struct doctor_check *c = &d->checks.v[*shown];

        if (*shown > 0 && strcmp(c->group, c[-1].group) != 0)
            str_addc(&out, '\n');
        add_check(&out, c, width > 2 * INDENT ? width : 2 * INDENT,
                  look_colour(STDOUT_FILENO));
    }
    fputs(out.p, stdout);
    fflush(stdout);
    str_free(&out);
}

static int count(const struct doctor *d, enum doctor_mark mark)
{
    int n = 0;

    for (size_t i = 0; i < d->checks.n; i++)
        n += d->checks.v[i].mark == mark;
    return n;
}

static void show_sum(const struct doctor *d)
{
    int bad = count(d, MARK_BAD), notes = count(d, MARK_NOTE);

    printf(bad > 0 ? "\n%d bad, " : "\nNothing is bad, ", bad);
    printf("%d note%s.\n", notes, notes == 1 ? "" : "s");
}

/* ---- as JSON ---- */

static void add_json(const struct doctor *d, const char *host, struct str *out)
{
    json_put_object(out);
    json_put_key(out, "version");
    json_put_str(out, PACKAGE_VERSION);
    json_put_key(out, "host");
    json_put_str(out, host);
    json_put_key(out, "time");
    json_put_num(out, clock_wall());
    json_put_key(out, "bad");
    json_put_int(out, count(d, MARK_BAD));
    json_put_key(out, "notes");
    json_put_int(out, count(d, MARK_NOTE));
    json_put_key(out, "checks");
    json_put_array(out);
    for (size_t i = 0; i < d->checks.n; i++) {
        const struct doctor_check *c = &d->checks.v[i];

        json_put_object(out);
        json_put_key(out, "group");
        json_put_str(out, c->group);
        json_put_key(out, "check");
        json_put_str(out, c->what);
        json_put_key(out, "mark");
        json_put_str(out, mark_names[c->mark]);
        json_put_key(out, "finding");
        json_put_str(out, c->finding);
        if (c->mark != MARK_OK && c->next) {
            json_put_key(out, "next");
            json_put_str(out, c->next);
        }
        json_put_close(out, '}');
    }
    json_put_close(out, ']');
    json_put_close(out, '}');
    str_addc(out, '\n');
}

/* ---- the command ---- */

static int examine(struct doctor *d, const struct sweepfile *f, bool json)
{
    static void (*const parts[])(struct doctor *) = {
        doctor_rung, doctor_host, doctor_directory, doctor_mpi, doctor_gpu, doctor_slurm};
    struct str out = STR_INIT;
    char host[256] = "", now[32];
    size_t shown = 0;
    int bad;

    gethostname(host, sizeof(host) - 1);
    if (!json)
        printf("rung doctor, on %s, %s\n\n", host, clock_format(now, clock_wall()));
    doctor_slurm_ask(d);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        parts[i](d);
        if (!json)
            show(d, &shown);
    }
    if (f)
        doctor_sweep(d, f);
    if (json) {
        add_json(d, host, &out);
        fputs(out.p, stdout);
    } else {
        show(d, &shown);
        show_sum(d);
    }
    bad = count(d, MARK_BAD);
    str_free(&out);
    return bad > 0 ? EXIT_FAILED : EXIT_GOOD;
}

int cmd_doctor(int argc, char **argv)
{
    const struct cli_command *self = cli_find("doctor");
    struct doctor d = {.patience = 10, .dir = "."};
    const char *value, *path = NULL;
    struct str errors = STR_INIT;
    struct sweepfile *f = NULL;
    int option, status;
    bool json = false;
    struct err e = {0};
    struct cli c;

    cli_begin(&c, self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_END) {
        if (option == CLI_HELP)
            return EXIT_GOOD;
        if (option == CLI_BAD ||
            (option == CLI_POSITIONAL && cli_take_file(self, value, &path) != EXIT_GOOD))
            return EXIT_USAGE;
        if (option == OPT_DIR)
            d.dir = value;
        else if (option == OPT_JSON)
            json = true;
        else if (option == OPT_TIMEOUT && duration_parse(value, &d.patience, &e) != 0)
            return cli_fail(self, EXIT_USAGE, "--timeout: %s", e.text);
    }
    if (path && sweepfile_load(path, &f, &errors) != 0) {
        fputs(errors.p, stderr);
        status = EXIT_USAGE;
    } else {
        for (size_t i = 0; f && i < f->slurm.n; i++) {
            if (strcmp(f->slurm.v[i].name, "clusters") == 0)
                d.cluster = f->slurm.v[i].value;
        }
        status = examine(&d, f, json);
    }
    doctor_free(&d);
    str_free(&errors);
    sweepfile_free(f);
    return status;
}
