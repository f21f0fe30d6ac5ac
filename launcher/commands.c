/* The table of subcommands. Their help, manual pages and completion are made from it. */
#include "launcher/commands.h"

#define DIR_DEFAULT "DIR defaults to the newest sweep below the current directory."
#define DIR_UNFINISHED                                                                   \
    "DIR defaults to the one unfinished sweep below the current directory; when there "  \
    "are\n"                                                                              \
    "several, name it."

static const struct cli_option no_options[] = {{0}};

const struct cli_command cli_commands[] = {
    {"init", "[FILE]", "Write a commented sweep file that runs as it is",
     "FILE defaults to sweep.yaml. An existing file is never overwritten.", init_options,
     cmd_init},
    {"check", "FILE", "Validate a sweep file and say what it will cost",
     "Prints the dimensions of the space, the rungs with how many trials are expected "
     "at\n"
     "each, steps, slot-hours and disk at best and at worst, and the first "
     "configurations.\n"
     "Nothing is created.",
     check_options, cmd_check},
    {"simulate", "FILE", "Play a sweep through in simulated time, many times",
     "The sweep's own search and schedule, against learning curves: those of a table, of "
     "an\n"
     "earlier sweep, or invented ones. Each trial follows one of them, in random order.\n"
     "Prints what the sweep takes, how many trials get how far, and how good the best "
     "is\n"
     "after as many steps as 1, 2, 5, ... trainings to max_t take: medians and the "
     "range\n"
     "from 10 to 90 % of the repetitions. Nothing is created but FILE of --hdf5.",
     simulate_options, cmd_simulate},
    {"render", "FILE", "Print the batch script and sbatch commands of a sweep's jobs",
     "Nothing is submitted and nothing created, and Slurm need not be there. With "
     "--script,\n"
     "what is printed is a script, to check with other programs:\n\n"
     "    rung render --script sweep.yaml | shellcheck -\n\n"
     "`rung submit` and `rung run --executor slurm` submit it.",
     render_options, cmd_render},
    {"submit", "FILE", "Run a sweep under Slurm, and return at once",
     "The sweep gets a directory of its own, like with `rung run`. Its controller is a "
     "small\n"
     "job (`controller:` in the sweep file), behind which the next one waits: when it "
     "is\n"
     "cancelled, or its walltime or its node ends, that one goes on. It submits the jobs "
     "of\n"
     "the slots. `rung watch` shows the sweep, `rung stop` ends it with all of its jobs.",
     submit_options, cmd_submit},
    {"run", "FILE", "Run a sweep, with live progress",
     "The sweep gets a directory of its own, which holds everything about it: "
     "sweep.yaml,\n"
     "the journal, sweep.h5, logs and checkpoints.\n\n"
     "With --executor slurm it does what `rung submit` does and looks on until the sweep "
     "is\n"
     "over; Ctrl-C then ends only that. With --foreground as well, the controller stays "
     "here\n"
     "instead of being a job of its own: on a host that the nodes can reach.\n\n"
     "Ctrl-C pauses the sweep: running trials save at their next report, and `rung "
     "resume`\n"
     "goes on. A second Ctrl-C ends them at once.",
     run_options, cmd_run},
    {"status", "[DIR]", "Show a sweep on one screen", DIR_DEFAULT, status_options,
     cmd_status},
    {"watch", "[DIR]", "Show a sweep live, until q or Ctrl-C",
     "The screen of `rung status`, drawn anew each second. " DIR_DEFAULT, watch_options,
     cmd_watch},
    {"best", "[DIR]", "List the best trials with their parameters", DIR_DEFAULT,
     best_options, cmd_best},
    {"show", "[DIR] TRIAL", "Show everything about one trial",
     "Parameters, learning curve, each decision with its rung's cutoff and rank, and "
     "each\n"
     "attempt with how it ended and where its log is.\n\n" DIR_DEFAULT,
     show_options, cmd_show},
    {"stop", "[DIR] [TRIAL...]", "Finish a sweep, or stop some of its trials",
     "What runs is ended. With --pause, running trials save at their next report, are\n"
     "interrupted, and everything can be resumed.\n\n" DIR_UNFINISHED,
     stop_options, cmd_stop},
    {"resume", "[DIR]", "Go on after any interruption",
     "A finished sweep is left alone, unless --set gives it more to do:\n\n"
     "    rung resume --set search.trials=200\n\n" DIR_UNFINISHED,
     resume_options, cmd_resume},
    {"export", "[DIR]", "Write a sweep in other formats",
     "The tables and their columns are those of sweep.h5 (doc/sweep-h5.md). In CSV, what "
     "is\n"
     "missing and what is not a number are empty cells. Files are replaced as a "
     "whole.\n\n" DIR_DEFAULT,
     export_options, cmd_export},
    {"log", "NAME=VALUE...", "Report metrics from inside a trial",
     "For programs without a library for it, shell scripts above all:\n\n"
     "    rung log step=3 val_loss=0.21\n\n"
     "saved=N says that the checkpoint directory now holds step N. The exit status is "
     "the\n"
     "decision: 0 continue, 3 pause (save, then exit 0), 4 stop (exit 0); 1 is an "
     "error.\n"
     "With continue it prints \"save\" when a checkpoint is wanted soon. Outside a sweep "
     "it\n"
     "prints the metrics and exits 0.",
     log_options, cmd_log},
    {"asktell", "FILE", "The engine over stdin and stdout, one JSON object a line",
     "For programs that run trials themselves:\n\n"
     "    {\"op\":\"ask\"}\n"
     "    {\"op\":\"report\",\"trial\":0,\"step\":1,\"metrics\":{\"loss\":0.3}}\n\n"
     "The operations are ask, add, report, fail, best and state (doc/asktell.md).",
     no_options, cmd_asktell},
    {"replay", "[DIR]", "Recompute every decision from the journal and compare",
     DIR_DEFAULT, replay_options, cmd_replay},
    {"fsck", "[DIR]", "Check journal, sweep.h5 and checkpoints",
     "Says what is lost, if anything: events of the journal that are damaged, and "
     "checkpoints\n"
     "of trials that may go on or are among the best. sweep.h5 is never lost: `rung "
     "export\n"
     "--hdf5` makes it from the journal. Nothing is changed; the exit status is 1 when\n"
     "something is wrong.\n\n" DIR_DEFAULT,
     fsck_options, cmd_fsck},
    {"doctor", "[FILE]", "Say what this machine and its Slurm allow and lack",
     "The first thing to run on a new cluster, and to put into a report of a problem. "
     "Each\n"
     "line begins with ok; note: something is limited or missing; or bad: sweeps do not "
     "work\n"
     "so. With a sweep FILE, also says whether that sweep fits the site: its jobs, "
     "time,\n"
     "partition, account and nodes. Nothing is submitted, and nothing left in DIR. The "
     "exit\n"
     "status is 1 when something is bad.",
     doctor_options, cmd_doctor},
    {"controller", "DIR", "What the job of a controller runs: started by rung",
     "Serves a sweep of Slurm until it is over or paused. By hand, on a host that the "
     "nodes\n"
     "can reach, it is a controller that is no job.",
     controller_options, cmd_controller},
    {"agent", "DIR", "What a job runs: started by rung, seldom by hand",
     "Joins the sweep, asks for trials and runs them until none is left. One started by\n"
     "hand is welcome while slots are missing, else told that there is no work.",
     agent_options, cmd_agent},
    COMMAND_EXEC,
    {0}};
