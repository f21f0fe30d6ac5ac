#include "slurm/script.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/units.h"
#include "base/vec.h"

#include <stdlib.h>
#include <string.h>

char *script_path(const char *dir)
{
    return path_join(dir, "jobs/slots.sh");
}

/* ---- what can be written ---- */

/* lines: line feeds and tabs are fine. */
static int check_text(const char *what, const char *text, bool lines, struct err *e)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if ((*c < ' ' && !(lines && (*c == '\n' || *c == '\t'))) || *c == 0x7f)
            return err_set(
                e, ERR_INVAL,
                "%s has the control character U+%04X, which can be in no batch "
                "script",
                what, *c);
    }
    return 0;
}

static int check_paths(const char *name, const char *dir, const char *workdir,
                       const char *rung, struct err *e)
{
    int rc = 0;

    if ((rc = check_text("the sweep's name", name, false, e)) != 0 ||
        (rc = check_text("the path of the sweep's directory", dir, false, e)) != 0 ||
        (rc = check_text("the path of the current directory", workdir, false, e)) ||
        (rc = check_text("the path of rung", rung, false, e)) != 0)
        return rc;
    if (strchr(dir, '\\'))
        return err_set(e, ERR_INVAL,
                       "%s: Slurm cannot write below a directory with a backslash in its "
                       "name; name another with `--dir`",
                       dir);
    return 0;
}

static int check_options(const struct script_option *options, size_t n, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct script_option *o = &options[i];

        rc = check_text("a name in slurm", o->name, false, e);
        if (rc == 0 && o->value)
            rc = check_text(o->name, o->value, false, e);
    }
    return rc;
}

static int check(const struct script *s, struct err *e)
{
    int rc = check_paths(s->name, s->dir, s->workdir, s->rung, e);

    if (rc == 0)
        rc = check_options(s->options, s->n_options, e);
    for (size_t i = 0; rc == 0 && i < s->n_settings; i++)
        rc = check_text("a setting", s->settings[i], false, e);
    if (rc == 0 && s->setup)
        rc = check_text("setup", s->setup, true, e);
    return rc;
}

/* ---- #SBATCH ---- */

/* A value as sbatch reads it in a script: not by the shell's rules. Blanks and # end it
 * outside quotes, and a backslash counts within any quotes. */
static void quote(struct str *out, const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_@%+=:,./-[]()*&|!";

    if (*value && value[strspn(value, plain)] == '\0') {
        str_add(out, value);
        return;
    }
    str_addc(out, '"');
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            str_addc(out, '\\');
        str_addc(out, *value);
    }
    str_addc(out, '"');
}

static void option(struct str *out, const char *name, const char *value)
{
    str_addf(out, "#SBATCH --%s", name);
    if (value) {
        str_addc(out, '=');
        quote(out, value);
    }
    str_addc(out, '\n');
}

static void option_int(struct str *out, const char *name, int64_t value)
{
    str_addf(out, "#SBATCH --%s=%lld\n", name, (long long)value);
}

/* DIR/jobs/NAME, where NAME is a pattern of Slurm's and DIR is none. */
static void output_pattern(struct str *out, const char *dir, const char *name)
{
    for (; *dir; dir++)
        str_add(out, *dir == '%' ? "%%" : (char[]){*dir, '\0'});
    str_addf(out, "/jobs/%s", name);
}

/* Does the value of --gres say which GPUs the job has? Then it knows better than we do:
 * their type, say. */
static bool names_gpus(const char *gres)
{
    for (const char *p = gres; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, "gpu", 3) == 0 && (p[3] == ':' || p[3] == ',' || p[3] == '\0'))
            return true;
    }
    return false;
}

static void resources(const struct script *s, struct str *out)
{
    int64_t megabytes = (s->memory >> 20) + (s->memory % (1 << 20) != 0);
    char buf[UNITS_MAX];

    option_int(out, "nodes", s->nodes);
    option_int(out, "ntasks", (int64_t)s->tasks * s->slots);
    if (s->nodes > 1 && s->tasks % s->nodes == 0) /* else Slurm fills one node first */
        option_int(out, "ntasks-per-node", s->tasks / s->nodes);
    option_int(out, "cpus-per-task", s->cpus);
    if (megabytes > 0)
        str_addf(out, "#SBATCH --mem=%lldM\n", (long long)megabytes * s->slots);
    if (s->time > 0)
        option(out, "time", duration_slurm(buf, s->time));
}

/* The user's options as they are; but a second --gres would void the first. */
static void options(const struct script *s, struct str *out)
{
    struct str gres = STR_INIT;

    if (s->gpus > 0)
        str_addf(&gres, "gpu:%lld", (long long)s->gpus * s->slots);
    for (size_t i = 0; i < s->n_options; i++) {
        const struct script_option *o = &s->options[i];

        if (strcmp(o->name, "gres") != 0 || !o->value) {
            option(out, o->name, o->value);
            continue;
        }
        if (names_gpus(o->value))
            str_cut(&gres, 0);
        str_addf(&gres, "%s%s", gres.len ? "," : "", o->value);
    }
    if (gres.len)
        option(out, "gres", gres.p);
    str_free(&gres);
}

/* ---- the script ---- */

static void head(const struct script *s, struct str *out)
{
    char *path = script_path(s->dir);

    str_addf(out, "#!/bin/bash\n# A job of the sweep %s, with %d slot%s: ", s->name,
             s->slots, s->slots > 1 ? "s" : "");
    str_add(out, s->slots > 1 ? "each runs trials one after another.\n"
                              : "it runs trials one after another.\n");
    str_add(out,
            "# rung submits arrays of it. Submitted by hand, it joins the sweep while\n"
            "# that is served and has fewer slots than it wants, and else ends at "
            "once:\n#\n#     sbatch ");
    shell_quote(out, path);
    str_add(out,
            "\n#\n# The sweep and all of its jobs are ended by\n#\n#     rung stop ");
    shell_quote(out, s->dir);
    str_add(out, "\n#\n");
    free(path);
}

/* What all jobs of a sweep have. */
static void job_options(struct str *out, const char *name, const char *dir,
                        const char *workdir, const char *log)
{
    struct str text = STR_INIT;

    option(out, "job-name", name);
    option(out, "chdir", workdir);
    output_pattern(&text, dir, log);
    option(out, "output", text.p);
    str_cut(&text, 0);
    str_add(&text, "rung stop ");
    shell_quote(&text, dir);
    option(out, "comment", text.p);
    option(out, "no-requeue", NULL);
    str_free(&text);
}

static void sbatch_options(const struct script *s, struct str *out)
{
    job_options(out, s->name, s->dir, s->workdir, "%j.log");
    resources(s, out);
    options(s, out);
}

static void agent(const struct script *s, struct str *out)
{
    str_add(out, "exec ");
    shell_quote(out, s->rung);
    str_addf(out, " agent --executor slurm --slots %d", s->slots);
    if (s->time > 0)
        str_add(out, " --ends \"$rung_ends\"");
    for (size_t i = 0; i < s->n_settings; i++) {
        str_add(out, " --set ");
        shell_quote(out, s->settings[i]);
    }
    str_addc(out, ' ');
    shell_quote(out, s->dir);
    str_addc(out, '\n');
}

int script_text(const struct script *s, struct str *out, struct err *e)
{
    int rc = check(s, e);

    if (rc != 0)
        return rc;
    head(s, out);
    sbatch_options(s, out);
    str_add(out, "\nset -e\n");
    if (s->time > 0) /* before setup, which takes its time, too */
        str_addf(out, "rung_ends=$(($(date +%%s) + %.0f))\n", s->time);
    /* The empty line behind it ends a last line that ends in a backslash. */
    if (s->setup && *s->setup)
        str_addf(out, "\n%s%s", s->setup,
                 s->setup[strlen(s->setup) - 1] == '\n' ? "" : "\n");
    str_addc(out, '\n');
    agent(s, out);
    return 0;
}

/* ---- the controller ---- */

char *script_controller_path(const char *dir)
{
    return path_join(dir, "jobs/controller.sh");
}

void script_controller_job(struct str *out, const char *name, const char *dir)
{
    str_addf(out, "%s.rung-%08lx", name,
             (unsigned long)(hash64(dir, strlen(dir)) & 0xffffffff));
}

static void controller_head(const struct script_controller *s, struct str *out)
{
    str_addf(
        out,
        "#!/bin/bash\n# The controller of the sweep %s: hands trials to the slots of "
        "its jobs,\n# which it submits. One like it waits behind it "
        "(--dependency=singleton) and goes on\n# when this job ends before the sweep "
        "does, of its walltime, say. All is ended by\n#\n#     rung stop ",
        s->name);
    shell_quote(out, s->dir);
    str_add(out, "\n#\n");
}

int script_controller_text(const struct script_controller *s, struct str *out,
                           struct err *e)
{
    int rc = check_paths(s->name, s->dir, s->workdir, s->rung, e);
    struct str job = STR_INIT;

    if (rc == 0)
        rc = check_options(s->options, s->n_options, e);
    if (rc != 0)
        return rc;
    controller_head(s, out);
    script_controller_job(&job, s->name, s->dir);
    job_options(out, job.p, s->dir, s->workdir, "controller-%j.log");
    option(out, "dependency", "singleton");
    option_int(out, "nodes", 1);
    option_int(out, "ntasks", 1);
    option_int(out, "cpus-per-task", 1);
    for (size_t i = 0; i < s->n_options; i++)
        option(out, s->options[i].name, s->options[i].value);
    str_add(out, "\nexec ");
    shell_quote(out, s->rung);
    str_add(out, " controller --name ");
    shell_quote(out, s->name);
    str_addc(out, ' ');
    shell_quote(out, s->dir);
    str_addc(out, '\n');
    str_free(&job);
    return 0;
}

/* ---- sbatch ---- */

char **script_controller_sbatch(const char *dir)
{
    VEC(char *) argv = {0};

    vec_push(&argv, mem_strdup("sbatch"));
    vec_push(&argv, mem_strdup("--parsable"));
    vec_push(&argv, script_controller_path(dir));
    vec_push(&argv, NULL);
    return argv.v;
}

char **script_sbatch(const char *dir, int n, const char *exclude)
{
    VEC(char *) argv = {0};
    struct str text = STR_INIT;

    vec_push(&argv, mem_strdup("sbatch"));
    vec_push(&argv, mem_strdup("--parsable"));
    if (n > 0) {
        str_add(&text, "--array=0");
        if (n > 1)
            str_addf(&text, "-%d", n - 1);
        vec_push(&argv, str_take(&text));
        str_add(&text, "--output=");
        output_pattern(&text, dir, "%A_%a.log");
        vec_push(&argv, str_take(&text));
    }
    if (exclude) {
        str_addf(&text, "--exclude=%s", exclude);
        vec_push(&argv, str_take(&text));
    }
    vec_push(&argv, script_path(dir));
    vec_push(&argv, NULL);
    return argv.v;
}
