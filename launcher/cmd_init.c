#include "base/file.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/sweepfile_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OPT_STDOUT };
const struct cli_option init_options[] = {
    [OPT_STDOUT] = {"stdout", 0, NULL, "print it instead of writing a file"}, {0}};

#define COLUMNS 88
#define BEHIND  32 /* where comments behind a key begin */

static const char introduction[] =
    "# A sweep file of rung, which runs as it is:\n"
    "#\n"
    "#     rung check %s     says what it will do\n"
    "#     rung run %s       does it, here on this machine\n"
    "#\n"
    "# Each trial rolls a ball down a bent valley (Rosenbrock's), by gradient descent "
    "with\n"
    "# momentum, and reports how high it still is. Put your own program in its place.\n";

static const char command[] =
    " |\n"
    "  exec awk -v rate=\"$RUNG_PARAM_rate\" -v momentum=\"$RUNG_PARAM_momentum\" \\\n"
    "      -v step=\"$RUNG_START\" -v saved=\"$RUNG_CHECKPOINT_DIR/ball\" '\n"
    "  BEGIN {\n"
    "      OFMT = \"%.17g\"\n"
    "      x = -1.5; y = 2; u = 0; v = 0                 # where each ball begins, at "
    "rest\n"
    "      if (step > 0 && (getline <saved) > 0) {       # or goes on\n"
    "          x = $1; y = $2; u = $3; v = $4\n"
    "      }\n"
    "      for (;;) {\n"
    "          step++\n"
    "          for (i = 0; i < 20 && x * x + y * y < 1e6; i++) {\n"
    "              u = momentum * u - rate * (400 * x * (x * x - y) + 2 * (x - 1))\n"
    "              v = momentum * v - rate * 200 * (y - x * x)\n"
    "              x += u; y += v\n"
    "          }\n"
    "          height = (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x)\n"
    "          if (i < 20) height = \"nan\"                # it left the valley\n"
    "          decision = system(\"rung log step=\" step \" height=\" height)\n"
    "          if (decision == 3) {                      # pause: save, and end\n"
    "              print x, y, u, v >saved\n"
    "              exit 0\n"
    "          }\n"
    "          if (decision != 0) exit decision != 4     # 4: stop\n"
    "      }\n"
    "  }'\n";

static const char space[] = "\n"
                            "  rate: loguniform(1e-6, 1e-1)\n"
                            "  momentum: uniform(0, 0.99)\n";

static const char start[] = "\n"
                            "  - {rate: 1e-3, momentum: 0.9}\n";

/* What the file says, in this order; the other keys follow as comments. */
static const struct {
    enum key_id key;
    const char *text; /* NULL: the default, or if there is none a comment */
} said[] = {
    {KEY_NAME, "valley"},      {KEY_COMMAND, command},    {KEY_SHELL, "true"},
    {KEY_METRIC, "height"},    {KEY_MODE, "min"},         {KEY_SEED, "1"},
    {KEY_SPACE, space},        {KEY_START, start},        {KEY_SEARCH, ""},
    {KEY_SEARCH_METHOD, NULL}, {KEY_SEARCH_TRIALS, "81"}, {KEY_SEARCH_MULTIVARIATE, NULL},
    {KEY_SEARCH_FROM, NULL},   {KEY_SCHEDULE, ""},        {KEY_SCHEDULE_METHOD, NULL},
    {KEY_SCHEDULE_MODE, NULL}, {KEY_GRACE_PERIOD, NULL},  {KEY_REDUCTION_FACTOR, NULL},
    {KEY_MAX_T, "27"},         {KEY_INTERVAL, NULL},      {KEY_BRACKETS, NULL},
    {KEY_FINALISTS, NULL},     {KEY_MIN_TRIALS, NULL},    {KEY_SLOTS, "4"},
};
#define SAID (sizeof(said) / sizeof(*said))

static bool is_said(enum key_id key)
{
    for (size_t i = 0; i < SAID; i++)
        if (said[i].key == key)
            return true;
    return false;
}

static void indent(struct str *out, const char *prefix, int depth)
{
    str_add(out, prefix);
    for (int i = 0; i < depth; i++)
        str_add(out, "  ");
}

/* The help as a comment, in lines. */
static void add_help(struct str *out, const struct key *k, const char *prefix, int depth)
{
    size_t column = COLUMNS;
    for (const char *p = k->help; *p;) {
        size_t n = strcspn(p, " ");
        if (column + 1 + n > COLUMNS) {
            if (p != k->help)
                str_addc(out, '\n');
            indent(out, prefix, depth);
            str_add(out, "#");
            column = strlen(prefix) + 2 * (size_t)depth + 1;
        }
        str_addc(out, ' ');
        str_addn(out, p, n);
        column += n + 1;
        p += n + strspn(p + n, " ");
    }
    str_addc(out, '\n');
}

/* "key: value", with its help behind it if that fits, else above it. The prefix makes a
 * comment of it. */
static void add_key(struct str *out, const struct key *k, const char *value,
                    const char *prefix)
{
    const char *name = k->path;
    struct str line = STR_INIT;
    int depth = 0;
    for (const char *dot; (dot = strchr(name, '.')); name = dot + 1)
        depth++;
    indent(&line, prefix, depth);
    str_addf(&line, "%s:%s%s", name, *value && !strchr(" \n", *value) ? " " : "", value);
    bool fits = depth > 0 && line.len < BEHIND && BEHIND + 2 + strlen(k->help) <= COLUMNS;
    if (!fits)
        add_help(out, k, depth > 0 ? prefix : "", depth);
    str_add(out, line.p);
    if (fits)
        str_addf(out, "%*s# %s", (int)(BEHIND - line.len), "", k->help);
    if (line.p[line.len - 1] != '\n')
        str_addc(out, '\n');
    str_free(&line);
}

static void add_said(struct str *out)
{
    for (size_t i = 0; i < SAID; i++) {
        const struct key *k = &keys[said[i].key];
        const char *text = said[i].text ? said[i].text : k->fallback;
        if (!strchr(k->path, '.'))
            str_addc(out, '\n');
        add_key(out, k, text ? text : k->sample, text ? "" : "#");
    }
}

static void add_others(struct str *out)
{
    str_add(out, "\n\n# Everything else that a sweep file can say: the defaults, or an "
                 "example where there is\n# none. doc/sweep-file.md tells more.\n");
    for (int i = 0; i < KEYS; i++) {
        const struct key *k = &keys[i];
        bool plain = k->fallback && strcmp(k->fallback, "none") != 0;
        if (is_said((enum key_id)i))
            continue;
        if (!strchr(k->path, '.'))
            str_addc(out, '\n');
        add_key(out, k, plain ? k->fallback : k->sample ? k->sample : "", "#");
    }
}

static void template(const char *path, struct str *out)
{
    str_addf(out, introduction, path, path);
    add_said(out);
    add_others(out);
}

/* Never over a file that is there, whatever happens between looking and writing. */
static int write_new(const char *path, const struct str *text, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST)
        return err_set(e, ERR_EXIST, "%s exists already: `rung init OTHER.yaml`?", path);
    if (fd < 0)
        return err_sys(e, "%s", path);
    int rc = file_write_fd(fd, text->p, text->len, e);
    if (close(fd) != 0 && rc == 0)
        rc = err_sys(e, "%s", path);
    if (rc != 0) {
        err_prefix(e, "%s", path);
        unlink(path);
    }
    return rc;
}

int cmd_init(int argc, char **argv)
{
    const struct cli_command *self = cli_find("init");
    const char *value, *path = NULL;
    bool print = false;
    struct str text = STR_INIT;
    struct err e = {0};
    struct cli c;
    int option, status = EXIT_GOOD;
    cli_begin(&c, self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_END) {
        if (option == CLI_HELP)
            return EXIT_GOOD;
        if (option == CLI_BAD)
            return EXIT_USAGE;
        if (option == CLI_POSITIONAL && path)
            return cli_fail(self, EXIT_USAGE, "one file, please, not also '%s'", value);
        if (option == CLI_POSITIONAL)
            path = value;
        print |= option == OPT_STDOUT;
    }
    path = path ? path : "sweep.yaml";
    template(path, &text);
    if (print)
        fputs(text.p, stdout);
    else if (write_new(path, &text, &e) != 0)
        status =
            cli_fail(self, e.code == ERR_EXIST ? EXIT_USAGE : EXIT_FAILED, "%s", e.text);
    else
        printf("wrote %s: `rung run %s` runs it\n", path, path);
    str_free(&text);
    return status;
}
