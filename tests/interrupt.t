#!/bin/sh
test_description='sweeps that people interrupt, stop, change and resume'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

for mode in promote stop; do
    test_expect_success "$mode: Ctrl-C saves what runs, and resume goes on from there" '
        sweep ctrl-c-$mode $mode && hold &&
        begin ctrl-c-$mode &&
        reached ctrl-c-$mode 2 report &&
        kill -INT $controller && go &&
        ended 130 &&
        grep "interrupted by Ctrl-C" ctrl-c-$mode.err &&
        nothing_left ctrl-c-$mode &&
        test $(events ctrl-c-$mode end "\"outcome\":\"interrupted\"" | wc -l) = 2 &&
        ! events ctrl-c-$mode end "\"saved\":0" &&
        sound ctrl-c-$mode &&
        rung status --json ctrl-c-$mode | grep "\"state\":\"paused\"" &&
        timeout 120 rung resume --quiet ctrl-c-$mode &&
        nothing_left ctrl-c-$mode &&
        sound ctrl-c-$mode &&
        going_on ctrl-c-$mode &&
        test $(events ctrl-c-$mode trial | wc -l) = 6
    '
done

test_expect_success 'Ctrl-C twice ends at once what does not report' '
    sweep twice promote && hold &&
    begin twice &&
    reached twice 2 report &&
    kill -INT $controller &&
    reached twice 1 pause &&
    test -n "$(pids twice)" &&
    kill -INT $controller &&
    ended 130 && go &&
    nothing_left twice &&
    test $(events twice end "\"outcome\":\"interrupted\"" | wc -l) = 2 &&
    sound twice &&
    timeout 120 rung resume --quiet twice &&
    sound twice
'

test_expect_success 'what reports and does not save is ended, and begins anew' '
    sweep_file unsaved "sh \"$top_srcdir/tests/zoo.sh\" good" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 3}
	schedule: {mode: stop, max_t: 60}
	slots: 2
	END
    begin unsaved &&
    reached unsaved 2 report &&
    kill -INT $controller &&
    ended 130 &&
    nothing_left unsaved &&
    test $(events unsaved end "\"outcome\":\"interrupted\"" | wc -l) = 2 &&
    timeout 120 rung resume --quiet unsaved &&
    test $(events unsaved start "\"attempt\":2" | grep -c "\"start\":0") = 2 &&
    sound unsaved
'

test_expect_success 'SIGTERM saves as Ctrl-C does' '
    sweep term stop && hold &&
    begin term &&
    reached term 2 report &&
    kill -TERM $controller && go &&
    ended 0 &&
    nothing_left term &&
    sound term &&
    timeout 120 rung resume --quiet term &&
    going_on term
'

for mode in promote stop; do
    test_expect_success "$mode: rung stop finishes the sweep" '
        sweep stop-$mode $mode && hold &&
        begin stop-$mode &&
        reached stop-$mode 2 report &&
        rung stop stop-$mode &&
        ended 0 && go &&
        nothing_left stop-$mode &&
        sound stop-$mode &&
        ends stop-$mode x >actual &&
        test $(grep -c ": stopped" actual) = 2 &&
        rung status --json stop-$mode | grep "\"state\":\"finished\""
    '
done

test_expect_success 'resume of a finished sweep does nothing' '
    cp -r stop-stop before &&
    rung resume stop-stop 2>err &&
    grep "nothing to resume" err &&
    diff -r before stop-stop
'

test_expect_success 'but with more to do it goes on, though it was stopped' '
    test $(events stop-stop trial | wc -l) = 2 &&
    timeout 120 rung resume --quiet --set search.trials=5 stop-stop &&
    nothing_left stop-stop &&
    test $(events stop-stop trial | wc -l) = 5 &&
    sound stop-stop
'

test_expect_success 'rung stop TRIAL stops that one; the others go on' '
    sweep one stop && hold &&
    begin one &&
    reached one 2 report &&
    rung stop one 1 &&
    reached one 1 end "\"trial\":1," && go &&
    ended 0 &&
    nothing_left one &&
    sound one &&
    rung show --json one 1 | grep "\"state\":\"stopped\"" &&
    rung show one 1 | grep "stopped.*by .rung stop" &&
    test $(events one trial | wc -l) = 6
'

test_expect_success 'rung stop --pause, and resume with more trials' '
    sweep paused stop && hold &&
    begin paused &&
    reached paused 2 report &&
    rung stop --pause paused && go &&
    ended 0 &&
    nothing_left paused &&
    timeout 120 rung resume --quiet --set search.trials=8 paused &&
    test $(events paused trial | wc -l) = 8 &&
    going_on paused &&
    sound paused
'

test_expect_success 'a finished sweep goes on with more trials' '
    timeout 120 rung resume --quiet --set search.trials=9 paused &&
    test $(events paused trial | wc -l) = 9 &&
    nothing_left paused &&
    sound paused
'

test_expect_success 'stop.trials pauses, and goes on beyond it' '
    sweep trials stop "stop: {trials: 2}" &&
    begin trials &&
    ended 0 &&
    grep "stop.trials (2) is reached" trials.err &&
    nothing_left trials &&
    sound trials &&
    test $(events trials trial | wc -l) -lt 6 &&
    timeout 120 rung resume --quiet --set stop.trials=4 trials &&
    timeout 120 rung resume --quiet --set stop.trials=none trials &&
    test $(events trials pause | wc -l) = 2 &&
    test $(events trials trial | wc -l) = 6 &&
    sound trials
'

test_expect_success 'stop.metric pauses' '
    sweep metric stop "stop: {metric: 1}" &&
    begin metric &&
    ended 0 &&
    grep "stop.metric (1) is reached" metric.err &&
    test $(events metric trial | wc -l) -lt 6 &&
    nothing_left metric &&
    sound metric
'

test_expect_success 'stop.time pauses, and counts the time before a resume' '
    sweep time stop "stop: {time: 1s}" && hold &&
    begin time &&
    reached time 1 pause && go &&
    ended 0 &&
    grep "stop.time (1) is reached" time.err &&
    nothing_left time &&
    timeout 120 rung resume --quiet time 2>err &&
    test $(events time pause | wc -l) = 2 &&
    timeout 120 rung resume --quiet --set stop.time=1h time &&
    test $(events time trial | wc -l) = 6 &&
    going_on time &&
    sound time
'

test_expect_success 'a directory that is there is not touched' '
    cp -r time before-time &&
    test_expect_code 2 rung run --dir time time.yaml 2>err &&
    grep "time exists already; .rung resume time. goes on" err &&
    mkdir there && : >there/file &&
    test_expect_code 2 rung run --dir there time.yaml &&
    test_expect_code 2 rung run --dir time.yaml time.yaml &&
    diff -r before-time time &&
    test "$(ls -A there)" = file
'

test_expect_success 'resume and stop want to know which, where several are unfinished' '
    mkdir two && cp -r metric trials two/ && (
        cd two &&
            rm trials/journal/000002.jsonl trials/journal/000003.jsonl \
                trials/controller.json &&
            test_expect_code 2 rung resume 2>err &&
            grep "several sweeps here are unfinished, name one: metric, trials" err &&
            test_expect_code 2 rung stop 2>err &&
            grep "name one: metric, trials" err
    )
'

test_expect_success 'resume of a sweep that is served says by whom; settings reach it' '
    sweep served stop && hold &&
    begin served &&
    reached served 2 report &&
    test_expect_code 1 rung resume served 2>err &&
    grep "process $controller" err &&
    rung resume --set search.trials=7 --set slots=3 served &&
    test_expect_code 2 rung resume --set slots=x served &&
    reached served 3 start && go &&
    ended 0 &&
    nothing_left served &&
    test $(events served epoch | wc -l) = 1 &&
    test $(events served trial | wc -l) = 7 &&
    sound served
'

test_done
