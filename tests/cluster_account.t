#!/bin/sh
test_description='accounting by a real Slurm: sacct and the journal'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=0.5,UNSEEN=5,ACCOUNT=2

test_expect_success 'up' '
    at=$(cluster_up --nodes 2)
'

# The program of trials. One that is to be lost stays until it is.
cat >trial.sh <<\END
rung log step=1 loss=1
test "$1" != stays || test "$RUNG_ATTEMPT" != 1 || sleep 100
rung log step=2 loss=1
exit 0
END

# trials NAME WORD TRIALS SLOTS STEPS
trials()
{
    sweep_file "$1" "sh trial.sh $2" <<-END
	space: {x: "uniform(0, 1)"}
	schedule: {method: none, max_t: 2}
	search: {trials: $3}
	slots: $4
	steps: $5
	slurm: {exclusive: true}
	END
}

# under_slurm NAME: runs NAME.yaml in directory NAME.
under_slurm()
{
    slurm rung run --quiet --executor slurm --dir "$1" "$1.yaml" 2>"$1.err"
}

test_expect_success 'each attempt has the state of its step' '
    trials steps goes 4 2 yes && under_slurm steps && cat steps.err &&
    test $(events steps account "\"slurm_step\":\"" | wc -l) = 4 &&
    rung export --csv -o csv steps && cat csv/attempts.csv &&
    test $(grep -c ",completed,0,0,,[0-9]*_[01],[0-9],COMPLETED,n[12],0" csv/attempts.csv) = 4
'

test_expect_success 'attempts that are processes of a job have its state' '
    trials plain goes 4 2 no && under_slurm plain && cat plain.err &&
    test $(events plain account "\"slurm_state\":\"COMPLETED\"" | wc -l) = 4 &&
    test_must_fail events plain account cpu_seconds &&
    rung export --csv -o csv plain && cat csv/attempts.csv &&
    test $(grep -c ",completed,0,0,,[0-9]*_[01],,COMPLETED,n[12],0" csv/attempts.csv) = 4
'

test_expect_success 'of one that was lost, Slurm tells what no agent could' '
    trials lost stays 1 1 yes && { under_slurm lost & } &&
    until_true "test -n \"\$(events lost report)\"" &&
    job=$(events lost job joined | sed "s/.*\"job\":\"\([^\"]*\)\".*/\1/") &&
    slurm scancel --signal=KILL --batch "$job" && wait && cat lost.err &&
    events lost end lost && events lost account "\"attempt\":1" >line && cat line &&
    grep "\"slurm_job\":\"$job\",\"slurm_step\":\"0\",\"slurm_state\":\"[A-Z_]*\",\"node\":\"n" line &&
    grep "\"cpu_seconds\":[0-9].*\"max_rss\":[0-9]" line &&
    rung export --csv -o csv lost && cat csv/attempts.csv &&
    grep "^0,1,.*,lost,-1,0,,$job,0,[A-Z_]*,n[12],[0-9.]*,[0-9.]*,," csv/attempts.csv &&
    rung replay --verify lost && rung fsck lost
'

test_expect_success 'a database that is away holds up nothing' '
    slurm true && "$cluster" dbd "$at" stop && trials away goes 2 2 yes &&
    began=$(date +%s) && under_slurm away && cat away.err &&
    test $(events away end completed | wc -l) = 2 &&
    test $(($(date +%s) - began)) -lt 60 && test_must_fail events away account &&
    "$cluster" dbd "$at" start
'

test_done
