#!/bin/sh
test_description='sweeps under Slurm, with a Slurm of our own on PATH'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! test -x "$top_builddir/rung"; then
    skip_all='rung is not built'
    test_done
fi
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=0.1,UNSEEN=0.1,SUBMIT_RETRY=0.1,ORPHAN=20
RUNG_TIMERS=$RUNG_TIMERS,ACCOUNT=0.2,LAST_ACCOUNT=4,SUCCESSOR=1

# Tasks run here, at once, or one behind the other of their name (singleton). $SLURM/refuse
# has what sbatch says instead, once for each line.
SLURM=$PWD/slurm
export SLURM
mkdir -p slurm/bin slurm/jobs slurm/names slurm/pending slurm/cancelled slurm/scripts && echo 50 >slurm/id && : >slurm/refuse
cat >slurm/bin/sbatch <<\END
#!/bin/sh
echo "$*" >>"$SLURM/sbatch"
if test -s "$SLURM/refuse"; then
    echo "sbatch: error: Batch job submission failed: $(head -n 1 "$SLURM/refuse")" >&2
    sed -i 1d "$SLURM/refuse"
    exit 1
fi
for script; do :; done
last=$(echo "$*" | sed -n 's/.*--array=0-\([0-9]*\).*/\1/p')
name=$(sed -n 's/^#SBATCH --job-name=//p' "$script")
id=$(($(cat "$SLURM/id") + 1)) && echo $id >"$SLURM/id"
case $* in
*--array*)
    for task in $(seq 0 "${last:-0}"); do
        SLURM_JOB_ID=$((id * 100 + task)) SLURM_ARRAY_JOB_ID=$id SLURM_ARRAY_TASK_ID=$task \
            setsid sh -c "while test -e '$SLURM/hold'; do sleep 0.05; done; exec bash '$script'" \
            >"${script%/*}/${id}_$task.log" 2>&1 </dev/null &
        echo $! >"$SLURM/jobs/${id}_$task"
        echo "$name" >"$SLURM/names/${id}_$task" && echo "$script" >"$SLURM/scripts/${id}_$task"
    done
    while test -e "$SLURM/slow"; do sleep 0.05; done
    ;;
*)
    before=$(cd "$SLURM/names" && grep -lx "$name" * | sort -n | tail -n 1)
    echo "$name" >"$SLURM/names/$id" && : >"$SLURM/pending/$id"
    log=$(sed -n 's/^#SBATCH --output=//p' "$script" | sed "s/%j/$id/" | tr -d '"')
    setsid sh -c 'while kill -0 $(cat "$SLURM/jobs/$2" 2>/dev/null) 2>/dev/null; do
                      sleep 0.05
                  done
                  rm "$SLURM/pending/$1" && SLURM_JOB_ID=$1 SLURM_JOB_NAME=$3 &&
                  export SLURM_JOB_ID SLURM_JOB_NAME && exec bash "$4"' \
        sh "$id" "${before:-none}" "$name" "$script" >"$log" 2>&1 </dev/null &
    echo $! >"$SLURM/jobs/$id"
    ;;
esac
echo $id
END
cat >slurm/bin/squeue <<\END
#!/bin/sh
echo "$*" >>"$SLURM/squeue"
name=$(echo "$*" | sed -n 's/.*--name=\([^ ]*\).*/\1/p')
cd "$SLURM/jobs" || exit
for job in *; do
    test "$(cat "../names/$job")" = "$name" || continue
    test -e "../cancelled/$job" && echo "$job $(cat "../cancelled/$job") N/A n1 None"
    kill -0 "$(cat "$job")" 2>/dev/null || continue
    case $* in
    *%o*) echo "$job RUNNING $(cat "../scripts/$job")" && continue ;;
    esac
    test -e "../pending/$job" && echo "$job PENDING N/A n/a None" ||
        echo "$job RUNNING N/A n1 None"
done
exit 0
END
cat >slurm/bin/scancel <<\END
#!/bin/sh
shift
echo "$*" >>"$SLURM/scancel"
name=$(echo "$*" | sed -n 's/.*--name=\([^ ]*\).*/\1/p')
cd "$SLURM/jobs" || exit
if test -n "$name"; then
    for job in $(cd ../pending && ls); do
        test "$(cat "../names/$job")" = "$name" && rm "../pending/$job" && kill $(cat $job)
    done
    exit 0
fi
kill $(cat "$@")
END
# It knows of jobs and of all steps in each of them; those that ended COMPLETED. Or it
# fails, with $SLURM/sacct.err.
cat >slurm/bin/sacct <<\END
#!/bin/sh
echo "$*" >>"$SLURM/sacct"
test -s "$SLURM/sacct.err" && cat "$SLURM/sacct.err" >&2 && exit 1
for jobs; do :; done
for job in $(echo "${jobs#--jobs=}" | tr , " "); do
    kill -0 "$(cat "$SLURM/jobs/$job")" 2>/dev/null && state=RUNNING end=Unknown ||
        state=COMPLETED end=$(date +%Y-%m-%dT%H:%M:%S)
    echo "$job|$state|2026-11-20T17:15:02|$end|9|00:01.190||0|n1|whole"
    for name in $(sed -n "s/^--job-name=\([^ ]*\) .*/\1/p" "$SLURM/srun"); do
        echo "$job.7|COMPLETED|2026-11-20T17:15:02|$end|9|00:01.190|1K|5|n1|$name"
    done
done
END
cat >slurm/bin/scontrol <<\END
#!/bin/sh
echo "MaxArraySize            = 2"
END
cat >slurm/bin/srun <<\END
#!/bin/sh
echo "$*" >>"$SLURM/srun"
test -s "$SLURM/refuse_step" && cat "$SLURM/refuse_step" >&2 && exit 1
until test "${1#/}" != "$1"; do shift; done
export SLURM_STEP_ID=7 SLURM_PROCID=0
"$@" &
echo $! >"$SLURM/step.pid"
trap "kill -USR2 $!" USR2
wait; wait
END
chmod +x slurm/bin/*
PATH=$SLURM/bin:$PATH

# The program of trials: waits for $1 agents, takes three steps of $2 seconds each.
cat >steps.sh <<\END
until test "$(cat "$RUNG_SWEEP_DIR"/journal/* | grep -c "\"joined\"")" -ge "$1"; do
    sleep 0.05
done
for i in 1 2 3; do
    rung log step=$i loss=1
    sleep "$2"
done
END

# steps NAME AGENTS SECONDS: a sweep file of such trials, with more keys on stdin.
steps() {
    sweep_file "$1" "sh steps.sh $2 $3" && cat >>"$1.yaml" <<-\END
	space: {x: "uniform(0, 1)"}
	schedule: {method: none, max_t: 3}
	END
}

# under_slurm NAME: runs NAME.yaml in directory NAME.
under_slurm() {
    timeout 120 rung run --quiet --executor slurm --foreground --dir "$1" "$1.yaml" 2>"$1.err"
}

test_expect_success 'a sweep, in arrays as large as the site has' '
    printf "%s\n" "search: {trials: 9}" "slots: 3" "steps: no" "resources: {time: 1h}" "setup: |" \
        "  echo set up" | steps whole 3 0 && cat whole.yaml &&
    under_slurm whole && cat whole.err &&
    events whole job joined | sed "s/.*\"job\":\"\([^\"]*\)\".*/\1/" | sort -u >joined &&
    printf "%s\n" 51_0 51_1 52_0 >expect && test_cmp expect joined &&
    cut -d " " -f 2 slurm/sbatch >got && printf "%s\n" --array=0-1 --array=0 >expect &&
    test_cmp expect got && grep "set up" whole/jobs/51_0.log &&
    test $(events whole end completed | wc -l) = 9 && nobody_left whole &&
    grep "Slurm was called [0-9]* times to look after jobs, 3 times for else" whole.err &&
    rung status whole >out && cat out && rung status --json whole >json &&
    grep "^slurm   [0-9]* calls to look after jobs, 3 others" out &&
    grep "\"slurm_calls\":{\"polling\":[0-9]*,\"others\":3,\"steps\":0}" json &&
    rung replay --verify whole
'

test_expect_success 'what Slurm accounts for is in the journal, and in sweep.h5' '
    test $(events whole account | wc -l) = 9 &&
    grep -e "--jobs=5[0-9_,]*" slurm/sacct && rung fsck whole &&
    rung export --csv -o csv whole && cat csv/attempts.csv &&
    test $(grep -c ",5[12]_[01],,COMPLETED," csv/attempts.csv) = 9
'

test_expect_success 'where there is no accounting, that is said once' '
    echo "sacct: error: Slurm accounting storage is disabled" >slurm/sacct.err &&
    : >slurm/sacct && echo "search: {trials: 2}" | steps without 1 0.5 &&
    under_slurm without && cat without.err && : >slurm/sacct.err &&
    test $(grep -c "storage is disabled; sweep.h5 goes without Slurm" without.err) = 1 &&
    test $(wc -l <slurm/sacct) = 1 && test_must_fail events without account
'

test_expect_success 'a refusal that passes is tried again' '
    echo "search: {trials: 2}" | steps later 1 0 &&
    printf "%s\n" "Unable to contact slurm controller (connect failure)" >slurm/refuse &&
    yes "Socket timed out on send/recv operation" | head -n 1000 >>slurm/refuse &&
    { under_slurm later & } && until_true "rung status later | grep \"note .*Socket timed\"" &&
    : >slurm/refuse && wait && cat later.err && grep "Unable to contact" later.err &&
    test $(grep -c "Socket timed" later.err) = 1 &&
    test $(events later end completed | wc -l) = 2 &&
    rung status later >out && cat out && test_must_fail grep "^note" out
'

test_expect_success 'another pauses the sweep' '
    echo "search: {trials: 2}" | steps never 1 0 &&
    echo "Invalid account or account/partition combination specified" >slurm/refuse &&
    test_expect_code 1 under_slurm never && cat never.err &&
    grep "paused: sbatch: Batch job submission failed: Invalid account" never.err &&
    test_must_fail events never start
'

test_expect_success 'jobs that end before their agents join do, too' '
    printf "%s\n" "search: {trials: 2}" "setup: echo no module; false" | steps setup 1 0 &&
    test_expect_code 1 under_slurm setup && cat setup.err &&
    grep "paused: job [0-9_]* ended before its agent could join" setup.err &&
    grep "paused: .* output is in .*/setup/jobs/.*log, and ends: no module$" setup.err
'

test_expect_success 'attempts are steps, called like their trial and milestone' '
    printf "%s\n" "search: {trials: 2}" "steps: yes" "srun: {cpu-bind: cores}" |
        steps step 1 0 && : >slurm/srun && under_slurm step && cat step.err && cat slurm/srun &&
    test $(events step end completed | grep "\"slurm_step\":\"7\"" | wc -l) = 2 &&
    events step account "\"slurm_step\":\"7\",\"slurm_state\":\"COMPLETED\"" >accounts &&
    test $(wc -l <accounts) = 2 && grep "cpu_seconds\":1.19" accounts &&
    test_must_fail grep energy accounts &&
    grep -e "^--job-name=t00000[01].r0 --nodes=1 --ntasks=1 .* --cpu-bind=cores /" slurm/srun &&
    test $(wc -l <slurm/srun) = 2 && ls -A step/trials/000000/a01 >files &&
    echo attempt-01.log >expect && test_cmp expect files
'

test_expect_success 'short attempts are not, unless they must' '
    printf "%s\n" "search: {trials: 12}" | steps short 1 0 && under_slurm short &&
    test $(events short end completed | grep -v slurm_step | wc -l) -ge 8
'

test_expect_success 'a step that starts nothing says what srun said' '
    printf "%s\n" "search: {trials: 1}" "steps: yes" | steps nostep 1 0 &&
    echo "srun: error: Unable to create step for job 1: Invalid mpi" >slurm/refuse_step &&
    test_expect_code 1 under_slurm nostep && cat nostep.err && rm slurm/refuse_step &&
    grep "could not be started 3 times in a row: .*Unable to create step" nostep.err &&
    test $(events nostep end launch_failed | wc -l) = 3
'

test_expect_success 'steps that cannot be started while slurmctld is away are, later' '
    printf "%s\n" "search: {trials: 1}" "steps: yes" "retry: {failures: 0}" |
        steps wait 1 0 &&
    echo "srun: error: Unable to create step for job 1: Unable to contact slurm controller" \
        >slurm/refuse_step &&
    { under_slurm wait & } && reached wait 4 end launch_failed && rm slurm/refuse_step &&
    wait && cat wait.err && test $(grep -c "it is tried again: .*Unable to contact" wait.err) = 1 &&
    test $(events wait end completed | wc -l) = 1 && sound wait
'

test_expect_success 'a step that Slurm ends is preempted, and its job asks for no more' '
    printf "%s\n" "search: {trials: 1}" "steps: yes" | steps evict 1 0.5 &&
    { under_slurm evict & } && until_true "test -n \"\$(events evict report)\"" &&
    kill -TERM $(cat slurm/step.pid) && wait && cat evict.err &&
    test $(events evict end preempted | wc -l) = 1 &&
    test $(events evict job joined | wc -l) = 2 && test $(events evict end completed | wc -l) = 1
'

test_expect_success 'what cannot be' '
    for keys in "resources: {nodes: 2, tasks: 2}" "srun: {mpi: pmix}"; do
        printf "%s\n" "search: {trials: 2}" "steps: no" "$keys" | steps cannot 1 0 &&
        test_expect_code 2 under_slurm cannot && cat cannot.err &&
        grep "steps: no: " cannot.err && ! test -e cannot || return 1
    done
'

# ended NAME: the controller that we started is gone, and its jobs are not.
ended() {
    pid=$(sed "s/.*\"pid\":\([0-9]*\),.*/\1/" "$1/controller.json") && kill -9 "$pid" &&
        until_true "! test -e /proc/$pid"
}

test_expect_success 'settings that change are in the script of jobs to come' '
    printf "%s\n" "search: {trials: 1}" "slots: 1" | steps long 1 100 &&
    { under_slurm long & } && until_true "test -n \"\$(events long report)\"" &&
    rung resume --set resources.time=2h long &&
    until_true "grep -e --time=0-02:00:00 long/jobs/slots.sh" &&
    grep "^exec .* --set resources.time=2h " long/jobs/slots.sh
'

test_expect_success 'a controller dies: the next one is of Slurm, too, and knows the job' '
    job=$(events long job joined | sed "s/.*\"job\":\"\([^\"]*\)\".*/\1/") &&
    ended long && { rung resume --quiet long 2>long.err & } &&
    until_true "test \$(events long job joined | wc -l) = 2" &&
    events long job joined | tail -n 1 | grep "\"job\":\"$job\"" &&
    rung stop long && wait && nobody_left long
'

# controllers NAME: the jobs of its controllers that are there, with their states.
controllers() {
    squeue --name="$(sed -n "s/^#SBATCH --job-name=//p" "$1/jobs/controller.sh")"
}

test_expect_success 'jobs of a controller that died as it submitted them are known to the next' '
    printf "%s\n" "search: {trials: 4}" "slots: 2" | steps orphans 1 0.2 &&
    : >slurm/hold && : >slurm/slow && { under_slurm orphans & } &&
    until_true "test \$(cat slurm/scripts/* | grep -c orphans/) = 2" &&
    ended orphans && wait && : >slurm/sbatch && rm slurm/slow &&
    { timeout 120 rung resume --quiet orphans 2>orphans.err & } &&
    until_true "test \$(events orphans epoch | wc -l) = 2" && sleep 1 && rm slurm/hold &&
    wait && cat orphans.err && test $(events orphans end completed | wc -l) = 4 &&
    test $(grep -c "is of this sweep, and counts" orphans.err) = 2 && cat slurm/sbatch &&
    test_must_fail test -s slurm/sbatch && nobody_left orphans
'

test_expect_success 'the controller is a job, and a person looks on' '
    echo "search: {trials: 4}" | steps there 1 0 &&
    timeout 60 rung run --executor slurm --slots 2 --dir there there.yaml >there.out 2>there.err &&
    cat there.err there.out && grep "its controller is job" there.err &&
    grep "finished  trials 4 of 4" there.err && grep "^best    loss 1 " there.out &&
    grep "^{\"e\":\"set\".*\"key\":\"slots\"" there/journal/* &&
    until_true "test -z \"\$(controllers there)\"" && nobody_left there &&
    test -e there/sweep.h5 && rung replay --verify there
'

test_expect_success 'one that is cancelled is followed by the next, and that by another' '
    printf "%s\n" "search: {trials: 9}" "slots: 1" | steps next 1 0.3 &&
    rung submit --dir next next.yaml 2>next.err && cat next.err &&
    until_true "test -n \"\$(events next report)\"" && controllers next >two && cat two &&
    test $(wc -l <two) = 2 && kill $(cat slurm/jobs/$(grep RUNNING two | cut -d " " -f 1)) &&
    until_true "test \$(events next epoch | wc -l) = 2" &&
    until_true "test \$(controllers next | wc -l) = 2" &&
    until_true "grep finished next/controller.json" &&
    test $(events next job evicted | wc -l) = 1 && test $(events next start | wc -l) = 9 &&
    until_true "test -z \"\$(controllers next)\""
'

test_expect_success 'two that are cancelled mean that it is to pause; it resumes' '
    printf "%s\n" "search: {trials: 6}" "slots: 1" | steps twice 1 0.5 &&
    rung submit --dir twice twice.yaml && until_true "test -n \"\$(events twice report)\"" &&
    kill $(cat slurm/jobs/$(controllers twice | grep RUNNING | cut -d " " -f 1)) &&
    until_true "test \$(events twice epoch | wc -l) = 2" &&
    until_true "test \$(controllers twice | wc -l) = 2" &&
    kill $(cat slurm/jobs/$(controllers twice | grep RUNNING | cut -d " " -f 1)) &&
    until_true "grep paused twice/controller.json" &&
    until_true "test -z \"\$(controllers twice)\"" &&
    events twice pause | grep "cancelled twice within 10 minutes" && nobody_left twice &&
    rung resume --set search.trials=7 twice 2>err && cat err && grep "its controller is job" err &&
    until_true "grep finished twice/controller.json" &&
    test $(events twice end completed | wc -l) = 7 && rung replay --verify twice
'

test_expect_success 'one that is cancelled before it has a successor sees to it before it goes' '
    (RUNG_TIMERS=$RUNG_TIMERS,SUCCESSOR=100 &&
        printf "%s\n" "search: {trials: 9}" "slots: 1" | steps young 1 0.5 &&
        rung submit --dir young young.yaml) && until_true "test -n \"\$(events young report)\"" &&
    kill $(cat slurm/jobs/$(controllers young | grep RUNNING | cut -d " " -f 1)) &&
    until_true "test \$(events young epoch | wc -l) = 2" && controllers young >one && cat one &&
    test $(wc -l <one) = 1 && kill $(cat slurm/jobs/$(cut -d " " -f 1 one)) &&
    until_true "grep paused young/controller.json" && test $(events young epoch | wc -l) = 3 &&
    until_true "test -z \"\$(controllers young)\"" && nobody_left young
'

# end_as STATE JOB...: ended by Slurm, which says so later.
end_as() {
    state=$1
    shift
    for job; do
        echo "$state" >"slurm/cancelled/$job" && kill "$(cat "slurm/jobs/$job")" || return
    done
}

test_expect_success 'controllers that are preempted are not taken for cancelled' '
    printf "%s\n" "search: {trials: 9}" "slots: 1" | steps taken 1 0.5 &&
    rung submit --dir taken taken.yaml && until_true "test -n \"\$(events taken report)\"" &&
    for n in 2 3; do
        end_as PREEMPTED $(controllers taken | grep RUNNING | cut -d " " -f 1) &&
        until_true "test \$(events taken epoch | wc -l) = $n" &&
        until_true "test \$(controllers taken | grep -c \"RUNNING\|PENDING\") = 2" || return 1
    done && until_true "grep finished taken/controller.json" &&
    test $(events taken job evicted | wc -l) = 2 && test $(events taken epoch | wc -l) = 3
'

test_expect_success 'a job that is cancelled is replaced; when it was the last, the sweep pauses' '
    printf "%s\n" "search: {trials: 9}" "slots: 2" "steps: no" | steps gone 2 0.5 &&
    rung submit --dir gone gone.yaml && until_true "test \$(events gone report | wc -l) -ge 2" &&
    set -- $(events gone job joined | sed "s/.*\"job\":\"\([^\"]*\)\".*/\1/") &&
    end_as CANCELLED $1 && until_true "test \$(events gone job joined | wc -l) = 3" &&
    set -- $(events gone job joined | sed "s/.*\"job\":\"\([^\"]*\)\".*/\1/") &&
    end_as CANCELLED $2 $3 && until_true "grep paused gone/controller.json" &&
    events gone pause | grep "all of its jobs were cancelled" &&
    test $(events gone job joined | wc -l) = 3 && test $(events gone end preempted | wc -l) -ge 2 &&
    until_true "test -z \"\$(controllers gone)\"" && nobody_left gone
'

test_expect_success 'rung stop and status work from outside, before, during and after' '
    printf "%s\n" "search: {trials: 2}" "slots: 1" | steps outside 1 2 &&
    rung submit --dir outside outside.yaml && until_true "test -n \"\$(events outside report)\"" &&
    rung stop --pause outside && until_true "grep paused outside/controller.json" &&
    until_true "test -z \"\$(controllers outside)\"" && nobody_left outside &&
    rung resume outside && until_true "test \$(events outside start | wc -l) = 2" &&
    rung resume outside 2>err && grep "runs already" err &&
    rung stop outside && until_true "grep finished outside/controller.json" &&
    until_true "test -z \"\$(controllers outside)\"" && nobody_left outside
'

test_expect_success 'where there is sbatch, a sweep runs there, unless somebody says else' '
    echo "search: {trials: 2}" | steps implied 1 0 &&
    RUNG_EXECUTOR= timeout 120 rung run --quiet --dir implied implied.yaml &&
    test -e implied/jobs/controller.sh && test -e implied/jobs/slots.sh &&
    RUNG_EXECUTOR= timeout 120 rung run --quiet -x local --dir here implied.yaml &&
    ! test -e here/jobs/slots.sh && rm -r here &&
    timeout 120 rung run --quiet --dir here implied.yaml &&
    ! test -e here/jobs/slots.sh
'

test_expect_success 'a controller that Slurm refuses leaves nothing behind' '
    echo "search: {trials: 2}" | steps none 1 0 && echo "Invalid qos specification" >slurm/refuse &&
    test_expect_code 1 rung submit --dir none none.yaml 2>err && cat err &&
    grep "rung submit: sbatch: Batch job submission failed: Invalid qos" err &&
    grep "nothing was submitted" err && ! test -e none
'

test_expect_success 'controllers that get nowhere are not followed for ever' '
    printf "%s\n" "search: {trials: 2}" "setup: sleep 100" | steps barren 1 0 &&
    rung submit --dir barren barren.yaml && for n in 1 2 3; do
        until_true "test \$(events barren epoch | wc -l) = $n" &&
        until_true "test \$(controllers barren | wc -l) = 2" &&
        kill -9 $(cat slurm/jobs/$(controllers barren | grep RUNNING | cut -d " " -f 1)) || return 1
    done && until_true "grep paused barren/controller.json" && cat barren/jobs/controller-*.log &&
    events barren pause | grep "3 controllers in a row ended within 10 minutes" &&
    until_true "test -z \"\$(controllers barren)\"" && nobody_left barren
'

test_done
