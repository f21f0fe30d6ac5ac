#!/bin/sh
test_description='sweeps on a real Slurm whose daemons and nodes fail'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
PATIENCE=90
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=1,UNSEEN=5,ORPHAN=60,DECISION=300,ACCOUNT=2,LAST_ACCOUNT=5
RUNG_TIMERS=$RUNG_TIMERS,SUBMIT_RETRY=1

# trials NAME SECONDS [KEY...]: NAME.yaml, of trials that take so long for a step, with
# milestones at 2 and 4.
trials()
{
    name=$1 seconds=$2
    shift 2
    sweep_file "$name" "sh '$top_srcdir/tests/cluster_trial.sh' $seconds" <<-END
	space: {x: "uniform(0, 1)"}
	schedule: {method: asha, grace_period: 2, reduction_factor: 2, max_t: 8}
	$(printf '%s\n' "$@")
	END
}

test_expect_success 'up' '
    at=$(cluster_up --nodes 4 --netns --set SlurmdTimeout=5 --set MessageTimeout=5)
'

test_expect_success 'a sweep that nothing happens to leaves nothing' '
    trials quiet 0.2 "search: {trials: 6}" "slots: 3" &&
    slurm rung submit --dir quiet quiet.yaml && reached quiet 1 report &&
    test -n "$(pids quiet)" && test -n "$(at_work)" &&
    within 90 "grep finished quiet/controller.json" && cat quiet/jobs/*.log &&
    settled quiet
'

test_done
