#!/bin/sh
test_description='attempts as job steps on a real Slurm: memory, ranks over nodes, sacct'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
PATIENCE=90
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=1,UNSEEN=5,ORPHAN=60,ACCOUNT=2,LAST_ACCOUNT=20

if command -v mpicc >/dev/null; then
    test_set_prereq MPI
fi

# trials NAME COMMAND [KEY...]: NAME.yaml, of trials that are complete at step 2.
trials()
{
    name=$1 command=$2
    shift 2
    sweep_file "$name" "$command" <<-END
	space: {mb: "uniform(1, 1000)"}
	$(printf '%s\n' "$@")
	END
    grep -q "^schedule:" "$name.yaml" ||
        echo "schedule: {method: none, max_t: 2}" >>"$name.yaml"
}

# under_slurm NAME: runs NAME.yaml in directory NAME, with its controller here.
under_slurm()
{
    slurm rung run --quiet --executor slurm --foreground --dir "$1" "$1.yaml" \
        >"$1.out" 2>"$1.err"
    status=$?
    cat "$1.err" "$1"/trials/*/*/*.log
    return "$status"
}

test_expect_success 'up' '
    at=$(cluster_up --nodes 2 --memory)
'

cat >eat.py <<\END
import sys
eaten = bytearray(int(sys.argv[1]) << 20)
END

# Eats its memory itself, or lets a worker do that and exits 0 all the same.
cat >eat.sh <<\END
rung log step=1 loss=1
test "$1" = worker || exec python3 eat.py "$RUNG_PARAM_mb"
python3 eat.py "$RUNG_PARAM_mb"
exit 0
END

# eats NAME WHO STEPS
eats()
{
    trials "$1" "sh eat.sh $2" "search: {trials: 1}" "start: [{mb: 400}]" "steps: $3" \
        "resources: {memory: 100M}" "retry: {oom: {param: mb, factor: 0.1}}"
}

# What is under the names of both tests is one program, once as a step, once forked.
for steps in yes no; do
    test_expect_success "a program out of memory is told by its shim, steps: $steps" "
        eats main_$steps main $steps && under_slurm main_$steps &&
        printf '%s\n' '0 1 oom -1 9 -' '0 2 completed 0 0 {\"mb\":40}' >expect &&
        attempts main_$steps trial attempt outcome exit_code signal override >got &&
        test_cmp expect got &&
        test \$(events main_$steps end '\"oom\":true' | wc -l) = 1 && settled main_$steps
    "

    test_expect_success "and so is a worker of one that exits 0, steps: $steps" "
        eats worker_$steps worker $steps && under_slurm worker_$steps &&
        printf '%s\n' '0 1 oom 0 0 -' '0 2 completed 0 0 {\"mb\":40}' >expect &&
        attempts worker_$steps trial attempt outcome exit_code signal override >got &&
        test_cmp expect got &&
        test \$(events worker_$steps end '\"oom\":true' | wc -l) = 1 && settled worker_$steps
    "
done

# Of four ranks, two on each node, the last one goes wrong after the first has reported.
# Each has a child that has left its session.
cat >four.sh <<\END
echo "rank $SLURM_PROCID on $(hostname)"
setsid sleep 7654 &
if test "$SLURM_PROCID" = 0; then
    rung log step=1 loss=1
    : >"$RUNG_CHECKPOINT_DIR/reported"
fi
until test -e "$RUNG_CHECKPOINT_DIR/reported"; do
    sleep 0.1
done
test "$SLURM_PROCID" = 3 || test "$RUNG_TRIAL" = 4 || exec sleep 7654
case $RUNG_TRIAL in
0) exit 3 ;;
1) kill -KILL $$ ;;
2) kill -TERM $$ ;;
3) trap "" TERM && sleep 7654 ;;
4)
    while test -e "$RUNG_SWEEP_DIR.hold"; do
        sleep 0.1
    done
    test "$SLURM_PROCID" != 0 || rung log step=2 loss=1
    exit 0
    ;;
esac
END

# of_trial NAME TRIAL: its processes.
of_trial()
{
    for pid in $(pids "$1"); do
        # shellcheck disable=SC2062 # a variable, not a pattern
        ! grep -qzx -e"RUNG_TRIAL=$2" "/proc/$pid/environ" 2>/dev/null || echo "$pid"
    done
}

test_expect_success 'four ranks on two nodes end with one of them' '
    trials four "sh four.sh" "search: {trials: 5}" "resources: {nodes: 2, tasks: 4, cpus: 2}" \
        "srun: {mpi: none}" "retry: {failures: 0}" "timeout: 10s" &&
    : >four.hold && { under_slurm four & } && reached four 5 start &&
    within 30 "test \$(of_trial four 4 | wc -l) -ge 12" &&
    for trial in 0 1 2 3; do
        of_trial four $trial >left && test_must_be_empty left || return
    done && rm four.hold && wait && settled four
'

test_expect_success 'and the attempt tells of that one what it exited with, or its signal' '
    printf "%s\n" "0 failed 3 0" "1 failed -1 9" "2 failed -1 15" "4 completed 0 0" >expect &&
    attempts four trial outcome exit_code signal | grep -v "^3" >got && test_cmp expect got &&
    test $(attempts four trial outcome | grep -c "^3 hung$") = 1 &&
    for trial in 0 1 2 3 4; do
        grep -h "^rank .* on " four/trials/00000$trial/*/*.log | sort >ranks &&
        printf "rank %d on %s\n" 0 n1 1 n1 2 n2 3 n2 >expect && test_cmp expect ranks || return
    done
'

test_expect_success 'one that hangs is ended when it was silent, whether it listens or not' '
    attempts four trial started ended | awk "
        \$1 == 3 { took = \$3 - \$2 }
        END { print took; exit !(took >= 10 && took < 30) }"
'

# Each rank of the MPI program, what is above it, and what they found out together.
cat >mpi.sh <<\END
tr "\0" " " <"/proc/$PPID/cmdline" >"parent.$SLURM_PROCID"
./sum >"sum.$SLURM_PROCID"
test "$SLURM_PROCID" = 0 || exit 0
rung log step=1 loss="$(sed 's/.*sum //' sum.0)"
rung log step=2 loss="$(sed 's/.*: \([0-9]*\) ranks.*/\1/' sum.0)"
exit 0
END

test_expect_success MPI 'MPI ranks on two nodes find each other by PMIx, each under a shim' '
    mpicc -o sum "$top_srcdir/tests/mpi.c" &&
    trials pmix "sh mpi.sh" "search: {trials: 1}" "srun: {mpi: pmix}" \
        "resources: {nodes: 2, tasks: 4, cpus: 2}" && under_slurm pmix &&
    cat sum.[0-3] && test $(cat sum.[0-3] | grep -c "4 ranks, sum 6$") = 4 &&
    test $(cat sum.[0-3] | cut -d " " -f 4 | sort | uniq -c | grep -c " 2 ") = 2 &&
    test $(grep -l "/rung-exec .*-- sh mpi.sh" parent.[0-3] | wc -l) = 4 &&
    events pmix report "\"loss\":6" && events pmix report "\"loss\":4" &&
    attempts pmix outcome exit_code signal >got && echo "completed 0 0" >expect &&
    test_cmp expect got && settled pmix
'

# Slurm shares the GPUs of a job out among its steps: each attempt is told of its own.
test_expect_success 'two slots of a job, a GPU each: each attempt has its own use of it' '
    printf "%s\n" "driver 550.54.15 12040" "gpu GPU-a 81920 61440 93 412" \
        "gpu GPU-b 81920 1024 7 65" >gpus &&
    cat >gpu.sh <<-\END &&
	echo "$SLURM_STEP_GPUS ${RUNG_STEP_GPUS-unset}" >"step.$RUNG_TRIAL"
	for i in 1 2 3; do sleep 1; rung log step=$i loss=1 || exit 0; done
	END
    trials shared "sh gpu.sh" "search: {trials: 2}" "slots: 2" "slots_per_job: 2" "steps: yes" \
        "schedule: {method: none, max_t: 3}" "resources: {gpus: 1, memory: 100M}" &&
    FAKE_NVML=$PWD/gpus LD_LIBRARY_PATH=$top_builddir/tests/nvml \
        RUNG_TIMERS=$RUNG_TIMERS,GPUS=0.1 under_slurm shared && cat step.[01] &&
    attempts shared trial gpu_util gpu_mem_peak gpu_seconds >got && cat got &&
    for trial in 0 1; do
        case $(cat step.$trial) in
        "0 unset") echo "$trial 0.93 $((60 << 30))" ;;
        "1 unset") echo "$trial 0.07 $((1 << 30))" ;;
        esac
    done >expect && test $(wc -l <expect) = 2 &&
    awk "{ printf \"%d %.2f %.0f\\n\", \$1, \$2, \$3 }" got >seen && test_cmp expect seen &&
    awk "{ exit !(\$4 > 3 && \$4 < 30) }" got &&
    ! ls -A shared/trials/*/* | grep "\.gpus" && settled shared
'

# names NAME: what sacct has to call the steps of its attempts, in their order.
names()
{
    events "$1" start | awk '
        function number(of) {
            match($0, "\"" of "\":[0-9]*")
            return substr($0, RSTART + length(of) + 3, RLENGTH - length(of) - 3)
        }
        { printf "t%06d.r%d\n", number("trial"), number("until") / 2 }'
}

test_expect_success 'sacct lists every attempt of rung submit by its trial and rung' '
    trials named "sh '\''$top_srcdir/tests/cluster_trial.sh'\'' 0.1" "search: {trials: 8}" \
        "schedule: {reduction_factor: 2, max_t: 4}" "slots: 3" "steps: yes" &&
    sed -i "s/mb:/x:/" named.yaml && slurm rung submit --dir named named.yaml &&
    within 120 "grep finished named/controller.json" && cat named/jobs/controller-*.log &&
    names named >names && test $(grep -c r0 names) -ge 8 && grep r1 names && grep r2 names &&
    attempts named slurm_job slurm_step slurm_state | sed "s/ /./" >steps && cat steps &&
    paste -d " " steps names | sort >expect && test $(wc -l <expect) = $(wc -l <names) &&
    jobs=$(cut -d _ -f 1 steps | sort -u | paste -s -d ,) &&
    slurm sacct -n -P -o jobid,state,jobname -j "$jobs" | grep "|t00000[0-7]\.r[0-2]$" |
        tr "|" " " | sort >got && test_cmp expect got && settled named
'

test_expect_success 'down' '
    "$cluster" down "$at"
'

test_done
