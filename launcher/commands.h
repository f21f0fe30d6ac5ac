/* The subcommands, one file each: launcher/cmd_NAME.c. */
#ifndef LAUNCHER_COMMANDS_H
#define LAUNCHER_COMMANDS_H

#include "launcher/cli.h"
#include "launcher/requests.h"
#include "wire/keys.h"

#include <stddef.h>

int cmd_agent(int argc, char **argv);
int cmd_asktell(int argc, char **argv);
int cmd_best(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_controller(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_fsck(int argc, char **argv);
int cmd_init(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_render(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_simulate(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_submit(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/* Their options, for launcher/commands.c's table. */
extern const struct cli_option agent_options[], best_options[], check_options[],
    controller_options[], doctor_options[], exec_options[], export_options[],
    fsck_options[], init_options[], log_options[], render_options[], replay_options[],
    resume_options[], run_options[], show_options[], simulate_options[], status_options[],
    stop_options[], submit_options[], watch_options[];

/* A line of that table, which rung-exec has too. */
#define COMMAND_EXEC                                                                     \
    {                                                                                    \
        "exec", "-- PROGRAM [ARG...]",                                                   \
            "The parent of a trial's program: started by rung",                          \
            "Runs the program in a session of its own, ends whatever it leaves behind, " \
            "and says how\nit went.",                                                    \
            exec_options, cmd_exec                                                       \
    }

/* launcher/cmd_resume.c, shared with cmd_stop.c */

/* The directory as given, or the one unfinished sweep below the current directory
 * (several are an error that lists them), or the newest; absolute; free() it. */
char *sweep_dir_unfinished(const char *dir, struct err *e);
/* Hands requests to the controller that serves the sweep; waits until it took them. */
int requests_hand_over(const struct cli_command *self, const char *dir,
                       const struct controller_file *f, const struct request *r,
                       size_t n);

#endif
