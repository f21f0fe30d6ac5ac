#!/bin/sh
test_description='rung-train in several ranks on two nodes of a real Slurm, and in sweeps'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
PATIENCE=90
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=1,UNSEEN=5,ORPHAN=60,ACCOUNT=2,LAST_ACCOUNT=20

PMIX_RANK=0 rung-train --version 2>mpi
if ! test -x "$top_builddir/rung-train" || grep -q 'built without MPI' mpi; then
    skip_all='this build has no rung-train, or one without MPI'
    test_done
fi
test -d /usr/share/datasets/fashion-mnist && test_set_prereq FASHION
# More ranks than cores.
OMP_NUM_THREADS=1
export OMP_NUM_THREADS

test_expect_success 'up' '
    at=$(cluster_up --nodes 2)
'

# by_rank RANK < PIDS: those which are that rank of rung-train.
by_rank()
{
    while read -r pid; do
        if test "$(cat "/proc/$pid/comm" 2>/dev/null)" = rung-train &&
            grep -qzx "SLURM_PROCID=$1" "/proc/$pid/environ"; then
            echo "$pid"
        fi
    done
}

# on_two_nodes OPTION...: four ranks, two on each node, train; what they learn is in out.
on_two_nodes()
{
    slurm srun -N2 -n4 --ntasks-per-node=2 --mem-per-cpu=500 --kill-on-bad-exit=0 "$@" \
        --data synthetic:12x12,samples=2000 --batch-size 50 >out 2>err </dev/null
    status=$?
    cat out err >&2
    sed 's/  [0-9]* samples.*//' out >figures
    return "$status"
}

test_expect_success 'four ranks on two nodes find each other, and learn as one does' '
    rung-train --data synthetic:12x12,samples=2000 --epochs 3 --batch-size 50 >alone &&
    on_two_nodes --mpi=pmix rung-train --epochs 3 --checkpoint-dir pmix && grep "^4 ranks by MPI$" err &&
    sed "s/  [0-9]* samples.*//" alone | paste - figures | awk "
        { for (i = 4; i <= 10; i += 2)
              if (\$i - \$(i + 10) > 0.002 || \$(i + 10) - \$i > 0.002)
                  bad = 1 }
        END { exit bad || NR != 3 }"
'

# weights DIR: what the checkpoint there has learnt, bit for bit.
weights()
{
    h5dump -d /model/dense1/weight -d /optimizer/dense1/weight/momentum -m %.9g \
        "$1/checkpoint.h5" | tail -n +2
}

test_expect_success 'so do those that find each other by PMI2, with the same bits' '
    cp figures by_mpi &&
    on_two_nodes --mpi=pmi2 rung-train --epochs 3 --checkpoint-dir pmi2 &&
    grep "^4 ranks by TCP$" err && test_cmp by_mpi figures &&
    weights pmix >expect && weights pmi2 >got && test_cmp expect got
'

test_expect_success 'without the library they are told what to do, once; one task needs none' '
    cat >hidden <<-\END &&
	mount --make-rprivate /
	for library in $(ldconfig -p | sed -n "s/.*libpmi2.so.0 .*=> //p"); do
	    mount --bind /dev/null "$library"
	done
	exec rung-train "$@"
	END
    test_must_fail on_two_nodes --mpi=pmi2 unshare -m sh hidden --epochs 3 &&
    test $(grep -c "^rung-train: srun --mpi=pmi2 started .* is not here .* --mpi=pmix" err) = 1 &&
    test $(grep -c "^rung-train:" err) = 1 &&
    slurm srun --mpi=pmi2 -n1 unshare -m sh hidden --data synthetic:8x8 --epochs 1 </dev/null
'

# Slurm is told to leave the others alone.
test_expect_success 'a rank that is killed ends all of them by itself, with a sentence' '
    for mpi in pmix pmi2; do
        rm -f out
        { on_two_nodes --mpi=$mpi rung-train --epochs 1000000; echo $? >status; } &
        within 60 "grep -q ^epoch out" &&
        victim=$(at_work | awk "{ print \$1 }" | by_rank 3) && test -n "$victim" && kill -KILL $victim &&
        began=$(date +%s) && wait && test $(($(date +%s) - began)) -le 30 &&
        test $(cat status) != 0 && cat err &&
        test $(grep -c "^rung-train: rank 3 (process .* on n2) has died: all" err) = 1 ||
            return
    done
'

test_expect_success 'those that srun did not introduce are refused, once' '
    ! on_two_nodes --mpi=none --kill-on-bad-exit=1 rung-train --epochs 1 &&
    test $(grep -c "^rung-train: 4 tasks were started, but each finds 1" err) = 1
'

# trains NAME KEY...: NAME.yaml, of trials that four ranks train.
trains()
{
    name=$1
    shift
    sweep_file "$name" "rung-train --data synthetic:12x12,samples=2000 --lr {lr}" <<-END
	space: {lr: "loguniform(1e-3, 1e-1)"}
	resources: {nodes: 2, tasks: 4, cpus: 1, memory: 1G}
	$(printf '%s\n' "$@")
	END
}

# once NAME: each epoch of an attempt is told once, and none is missing.
once()
{
    rung export --csv -o "$1.csv" "$1" && awk -F, '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        { key = $at["trial"] " " $at["attempt"]; step = $at["step"] }
        key in last && step != last[key] + 1 { print "not the next:", $0; bad = 1 }
        { last[key] = step }
        END { exit bad || NR < 2 }' "$1.csv/metrics.csv"
}

test_expect_success 'in a sweep: each epoch told once, promoted from its checkpoint' '
    trains asha "search: {trials: 6}" "slots: 2" \
        "schedule: {mode: promote, grace_period: 1, reduction_factor: 2, max_t: 4}" &&
    slurm rung run --quiet --executor slurm --foreground --dir asha asha.yaml &&
    attempts asha trial outcome first_step last_step >ends && cat ends &&
    ! grep -v " paused \| completed " ends &&
    grep " completed 2 4$" ends && going_on asha && once asha &&
    grep -h "^going on after epoch 2" asha/trials/*/*/*.log &&
    for log in asha/trials/*/*/*.log; do
        test $(grep -c "^4 ranks by MPI$" $log) = 1 || return
    done && settled asha
'

test_expect_success 'and so by PMI2' '
    trains tcp "search: {trials: 2}" "slots: 2" "srun: {mpi: pmi2}" \
        "schedule: {mode: promote, grace_period: 1, reduction_factor: 2, max_t: 2}" &&
    slurm rung run --quiet --executor slurm --foreground --dir tcp tcp.yaml &&
    grep -h "^4 ranks by TCP$" tcp/trials/*/*/*.log && attempts tcp last_step outcome >ends &&
    cat ends && grep "2 completed" ends && ! grep failed ends && once tcp && settled tcp
'

test_expect_success 'a rank that is killed ends the attempt, which is tried again' '
    trains dead "search: {trials: 1}" "schedule: {method: none, max_t: 12}" \
        "retry: {failures: 1}" &&
    sed -i "s/samples=2000/samples=20000/" dead.yaml &&
    { slurm rung run --quiet --executor slurm --foreground --dir dead dead.yaml & } &&
    reached dead 3 report && victim=$(pids dead | by_rank 2) && test -n "$victim" &&
    kill -KILL $victim && killed=$(date +%s) &&
    reached dead 1 end && took=$(($(date +%s) - killed)) && wait && test $took -le 30 &&
    attempts dead trial outcome >ends && printf "0 %s\n" failed completed >expect &&
    test_cmp expect ends &&
    grep -h "^rung-train: rank 2 (process .* on n2) has died: all ranks end" \
        dead/trials/*/*/attempt-01.log &&
    once dead && settled dead
'

test_expect_success FASHION 'the example: trials of four ranks each, on two nodes' '
    sed "s/fashion-mnist/& --limit 300/; s/time: 30m/time: 10m/" \
        "$top_srcdir/examples/ranks-slurm.yaml" >ranks.yaml &&
    slurm rung submit --dir ranks ranks.yaml && finishes ranks &&
    attempts ranks trial | sort -nu | wc -l >trials && grep -x 16 trials &&
    attempts ranks last_step outcome | grep "^8 completed$" &&
    once ranks && settled ranks
'

test_expect_success 'down' '
    "$cluster" down "$at"
'

test_done
