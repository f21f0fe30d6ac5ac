#!/bin/sh
test_description='whatever a trial program does, the sweep goes on, and nothing is left behind'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

command -v python3 >/dev/null && test_set_prereq PYTHON

zoo="sh '$top_srcdir/tests/zoo.sh' {what}"

# ---- the zoo, where trials pause at milestones ----

test_expect_success PYTHON 'promote: programs that do what they should not' '
    sweep_file promote "$zoo" <<-END &&
	space:
	  what: grid(good, until, nan, inf, leap, early, flood, garbage, long, at_once, fail,
	             late_fail, crash, abort, silent, stubborn, nothing, child, orphan, session,
	             deaf_child, goes_on, stays, rude, saved_rude, saved_stays, halves)
	search: {method: grid}
	schedule: {grace_period: 2, max_t: 9, reduction_factor: 1000, finalists: 0}
	slots: 4
	retry: {failures: 1}
	timeout: 2s
	END
    run_sweep promote &&
    nothing_left promote &&
    sound promote &&
    ends promote what >actual &&
    cat >expected <<-END &&
	good paused 2: paused(0,0)0-2
	until paused 2: paused(0,0)0-2
	nan paused 2: paused(0,0)0-2
	inf paused 2: paused(0,0)0-2
	leap paused 5: failed(-1,15)0-6
	early completed 1: completed(0,0)0-1
	flood paused 2: paused(0,0)0-2
	garbage paused 2: paused(0,0)0-2
	long paused 2: paused(0,0)0-2
	at_once paused 2: paused(0,0)0-9
	fail failed 0: failed(3,0)0--1 failed(3,0)0--1
	late_fail failed 1: failed(4,0)0-1 failed(4,0)0-1
	crash failed 0: failed(-1,11)0--1 failed(-1,11)0--1
	abort failed 1: failed(-1,6)0-1 failed(-1,6)0-1
	silent failed 0: hung(-1,15)0--1 hung(-1,15)0--1
	stubborn failed 0: hung(-1,9)0--1 hung(-1,9)0--1
	nothing failed 0: failed(0,0)0--1 failed(0,0)0--1
	child paused 2: paused(0,0)0-2
	orphan paused 2: paused(0,0)0-2
	session paused 2: paused(0,0)0-2
	deaf_child paused 2: paused(0,0)0-2
	goes_on paused 2: failed(-1,15)0-3
	stays paused 2: failed(-1,15)0-2
	rude paused 2: failed(7,0)0-2
	saved_rude paused 2: failed(7,0)0-2
	saved_stays paused 2: paused(-1,15)0-2
	halves paused 2: paused(0,0)0-2
	END
    test_cmp expected actual
'

test_expect_success PYTHON 'promote: show says what was wrong' '
    while read -r trial text; do
        rung show promote $trial >show &&
            grep -F -e "$text" show || { cat show; return 1; }
    done <<-END
	4 ended by signal 15 (Terminated); rung ended it, since it went on after it was told to pause
	10 failed, exit status 3
	12 ended by signal 11 (Segmentation fault)
	14 hung: it was silent for longer than \`timeout\`
	15 ended by signal 9 (Killed)
	16 failed, exit status 0
	17 left processes behind, which were ended: 1
	18 left processes behind, which were ended: 2
	19 left processes behind, which were ended: 2
	20 left processes behind, which were ended: 3
	21 since it went on after it was told to pause
	23 failed, exit status 7
	END
'

test_expect_success PYTHON 'promote: what was printed is in the log' '
    test $(wc -c <promote/trials/000006/a01/attempt-01.log) = 10000000
'

test_expect_success 'promote: who is promoted after a bad end goes on from what was saved' '
    sweep_file again "$zoo" <<-END &&
	space:
	  what: grid(rude, saved_rude, stays, saved_stays, goes_on, until)
	search: {method: grid}
	schedule: {grace_period: 2, max_t: 4, reduction_factor: 1000, finalists: 6}
	slots: 3
	retry: {failures: 1}
	timeout: 2s
	END
    run_sweep again &&
    nothing_left again &&
    sound again &&
    ends again what >actual &&
    cat >expected <<-END &&
	rude completed 4: failed(7,0)0-2 completed(7,0)0-4
	saved_rude completed 4: failed(7,0)0-2 completed(0,0)2-4
	stays completed 4: failed(-1,15)0-2 completed(-1,15)0-4
	saved_stays completed 4: paused(-1,15)0-2 completed(0,0)2-4
	goes_on completed 4: failed(-1,15)0-3 completed(-1,15)0-5
	until completed 4: paused(0,0)0-2 completed(0,0)2-4
	END
    test_cmp expected actual
'

# ---- the zoo, where trials run on until they are stopped ----

test_expect_success PYTHON 'stop: programs that do what they should not' '
    sweep_file stop "$zoo" <<-END &&
	space:
	  what: grid(good, nan, inf, until, leap, early, flood, garbage, long, at_once, fail,
	             late_fail, crash, silent, stubborn, nothing, session, deaf_child, stays,
	             bad_good, bad_nothing, bad_goes_on, bad_stays, bad_rude)
	search: {method: grid}
	schedule: {mode: stop, grace_period: 2, max_t: 9}
	slots: 4
	retry: {failures: 1}
	timeout: 2s
	END
    run_sweep stop &&
    nothing_left stop &&
    sound stop &&
    ends stop what >actual &&
    cat >expected <<-END &&
	good completed 9: completed(0,0)0-9
	nan stopped 2: stopped(0,0)0-2
	inf stopped 2: stopped(0,0)0-2
	until completed 9: completed(0,0)0-9
	leap completed 9: completed(-1,15)0-9
	early completed 1: completed(0,0)0-1
	flood completed 9: completed(0,0)0-9
	garbage completed 9: completed(0,0)0-9
	long completed 9: completed(0,0)0-9
	at_once stopped 2: stopped(0,0)0-9
	fail failed 0: failed(3,0)0--1 failed(3,0)0--1
	late_fail failed 1: failed(4,0)0-1 failed(4,0)0-1
	crash failed 0: failed(-1,11)0--1 failed(-1,11)0--1
	silent failed 0: hung(-1,15)0--1 hung(-1,15)0--1
	stubborn failed 0: hung(-1,9)0--1 hung(-1,9)0--1
	nothing failed 0: failed(0,0)0--1 failed(0,0)0--1
	session completed 9: completed(0,0)0-9
	deaf_child completed 9: completed(0,0)0-9
	stays completed 9: completed(-1,15)0-9
	bad_good stopped 2: stopped(0,0)0-2
	bad_nothing failed 0: failed(0,0)0--1 failed(0,0)0--1
	bad_goes_on stopped 2: stopped(-1,15)0-3
	bad_stays stopped 2: stopped(-1,15)0-2
	bad_rude stopped 2: stopped(7,0)0-2
	END
    test_cmp expected actual
'

test_expect_success 'none: every trial runs to max_t, NaN or not' '
    sweep_file none "$zoo" <<-END &&
	space: {what: "grid(good, nan, bad_good, bad_stays, until, leap)"}
	search: {method: grid}
	schedule: {method: none, max_t: 4}
	slots: 2
	timeout: 2s
	END
    run_sweep none &&
    nothing_left none &&
    sound none &&
    ends none what >actual &&
    cat >expected <<-END &&
	good completed 4: completed(0,0)0-4
	nan completed 4: completed(0,0)0-4
	bad_good completed 4: completed(0,0)0-4
	bad_stays completed 4: completed(-1,15)0-4
	until completed 4: completed(0,0)0-4
	leap completed 5: completed(-1,15)0-6
	END
    test_cmp expected actual
'

test_expect_success 'a metric that nobody reports is named, with what they report' '
    sweep_file misnamed "$zoo" <<-END &&
	space: {what: "grid(other, good, other)"}
	search: {method: grid}
	schedule: {method: none, max_t: 2}
	END
    run_sweep misnamed &&
    nothing_left misnamed &&
    sound misnamed &&
    cat misnamed.err &&
    test $(wc -l <misnamed.err) = 1 &&
    grep "trial 0 is at step 3 and has not reported .loss., the metric" misnamed.err &&
    grep "it reports .lost., .found.$" misnamed.err
'

# ---- programs that only print ----

# Lines end in a carriage return, as those of progress bars do; the last one does not end.
cat >print.sh <<'END'
what=$1 loss=1
echo "$RUNG_SOCKET" >>"$RUNG_SWEEP_DIR/sockets"
case $what in
flood) yes 'a line of no interest' | head -c 5000000 ;;
wide) head -c 5000000 /dev/zero | tr '\0' 'y'; echo ;;
binary) head -c 1000000 /dev/urandom; echo ;;
nan | waits_nan) loss=nan ;;
bad | bad_stubborn) loss=100 ;;
esac
for step in 1 2 3 4 5 6 7 8 9; do
    printf '\repoch %d: ' $step
    printf 'loss %s' $loss
    case $what in both) rung log step=$step accuracy=1 || exit 0 ;; esac
    case $what.$step in
    fail.2) exit 3 ;;
    silent.2) sleep 1000 ;;
    slow.[258]) sleep 0.8 ;;
    bad.2 | nan.2 | "waits.$RUNG_UNTIL" | "waits_nan.$RUNG_UNTIL") echo; sleep 1000 ;;
    bad_stubborn.2) trap '' TERM; echo; while :; do sleep 1000; done ;;
    esac
done
END

test_expect_success 'parse: what is printed is read, and who is stopped is ended at once' '
    sweep_file printed "sh \"$PWD/print.sh\" {what}" <<-END &&
	space:
	  what: grid(good, flood, wide, binary, slow, both, fail, silent, nan, bad, bad_stubborn)
	search: {method: grid}
	schedule: {grace_period: 2, max_t: 9}
	slots: 2
	retry: {failures: 1}
	timeout: 2s
	parse: "epoch (?<step>[0-9]+): loss (?<loss>[0-9a-z]+)"
	END
    run_sweep printed &&
    nothing_left printed &&
    sound printed &&
    ends printed what >actual &&
    cat >expected <<-END &&
	good completed 9: completed(0,0)0-9
	flood completed 9: completed(0,0)0-9
	wide completed 9: completed(0,0)0-9
	binary completed 9: completed(0,0)0-9
	slow completed 9: completed(0,0)0-9
	both completed 9: completed(0,0)0-9
	fail failed 2: failed(3,0)0-2 failed(3,0)0-2
	silent failed 2: hung(-1,15)0-2 hung(-1,15)0-2
	nan stopped 2: stopped(-1,15)0-2
	bad stopped 2: stopped(-1,15)0-2
	bad_stubborn stopped 2: stopped(-1,9)0-2
	END
    test_cmp expected actual
'

test_expect_success 'parse, restart: who is promoted begins anew' '
    sweep_file restart "sh \"$PWD/print.sh\" {what}" <<-END &&
	space: {what: "grid(waits, waits_nan, fail)"}
	search: {method: grid}
	schedule: {mode: promote, grace_period: 3, max_t: 10, reduction_factor: 3}
	retry: {failures: 0}
	restart: true
	parse: "epoch (?<step>[0-9]+): loss (?<loss>[0-9a-z]+)"
	END
    run_sweep restart &&
    nothing_left restart &&
    sound restart &&
    ends restart what >actual &&
    cat >expected <<-END &&
	waits completed 9: paused(-1,15)0-3 completed(0,0)0-9
	waits_nan paused 3: paused(-1,15)0-3
	fail failed 2: failed(3,0)0-2
	END
    test_cmp expected actual
'

# ---- commands ----

test_expect_success 'a missing program: the sweep pauses and says which' '
    sweep_file missing "./no-such-program {x}" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 9}
	schedule: {max_t: 9}
	slots: 3
	END
    test_expect_code 1 run_sweep missing &&
    grep "no-such-program.*: No such file or directory" missing.err &&
    nothing_left missing &&
    sound missing &&
    rung show missing 0 | grep "could not be launched" &&
    test -z "$(events missing end | grep -v launch_failed)"
'

test_expect_success 'a program without execute permission, and a directory' '
    mkdir bin bin/folder && : >bin/plain && chmod 644 bin/plain &&
    for program in plain folder; do
        sweep_file $program "./bin/$program {x}" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 9}
	schedule: {max_t: 9}
	END
            test_expect_code 1 run_sweep $program &&
            grep "$program.*: Permission denied" $program.err &&
            nothing_left $program || return
    done
'

test_expect_success 'once the program is there, resume goes on' '
    ln -s /bin/true no-such-program &&
    test_when_finished "rm no-such-program" &&
    test_expect_code 1 timeout 60 rung resume --quiet missing 2>err &&
    grep "the first 3 attempts all failed before a report" err &&
    nothing_left missing &&
    sound missing
'

# Writes what it was given to a file of the trial: its arguments, and two variables.
cat >given.sh <<'END'
exec >"$RUNG_TRIAL.given"
echo "$RUNG_SOCKET" >>"$RUNG_SWEEP_DIR/sockets"
for arg in "$@"; do printf '<%s>' "$arg"; done
printf '\n%s\n%s\n' "${RUNG_PARAM_value-absent}" "${RUNG_PARAM_extra-absent}"
exec rung log step=1 loss=1
END

cat >values.yaml <<'END'
space:
  value: |
    grid("it's", "\"two\" words", "a\nb", "%s%n", "-x", "--", "", "$HOME `id` $(id)",
         "*", "{value}", "\\", "a=b;c&d|e", "é")
  extra: {sample: "choice(1, 2)", when: value == "--"}
search: {method: grid}
schedule: {method: none, max_t: 1}
slots: 4
END

# given NUMBER VALUE [EXTRA]: what the trial must have written.
given()
{
    if test $# = 2; then
        printf '<%s><x%sy><{value}>\n%s\nabsent\n' "$2" "$2" "$2"
    else
        printf '<%s><x%sy><--extra=%s><{value}>\n%s\n%s\n' "$2" "$2" "$3" "$2" "$3"
    fi >expected
    test_cmp expected "$1.given"
}

# all_given: the same for all trials of values.yaml.
all_given()
{
    given 0 "it's" && given 1 '"two" words' && given 2 'a
b' && given 3 '%s%n' && given 4 -x &&
        extra=$(rung show --json "$1" 5 | sed 's/.*"params":{[^}]*"extra":\([12]\).*/\1/') &&
        given 5 "--" "$extra" && given 6 '' && given 7 '$HOME `id` $(id)' && given 8 '*' &&
        given 9 '{value}' && given 10 "\\" && given 11 'a=b;c&d|e' && given 12 'é'
}

test_expect_success 'values reach the program as they are, and absent ones not at all' '
    sweep_file given "sh given.sh {value} x{value}y --extra={extra} {{value}}" <values.yaml &&
    run_sweep given &&
    nothing_left given &&
    sound given &&
    all_given given
'

# The trial's shell expands these.
in_shell='|
  set -- "$RUNG_PARAM_value" "x${RUNG_PARAM_value}y" \
      ${RUNG_PARAM_extra+--extra=$RUNG_PARAM_extra} "{value}"
  . ./given.sh
shell: true'

test_expect_success 'the same with shell: true, where a command finds them in its variables' '
    rm -f ./*.given &&
    sweep_file shell "$in_shell" <values.yaml &&
    run_sweep shell &&
    nothing_left shell &&
    sound shell &&
    all_given shell
'

# ---- slots and jobs ----

# Its devices, while as many trials run as there are slots: it waits for the others.
cat >devices.sh <<'END'
echo "$RUNG_SOCKET" >>"$RUNG_SWEEP_DIR/sockets"
echo "$CUDA_VISIBLE_DEVICES" >"$RUNG_SWEEP_DIR/gpus.$RUNG_TRIAL"
for i in $(seq 1500); do
    set -- "$RUNG_SWEEP_DIR"/gpus.*
    test $# -lt 4 || exec rung log step=1 loss=1
    sleep 0.02
done
END

test_expect_success 'each slot has GPUs of its own' '
    for per_job in "" "slots_per_job: 1" "slots_per_job: 2" "slots_per_job: 3"; do
        rm -rf devices &&
            sweep_file devices "sh devices.sh" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 4}
	schedule: {method: none, max_t: 1}
	slots: 4
	resources: {gpus: 2}
	$per_job
	END
            CUDA_VISIBLE_DEVICES=9,8,7,6,5,4,3,2 run_sweep devices &&
            nothing_left devices &&
            printf "%s\n" 3,2 5,4 7,6 9,8 >expected &&
            sort devices/gpus.* >actual &&
            test_cmp expected actual || return
    done
'

test_expect_success 'trials_per_job: each job makes so many attempts and ends' '
    sweep_file jobs "$zoo" <<-END &&
	space: {what: "grid(good, nan, until, stays, fail, child)"}
	search: {method: grid}
	schedule: {grace_period: 2, max_t: 9, reduction_factor: 3}
	slots: 2
	slots_per_job: 1
	trials_per_job: 1
	retry: {failures: 1}
	timeout: 2s
	END
    run_sweep jobs &&
    nothing_left jobs &&
    sound jobs &&
    events jobs start | sed "s/.*\"agent\":\"\([^\"]*\)\".*/\1/" >agents &&
    test $(wc -l <agents) -ge 8 &&
    test $(sort -u agents | wc -l) = $(wc -l <agents)
'

# ---- out of memory ----

# memory_cgroup: makes a memory cgroup and prints its directory; fails where it may not.
memory_cgroup()
{
    if test -d /sys/fs/cgroup/memory; then
        dir=/sys/fs/cgroup/memory/rung-test-$$ limit=memory.limit_in_bytes
    else
        dir=/sys/fs/cgroup/rung-test-$$ limit=memory.max
    fi
    mkdir "$dir" 2>/dev/null || return
    if echo 256M 2>/dev/null >"$dir/$limit"; then
        echo "$dir"
    else
        rmdir "$dir"
        false
    fi
}

if cgroup=$(memory_cgroup); then
    test_set_prereq CGROUP
fi

cat >hungry.sh <<'END'
echo "$RUNG_SOCKET" >>"$RUNG_SWEEP_DIR/sockets"
head -c "${1}M" /dev/zero | tail -n 1 >/dev/null &&
    exec rung log step=1 loss=1
END

test_expect_success CGROUP 'retry.oom: less of it each time, until it fits' '
    test_when_finished "rmdir $cgroup" &&
    sweep_file hungry "sh hungry.sh {size}" <<-END &&
	space: {size: 600}
	search: {trials: 1}
	schedule: {method: none, max_t: 1}
	retry: {failures: 0, oom: {param: size, factor: 0.5, min: 100}}
	END
    (RUNG_TIMERS=$RUNG_TIMERS,ORPHAN=60 && # all of it is short of memory, and slow
        sh -c "echo \$PPID" >$cgroup/cgroup.procs && run_sweep hungry) &&
    nothing_left hungry &&
    sound hungry &&
    test "$(ends hungry size | sed "s/([^)]*)//g")" = \
        "600 completed 1: oom0--1 oom0--1 completed0-1" &&
    rung show hungry 0 | grep "150 (drawn: 600; changed by retry.oom)"
'

test_done
