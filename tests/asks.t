#!/bin/sh
test_description='what is asked of a sweep that nobody serves, and what then goes on'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# Trial 0 ends at once; the others wait until the file `go` is there.
cat >trial.sh <<'END'
test "$RUNG_TRIAL" = 0 || while ! test -e go; do sleep 0.05; done
rung log step=1 loss=$RUNG_PARAM_x cpus=$OMP_NUM_THREADS
END
cat >sweep.yaml <<END
command: sh '$PWD/trial.sh'
metric: loss
space: {x: "uniform(0, 1)"}
search: {trials: 4}
schedule: {method: none, max_t: 1}
slots: 2
END
unset OMP_NUM_THREADS

# until_true COMMAND: within ten seconds.
until_true()
{
    for _ in $(seq 200); do
        eval "$1" && return
        sleep 0.05
    done
    return 1
}

# state_is TRIAL STATE
state_is()
{
    rung show sweep "$1" 2>/dev/null | head -n 1 | grep -qw "$2"
}

epochs()
{
    find sweep/journal -name '*.jsonl' | wc -l
}

test_expect_success 'trials of a sweep without controller and agent can be stopped' '
    { rung run --quiet --dir sweep sweep.yaml & } &&
    controller=$! &&
    until_true "state_is 0 completed && state_is 2 running" &&
    agent=$(ps -o pid= --ppid $controller | tr -d " ") &&
    kill -9 $controller $agent &&
    timeout 20 rung stop sweep 1 2 &&
    state_is 1 stopped &&
    state_is 2 stopped &&
    rung status sweep >status &&
    grep -q paused status
'

test_expect_success 'a paused one stays paused when another of its trials is stopped' '
    timeout 20 rung stop sweep 0 &&
    rung status sweep >status &&
    grep -q paused status &&
    ! grep -q "\"resume\"" sweep/journal/*
'

test_expect_success 'a setting that is none is told at once, and no epoch begins' '
    before=$(epochs) &&
    test_expect_code 2 rung resume --set slots=none sweep &&
    test_expect_code 2 rung resume --set slot=3 sweep &&
    test_expect_code 2 rung resume --set seed=3 sweep &&
    test $before = $(epochs)
'

test_expect_success 'settings reach the agents of the epoch that they begin' '
    >go &&
    timeout 60 rung resume --quiet --set resources.cpus=3 sweep &&
    state_is 3 completed &&
    rung export --csv sweep &&
    grep "^3,.*,3.0\$" sweep/metrics.csv &&
    rung replay --verify sweep
'

test_expect_success 'an attempt in any slot is lost with its agent' '
    rm -rf sweep go &&
    sed "s/trials: 4/trials: 2/" sweep.yaml >two.yaml &&
    { rung run --quiet --dir sweep two.yaml & } &&
    controller=$! &&
    until_true "state_is 0 completed && state_is 1 running" &&
    agent=$(ps -o pid= --ppid $controller | tr -d " ") &&
    kill -9 $controller $agent &&
    >go &&
    timeout 20 rung resume --quiet sweep &&
    state_is 1 completed
'

test_expect_success 'a trial that ends its agent each time is not tried for ever' '
    cat >killer.yaml <<-\EOF &&
	command: sh -c "kill -9 $(ps -o ppid= -p $PPID)"
	metric: loss
	space: {x: "uniform(0, 1)"}
	search: {trials: 1}
	schedule: {max_t: 4}
	retry: {failures: 1}
	EOF
    test_expect_code 1 timeout 60 rung run --quiet --executor local --dir killer \
        killer.yaml &&
    grep -o "\"outcome\":\"[a-z]*\"" killer/journal/*.jsonl >outcomes &&
    printf "\"outcome\":\"%s\"\n" lost lost failed failed >expect &&
    test_cmp expect outcomes &&
    rung show killer 0 >shown &&
    grep "failed; its agent was lost" shown &&
    rung replay --verify killer
'

# events_of DIR KIND: how many
events_of()
{
    cat "$1"/journal/*.jsonl | grep -c "^{\"e\":\"$2\""
}

test_expect_success 'a sweep pauses when new trials find nothing better' '
    cat >flat.yaml <<-\EOF &&
	command: rung log step=1 loss={x}
	metric: loss
	space: {x: "choice(0.5)"}
	start: [{x: 0.9}, {x: 0.7}]
	search: {trials: 30}
	schedule: {max_t: 1}
	stop: {plateau: {trials: 5, improvement: 0.5}}
	EOF
    timeout 60 rung run --quiet --executor local --dir flat flat.yaml >out 2>&1 && cat out &&
    grep -F "stop.plateau.trials (5) is reached" out &&
    sed "s/, improvement: 0.5//" flat.yaml >any.yaml &&
    timeout 60 rung run --quiet --executor local --dir any any.yaml &&
    test $(events_of any trial) = 8 && test $(events_of flat trial) = 6 &&
    timeout 60 rung resume --quiet --set stop.plateau.trials=none flat &&
    test $(cat flat/journal/*.jsonl | grep -c "\"outcome\":\"completed\"") = 30 &&
    rung replay --verify flat
'

test_expect_success 'a request that cannot be is set aside' '
    rm -rf sweep go &&
    { rung run --quiet --dir sweep sweep.yaml & } &&
    controller=$! &&
    until_true "state_is 0 completed" &&
    echo "{\"op\":\"stop\",\"trial\":-7}" >sweep/requests/a.json &&
    echo "{\"op\":\"stop\",\"trial\":4294967295}" >sweep/requests/b.json &&
    until_true "test -e sweep/requests/a.json.bad && test -e sweep/requests/b.json.bad" &&
    >go &&
    wait $controller &&
    rung status sweep >status &&
    grep -q "4 completed" status
'

test_done
