/* The manual pages and the shell completion, made from the table of commands when rung is
 * built: `rung help --man [COMMAND]`, `rung help --bash`. */
#include "config.h"

#include "launcher/cli.h"

#include <ctype.h>
#include <string.h>

/* Text for man(7): what it would take for a request or for another character. */
static void roff(const char *text, struct str *out)
{
    bool line_start = true;

    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            str_add(out, "\\&");
        switch (*text) {
        case '\\': str_add(out, "\\e"); break;
        case '-': str_add(out, "\\-"); break;
        case '`': str_add(out, "\\(ga"); break;
        case '\'': str_add(out, "\\(aq"); break;
        default: str_addc(out, *text);
        }
        line_start = *text == '\n';
    }
}

/* Blank lines part paragraphs; a paragraph with an indented line is shown as it is. */
static void roff_details(const char *text, struct str *out)
{
    while (*text) {
        const char *end = strstr(text, "\n\n");
        size_t n = end ? (size_t)(end - text) : strlen(text);
        struct str part = STR_INIT;
        bool verbatim;

        str_addn(&part, text, n);
        verbatim = part.p[0] == ' ' || strstr(part.p, "\n ");
        str_add(out, verbatim ? ".PP\n.nf\n" : ".PP\n");
        roff(part.p, out);
        str_add(out, verbatim ? "\n.fi\n" : "\n");
        str_free(&part);
        text += n + (end ? 2 : 0);
    }
}

void cli_manual(const struct cli_command *command, struct str *out)
{
    struct str left = STR_INIT;

    str_add(out, ".TH RUNG\\-");
    for (const char *c = command->name; *c; c++)
        str_addc(out, (char)toupper((unsigned char)*c));
    str_addf(out, " 1 \"\" \"rung %s\" \"rung\"\n.SH NAME\nrung\\-%s \\- ",
             PACKAGE_VERSION, command->name);
    roff(command->summary, out);
    str_addf(out, "\n.SH SYNOPSIS\n.B rung %s\n", command->name);
    roff(command->usage, out);
    str_add(out, "\n.SH DESCRIPTION\n");
    roff(command->summary, out);
    str_add(out, ".\n");
    if (command->details)
        roff_details(command->details, out);
    str_add(out, ".SH OPTIONS\n");
    for (const struct cli_option *o = command->options; o && o->name; o++) {
        str_cut(&left, 0);
        cli_option_text(o, &left);
        str_add(out, ".TP\n.B ");
        roff(left.p, out);
        str_addc(out, '\n');
        roff(o->help, out);
        str_add(out, ".\n");
    }
    str_add(out,
            ".TP\n.B \\-h, \\-\\-help\nShow the help.\n.SH SEE ALSO\n.BR rung (1)\n");
    str_free(&left);
}

/* ---- the overview ---- */

static const char about[] =
    "rung tunes hyperparameters: trials of any program, on this machine or in jobs of "
    "Slurm.\n"
    "A sweep file describes the space to search, the command to run and what it "
    "reports;\n"
    "trials that fall behind are paused or stopped early (ASHA), and everything that\n"
    "happened is in the sweep's directory.\n\n"
    "Begin with `rung init`, then `rung check sweep.yaml` and `rung run sweep.yaml`.";

static const char files[] =
    ".SH FILES\n"
    "A sweep has a directory of its own, by default\n.IR NAME \\- DATE \\- TIME .\n"
    ".TP\n.I sweep.yaml\nThe sweep file, as it was.\n"
    ".TP\n.I journal/\nEvery event, one file for each controller that served it: the "
    "truth.\n"
    ".TP\n.I sweep.h5\nThe same as tables for h5py, pandas, MATLAB and R; replaced as a "
    "whole.\n"
    ".TP\n.I trials/NNNNNN/aMM/\nCheckpoints and logs of trial NNNNNN, in its attempt "
    "MM.\n"
    ".TP\n.I controller.json\nWho serves the sweep now, and where.\n";

void cli_manual_overview(struct str *out)
{
    str_addf(out,
             ".TH RUNG 1 \"\" \"rung %s\" \"rung\"\n.SH NAME\nrung \\- hyperparameter "
             "tuner\n.SH SYNOPSIS\n.B rung\n.I COMMAND\n[\n.I ARGUMENT\n.RI ... "
             "]\n.SH DESCRIPTION\n",
             PACKAGE_VERSION);
    roff_details(about, out);
    str_add(out, ".SH COMMANDS\n");
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        str_addf(out, ".TP\n.BR rung\\-%s (1)\n", c->name);
        roff(c->summary, out);
        str_add(out, ".\n");
    }
    str_add(out, files);
    str_add(out,
            ".SH EXIT STATUS\n"
            "0 good; 1 the sweep or the operation failed; 2 wrong usage or wrong "
            "input; 130 interrupted. Where a command has others, its page has them.\n");
}

/* ---- bash ---- */

static const char bash_head[] =
    "# bash completion for rung, made from its table of commands.\n"
    "_rung()\n"
    "{\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} words\n"
    "    if ((COMP_CWORD == 1)); then\n"
    "        words='";

static const char bash_tail[] =
    "        *) return ;;\n"
    "        esac\n"
    "        [[ $word == -* ]] || return\n"
    "    fi\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
    "}\n"
    "complete -o bashdefault -o default -F _rung rung\n";

void cli_completion(struct str *out)
{
    str_add(out, bash_head);
    for (const struct cli_command *c = cli_commands; c->name; c++)
        str_addf(out, "%s ", c->name);
    str_add(out, "help --version'\n"
                 "    else\n"
                 "        case ${COMP_WORDS[1]} in\n");
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        str_addf(out, "        %s) words='", c->name);
        for (const struct cli_option *o = c->options; o && o->name; o++)
            str_addf(out, "--%s ", o->name);
        str_add(out, "--help' ;;\n");
    }
    str_add(out, bash_tail);
}
