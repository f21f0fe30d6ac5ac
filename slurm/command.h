/* Slurm's commands: how they are run, and what their answers mean. Their words differ
 * little from 20.11 to 25.11; sites put wrappers around them that say more. */
#ifndef SLURM_COMMAND_H
#define SLURM_COMMAND_H

#include "base/proc.h"
#include "slurm/executor.h"

/* Is the variable ("NAME=VALUE") one of these? A name that ends in _ is the beginning of
 * names. */
bool env_named(const char *var, const char *const names[]);

/* Starts one in an environment that does not change what it does: without the variables
 * of a job that we may be in, those of MPI, and the defaults for options that rung sets
 * or reads; what says which Slurm this is stays (SLURM_CONF), and so do a user's defaults
 * for account, partition and the like (SBATCH_ACCOUNT). */
int command_start(struct proc *p, char *const argv[], double seconds, struct err *e);

/* The id that `sbatch --parsable` printed, on its last line of that form: "52", or
 * "52;cluster". ERR_PROTO when there is none. */
int sbatch_read(struct slice text, struct str *id, struct err *e);

/* What `scontrol show config` tells of a name; empty when that is nothing. A slice of
 * it. */
struct slice scontrol_value(struct slice config, const char *name);
/* MaxArraySize from it; ERR_PROTO when it is not there. */
int scontrol_read_array_max(struct slice text, int *max, struct err *e);

/* Takes the first line off, and blanks around it; false at the end. */
bool command_next_line(struct slice *rest, struct slice *line);

/* What a state's name means, of squeue's and sacct's. */
enum job_state slurm_state_of(struct slice word);

/* Is that what squeue calls a job: "52", or "52_3"? */
bool slurm_is_job(struct slice word);

/* One line of `squeue --format="%i %T %e %B %r"`. False for a line that is none (headers,
 * news of the site). Slices of it. */
struct squeue_line {
    struct slice job, state, reason;
    struct slice node; /* of the batch script; empty: none yet */
    enum job_state is;
    double ends; /* its walltime, in Unix seconds; 0: none, or not known */
};
bool squeue_next(struct slice *rest, struct squeue_line *line);
#define SQUEUE_FORMAT "--format=%i %T %e %B %r"

/* Why a command failed, in its own words on one line, whatever it was. */
void command_sentence(struct str *out, const char *program, const struct proc_result *r);
/* May the same succeed later without anybody doing anything? Slurm was not reached or is
 * busy, or a limit is reached that ends of other jobs make room below. */
bool command_passing(const struct proc_result *r);
/* The same of a step, by what srun said: its job may also be over, and not the sweep. */
bool command_step_passing(struct slice said);

#endif
