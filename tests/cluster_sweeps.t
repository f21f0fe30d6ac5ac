#!/bin/sh
test_description='sweeps on a real Slurm: steps over nodes, controllers that end, nodes that fail'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=1,UNSEEN=5,ORPHAN=60,ACCOUNT=2,LAST_ACCOUNT=5

# The program of trials: its first rank takes $1 steps of $2 seconds, and goes on where it
# was; the others are there until it ends.
cat >ranks.sh <<\END
test "${SLURM_PROCID:-0}" = 0 || exec sleep "$2"
echo "$(hostname) of $SLURM_STEP_NUM_NODES nodes"
i=$RUNG_START
while test $i -lt "$1"; do
    sleep "$2"
    i=$((i + 1))
    rung log step=$i loss=1 saved=$i || exit 0
done
END

# trials NAME STEPS SECONDS, with more keys on stdin.
trials()
{
    sweep_file "$1" "sh ranks.sh $2 $3" && cat >>"$1.yaml" <<-END
	space: {x: "uniform(0, 1)"}
	schedule: {method: none, max_t: $2}
	END
    cat >>"$1.yaml"
}

test_expect_success 'up' '
    at=$(cluster_up --nodes 4 --set SlurmdTimeout=5 --set MessageTimeout=5)
'

test_expect_success 'attempts are steps over two nodes, which sacct lists by their trials' '
    printf "%s\n" "search: {trials: 3}" "resources: {nodes: 2, tasks: 4, time: 10m}" \
        "srun: {mpi: none}" | trials wide 2 0.2 &&
    slurm rung run --executor slurm --dir wide wide.yaml >wide.out 2>wide.err &&
    cat wide.err wide.out wide/trials/*/*/*.log && grep "^best    loss 1 " wide.out &&
    test $(grep -h "of 2 nodes" wide/trials/*/*/*.log | wc -l) = 3 &&
    within 20 "test \$(slurm sacct -n -X -P -o jobname | grep -c ^wide) -ge 2" &&
    within 20 "test \$(slurm sacct -n -P -o jobname | grep -c \"^t00000[012].r0\") = 3" &&
    within 20 "test \$(queued) = 0" && rung replay --verify wide
'

test_expect_success 'a controller that is cancelled costs a pause' '
    printf "%s\n" "search: {trials: 6}" "slots: 2" | trials next 4 0.5 &&
    slurm rung submit --dir next next.yaml && within 30 "test -n \"\$(events next report)\"" &&
    slurm scancel $(controller next | cut -d " " -f 1) &&
    within 60 "grep finished next/controller.json" && cat next/jobs/controller-*.log &&
    test $(events next epoch | wc -l) = 2 && test $(events next start | wc -l) = 6 &&
    within 20 "test \$(queued) = 0" && rung replay --verify next
'

test_expect_success 'and so does one whose node fails, with the slots on it' '
    printf "%s\n" "search: {trials: 8}" "slots: 3" | trials node 20 0.5 &&
    slurm rung submit --dir node node.yaml && within 30 "test -n \"\$(events node report)\"" &&
    dead=$(controller node | cut -d " " -f 2) && "$cluster" node "$at" $dead kill &&
    within 90 "test \$(events node epoch | wc -l) = 2" &&
    within 90 "grep finished node/controller.json" && cat node/jobs/controller-*.log &&
    test $(events node end completed | wc -l) = 8 && rung replay --verify node &&
    events node end | sed "s/.*\"outcome\":\"\([a-z_]*\)\".*/\1/" | sort | uniq -c &&
    "$cluster" node "$at" $dead start
'

test_expect_success 'all jobs cancelled: it does not come back' '
    printf "%s\n" "search: {trials: 8}" "slots: 3" | trials all 20 0.5 &&
    slurm rung submit --dir all all.yaml &&
    within 30 "test \$(events all report | wc -l) -ge 3" && slurm scancel --name=all &&
    within 60 "grep paused all/controller.json" &&
    events all pause | grep "all of its jobs were cancelled" &&
    within 30 "test \$(queued) = 0"
'

test_expect_success 'it resumes, and rung stop ends it from outside' '
    slurm rung resume all 2>err && cat err && grep "its controller is job" err &&
    within 30 "test \$(events all start | wc -l) -ge 6" && slurm rung stop all &&
    within 30 "grep finished all/controller.json" && within 30 "test \$(queued) = 0" &&
    rung replay --verify all
'

test_expect_success 'resumed while its controller still winds up, it goes on' '
    printf "%s\n" "search: {trials: 4}" "slots: 2" | trials soon 6 0.5 &&
    slurm rung submit --dir soon soon.yaml && within 30 "test -n \"\$(events soon report)\"" &&
    slurm rung stop --pause soon &&
    within 20 "test \$(events soon start | wc -l) = \$(events soon end | wc -l)" &&
    slurm rung resume soon 2>err && cat err && grep "its controller is job" err &&
    within 60 "grep finished soon/controller.json" && test $(events soon end completed | wc -l) = 4
'

test -x "$top_builddir/rung-train" && test -d /usr/share/datasets/fashion-mnist &&
    test_set_prereq FASHION

test_expect_success FASHION 'the example: sacct lists every attempt by trial and rung' '
    slurm rung submit --dir fashion "$top_srcdir/examples/fashion-slurm.yaml" &&
    within 300 "grep finished fashion/controller.json" &&
    events fashion start | sed "s/.*\"trial\":\([0-9]*\),.*/\1/" | sort -n >started &&
    test $(sort -u started | wc -l) = 27 &&
    jobs=$(events fashion job joined | sed "s/.*\"job\":\"\([^\"]*\)\".*/\1/" | paste -s -d ,) &&
    within 20 "slurm sacct -n -P -o jobname -j $jobs | sed -n \"s/^t0*\([0-9][0-9]*\).r[0-2]\$/\1/p\" |
        sort -n >listed && test_cmp started listed" && rung replay --verify fashion
'

test_expect_success 'down' '
    "$cluster" down "$at"
'

test_done
