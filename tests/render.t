#!/bin/sh
test_description='jobs of Slurm: the agents in them'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! test -x "$top_builddir/rung"; then
    skip_all='rung is not built'
    test_done
fi
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

unset SLURM_JOB_ID SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID

# in_job ARRAY_TASK COMMAND...: as in a task of a job array.
in_job() {
    job=$1 && shift
    SLURM_JOB_ID=900 SLURM_ARRAY_JOB_ID=${job%_*} SLURM_ARRAY_TASK_ID=${job#*_} \
        timeout 60 "$@"
}

# ---- the agent ----

test_expect_success 'wrong usage of rung agent' '
    for words in "--executor pbs" "--ends soon" "--ends -1" "--slots 0"; do
        test_expect_code 2 rung agent $words . 2>err && cat err &&
        grep "wants" err || return 1
    done
'

# A sweep that goes on until it is told to end, with its one slot taken.
test_expect_success 'a sweep runs' '
    sweep_file long "/bin/sh -c \"rung log step=1 loss=1; sleep 100\"" <<-\END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 1}
	schedule: {method: none, max_t: 9}
	END
    { run_sweep long & } && until_true "test -n \"\$(events long report)\""
'

test_expect_success 'agents are called as squeue calls their jobs' '
    in_job 52_3 rung agent --executor slurm long >out 2>&1 && cat out &&
    events long job "\"job\":\"52_3\"" &&
    SLURM_JOB_ID=53 timeout 60 rung agent --executor slurm long &&
    events long job "\"job\":\"53\""
'

test_expect_success 'one of this machine in a job of Slurm is no job of Slurm' '
    in_job 54_1 rung agent long &&
    test_must_fail events long job 54_1 &&
    test_expect_code 2 rung agent --executor slurm long 2>err && grep SLURM_JOB_ID err
'

test_expect_success 'the sweep ends' '
    rung stop long && wait && nobody_left long
'

test_done
