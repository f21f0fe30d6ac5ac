#!/bin/sh
test_description='sweeps on a real Slurm whose jobs are cancelled, suspended, preempted, out of time'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
PATIENCE=180
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=1,UNSEEN=5,ORPHAN=60,DECISION=300,ACCOUNT=2,LAST_ACCOUNT=20

# trials NAME SECONDS [KEY...]: NAME.yaml, of trials that take so long for each of 8 steps.
trials()
{
    name=$1 seconds=$2
    shift 2
    sweep_file "$name" "sh '$top_srcdir/tests/cluster_trial.sh' $seconds" <<-END
	space: {x: "uniform(0, 1)"}
	retry: {failures: 0}
	$(printf '%s\n' "$@")
	END
    grep -q "^schedule:" "$name.yaml" ||
        echo "schedule: {method: none, max_t: 8}" >>"$name.yaml"
}

# submit NAME: its controller is a job of its own.
submit()
{
    slurm rung submit --dir "$1" "$1.yaml"
}

# foreground NAME: the controller is here, and no job.
foreground()
{
    slurm rung run --quiet --executor slurm --foreground --dir "$1" "$1.yaml" 2>"$1.err"
}

# finished NAME: waits for it, and shows what its jobs said.
finished()
{
    within "$PATIENCE" "grep -q finished '$1/controller.json' 2>/dev/null"
    ended=$?
    cat "$1"/jobs/*.log
    return "$ended"
}

# job_of NAME TRIAL: the job in which it runs.
job_of()
{
    agent=$(events "$1" start "\"trial\":$2," | tail -n 1 | field agent)
    events "$1" job joined | grep "\"agent\":\"$agent\"" | field job
}

# from_saved NAME: each attempt began at the step that its trial had said last to be saved.
from_saved()
{
    cat "$1"/journal/*.jsonl | awk '
        function number(of) {
            match($0, "\"" of "\":[0-9]*")
            return substr($0, RSTART + length(of) + 3, RLENGTH - length(of) - 3)
        }
        /^{"e":"saved"/ { saved[number("trial")] = number("step") }
        /^{"e":"start"/ && number("start") != saved[number("trial")] + 0 { print; bad = 1 }
        END { exit bad }'
}

# ended_as NAME TRIAL: the outcomes of its attempts, in sweep.h5, on one line.
ended_as()
{
    attempts "$1" trial outcome | sed -n "s/^$2 //p" | paste -s -d " "
}

test_expect_success 'up' '
    at=$(cluster_up --nodes 4)
'

test_expect_success 'a job of a slot is cancelled: its trial goes on elsewhere, another job comes' '
    trials one 1 "search: {trials: 3}" "slots: 2" && submit one && reached one 4 report &&
    job=$(job_of one 0) && slurm scancel "$job" && finished one && sound one &&
    test "$(ended_as one 0)" = "preempted completed" && from_saved one &&
    attempts one trial attempt slurm_job >got && cat got && grep "^0 1 $job$" got &&
    test_must_fail grep "^0 2 $job$" got &&
    test $(events one job joined | wc -l) = 3 && test_must_fail events one pause &&
    settled one
'

test_expect_success 'the controller is cancelled twice: the sweep pauses, and none comes back' '
    trials twice 1 "schedule: {method: none, max_t: 60}" "search: {trials: 2}" "slots: 2" &&
    submit twice && reached twice 2 report &&
    slurm scancel $(controller twice | cut -d " " -f 1) && reached twice 2 epoch &&
    within 60 "test -n \"\$(controller twice)\"" && reached twice 4 job joined &&
    slurm scancel $(controller twice | cut -d " " -f 1) &&
    within 60 "grep paused twice/controller.json" && cat twice/jobs/controller-*.log &&
    events twice pause | grep "cancelled twice within 10 minutes" &&
    grep -h "cancelled twice within 10 minutes" twice/jobs/controller-*.log &&
    settled twice && test "$(ended_as twice 0) $(ended_as twice 1)" = "interrupted interrupted"
'

test_expect_success 'jobs are not requeued, unless an operator wants it: then they start anew' '
    trials again 1 "search: {trials: 4}" "slots: 2" && submit again && reached again 4 report &&
    job=$(job_of again 0) && test_must_fail slurm scontrol requeue "$job" 2>err && cat err &&
    grep disabled err && slurm scontrol update jobid="$job" requeue=1 &&
    slurm scontrol requeue "$job" && reached again 3 job joined && finished again &&
    test $(events again job joined | field job | sort | uniq -c | grep -c "2 $job") = 1 &&
    test $(events again job joined | field agent | sort -u | wc -l) = 3 &&
    test "$(ended_as again 0)" = "preempted completed" && from_saved again && settled again
'

# stopped NAME TRIAL: nothing of it moves.
stopped()
{
    for pid in $(pids "$1"); do
        if grep -qzx "RUNG_TRIAL=$2" "/proc/$pid/environ" 2>/dev/null; then
            grep "^State:.[DT]" "/proc/$pid/status" || return
        fi
    done
}

test_expect_success 'a job that is suspended for a while goes on where it was' '
    trials nap 1 "search: {trials: 2}" "slots: 2" "timeout: 6s" && submit nap &&
    reached nap 4 report && job=$(job_of nap 0) && slurm scontrol suspend "$job" &&
    within 30 "stopped nap 0" && had=$(events nap report "\"trial\":0," | wc -l) && sleep 10 &&
    test $(events nap report "\"trial\":0," | wc -l) = $had &&
    slurm scontrol resume "$job" && finished nap && settled nap &&
    test "$(ended_as nap 0) $(ended_as nap 1)" = "completed completed"
'

test_expect_success 'one that is suspended for too long has lost its trial, and takes others' '
    trials sleep 1 "search: {trials: 4}" "slots: 2" "schedule: {method: none, max_t: 16}" &&
    (RUNG_TIMERS=$RUNG_TIMERS,AGENT_SILENT=4 && submit sleep) && reached sleep 4 report &&
    job=$(job_of sleep 0) && agent=$(events sleep start "\"trial\":0," | field agent) &&
    slurm scontrol suspend "$job" && reached sleep 1 end "\"trial\":0," &&
    reached sleep 3 job joined && reached sleep 2 start "\"trial\":0," &&
    reached sleep 1 report "\"trial\":0,\"attempt\":2," &&
    slurm scontrol resume "$job" && reached sleep 2 job "\"change\":\"joined\",\"agent\":\"$agent\"" &&
    finished sleep && settled sleep &&
    test "$(ended_as sleep 0)" = "lost completed" && from_saved sleep &&
    test_must_fail events sleep end "\"outcome\":\"failed\""
'

# promoted NAME STEPS: runs it until a trial that was promoted has made a step more and
# another its first, and holds them there. ({until}: no trial is promoted in place.)
promoted()
{
    trials "$1" "1 {until}" "search: {trials: 8}" "slots: 2" "slurm: {qos: low}" "steps: $2" \
        "schedule: {grace_period: 2, reduction_factor: 2, max_t: 8}" && { foreground "$1" & } &&
        reached "$1" 1 start "\"from\":" && : >"$1.hold" && reached "$1" 4 start &&
        for event in $(events "$1" start | tail -n 2 | tr -d " "); do
            reached "$1" 1 report "$(echo "$event" |
                sed "s/.*\(\"trial\":[0-9]*,\"attempt\":[0-9]*,\).*/\1/")" || return
        done
}

# full NAME: a job of QOS high wants all nodes, and has them once the sweep's two jobs have
# made room.
full()
{
    begun=$(events "$1" start | wc -l) &&
        high=$(slurm sbatch --parsable --qos=high -N4 -n16 -o /dev/null --wrap "sleep 600") &&
        within 120 "test \"\$(slurm squeue -h -o %T -j $high)\" = RUNNING" &&
        within 30 "test \$(events '$1' end preempted | wc -l) = 2" && sleep 3
}

# room NAME: nothing began while there was none; then the promoted trial did first, both go
# on from where they were, and all end.
room()
{
    test "$(events "$1" start | wc -l)" = "$begun" && rm "$1.hold" &&
        slurm scancel "$high" && wait && cat "$1.err" &&
        next=$(events "$1" start | sed -n "$((begun + 1))p" | field trial) &&
        events "$1" start '"from":0' | grep "\"trial\":$next," &&
        test "$(ended_as "$1" "$next" | cut -d " " -f 2)" = preempted && from_saved "$1" &&
        test_must_fail events "$1" end '"outcome":"failed"' &&
        attempts "$1" outcome | sort | uniq -c && settled "$1"
}

test_expect_success 'a job that is preempted at once: its trials cost no retry, and go on first' '
    slurm sacctmgr -i modify qos low set GraceTime=0 && promoted at_once no &&
    full at_once && room at_once &&
    grep -h "SIGTERM: ends what runs" at_once/jobs/*.log
'

test_expect_success 'with time of grace its step hears first, and the agent makes room by itself' '
    slurm sacctmgr -i modify qos low set GraceTime=120 && promoted grace yes &&
    full grace && room grace &&
    grep -h "leaves: Slurm ended an attempt: its job is being taken away" grace/jobs/*.log &&
    slurm sacctmgr -i modify qos low set GraceTime=10
'

# Saves when it is asked to, or never.
cat >asked.sh <<\END
step=$RUNG_START
test "$step" = 0 || test "$(cat "$RUNG_CHECKPOINT_DIR/step")" -ge "$step" || exit 9
while :; do
    sleep 0.5
    step=$((step + 1))
    save=$(rung log step=$step loss="$RUNG_PARAM_x")
    answer=$?
    if test "$1$save" = savessave; then
        echo $step >"$RUNG_CHECKPOINT_DIR/step"
        rung log saved=$step
    fi
    test $answer = 0 || exit $((answer == 1))
done
END

# out_of_time NAME WORD [KEY...]: a trial of 100 s, in jobs of a minute.
out_of_time()
{
    name=$1 word=$2
    shift 2
    sweep_file "$name" "sh asked.sh $word" <<-END
	space: {x: "uniform(0, 1)"}
	schedule: {method: none, max_t: 200}
	search: {trials: 1}
	retry: {failures: 0}
	resources: {time: 1m}
	$(printf '%s\n' "$@")
	END
    submit "$name"
}

test_expect_success 'jobs come to the end of their walltime, and so do controllers' '
    out_of_time step saves "steps: yes" "controller: {time: 1m}" &&
    out_of_time fork saves "steps: no" "slurm: {partition: short}" \
        "controller: {partition: short}" &&
    out_of_time never never "steps: yes" && PATIENCE=400 && finished step && finished fork &&
    finished never && for name in step fork never; do
        test -n "$(events $name finish "all trials are done")" && settled $name || return
    done
'

test_expect_success 'a trial that saves when it is asked goes on from there in the next job' '
    for name in step fork; do
        test "$(ended_as $name 0)" = "timeout completed" &&
        attempts $name first_step last_step >steps && cat steps &&
        saved=$(events $name saved "\"attempt\":1," | tail -n 1 | field step) &&
        test $saved -ge 60 && test "$(sed -n 2p steps)" = "$saved 200" || return
    done
'

test_expect_success 'controllers follow one another, and none is taken for cancelled' '
    for name in step fork; do
        test $(events $name epoch | wc -l) -ge 2 && test_must_fail events $name job evicted &&
        test_must_fail events $name pause || return
    done
'

test_expect_success 'two walltimes that ended with nothing saved are enough: it has failed' '
    test "$(ended_as never 0)" = "timeout timeout" && test_must_fail events never saved &&
    rung export --csv never && grep "^0,-1,failed," never/trials.csv &&
    rung show never 0 >shown && cat shown &&
    grep "^trial 0  failed: the time of its jobs is too short" shown
'

test_expect_success 'down' '
    "$cluster" down "$at"
'

test_done
