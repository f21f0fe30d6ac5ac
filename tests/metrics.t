#!/bin/sh
test_description='sweeps with several metrics: the Pareto front, wherever it is told'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

for python in python3 /usr/bin/python3; do
    if "$python" -c 'import h5py, pandas, tables' 2>/dev/null; then
        test_set_prereq PANDAS
        break
    fi
done

# Less error costs speed; at odd steps the speed comes in a report of its own.
cat >trial.sh <<'END'
i=$RUNG_START
while test "$i" -lt 9; do
    i=$((i + 1))
    error=error=$(awk "BEGIN { print $RUNG_PARAM_x + $RUNG_PARAM_y + 1 / $i }")
    speed=net/speed=$(awk "BEGIN { print $RUNG_PARAM_x - $RUNG_PARAM_y }")
    if test $((i % 2)) = 1; then
        rung log "step=$i" "$error"
        set -- "$speed"
    else
        set -- "$error" "$speed"
    fi
    rung log "step=$i" "$@"
    decision=$?
    echo "$i" >"$RUNG_CHECKPOINT_DIR/state"
    test $decision = 0 || exit 0
done
END

# several NAME SEARCH SCHEDULE, with more keys on stdin
several()
{
    cat >"$1.yaml" <<-END &&
	name: $1
	command: sh '$PWD/trial.sh'
	metrics: {error: min, net/speed: max}
	space: {x: "uniform(0, 1)", y: "uniform(0, 1)"}
	search: {method: $2, trials: 24}
	schedule: {$3, max_t: 9, reduction_factor: 3}
	slots: 4
	END
    cat >>"$1.yaml"
}

test_expect_success 'asha and tpe, interrupted and resumed' '
    several one tpe "method: asha" <<-\END &&
	stop: {trials: 2}
	keep: {checkpoints: 2}
	END
    run_sweep one &&
    grep "stop.trials (2) is reached" one.err &&
    timeout 120 rung resume --quiet --set stop.trials=none one >end && cat end &&
    grep "^front   [0-9]* of 24 trials$" end &&
    sound one
'

test_expect_success PANDAS 'h5py and pandas read the front, and best, status and show tell it' '
    rung best one >best && cat best &&
    rung best -n 24 --json one >best.json &&
    rung status --json one >status.json &&
    rung show --json one 3 >show.json &&
    rung export --csv one &&
    "$python" "$top_srcdir/tests/metrics_read.py" one
'

test_expect_success 'status and show name all metrics' '
    rung status one >out && cat out &&
    grep "^front   [0-9]* of 24 trials$" out &&
    grep "^        error [0-9.e+-]*, net/speed [0-9.e+-]*  trial [0-9]*, step 9$" out &&
    rung show one 3 >out && cat out &&
    grep "^best     error [0-9.]*, net/speed [0-9.-]* at step [0-9]*, last " out &&
    grep "^ *step *error *net/speed *rung" out &&
    rung best -n 2 one >out &&
    grep -E "^trial +error +net/speed +front +step +state" out
'

test_expect_success 'hyperband, sha and none, with bohb, auto and random' '
    several brackets bohb "method: hyperband" </dev/null &&
    several halving auto "method: sha" </dev/null &&
    several all random "method: none" </dev/null &&
    for name in brackets halving all; do
        run_sweep $name && sound $name || return 1
    done &&
    rung status halving >out &&
    grep "^search  tpe (auto)$" out
'

test_expect_success 'it pauses when the front grows no more' '
    several flat random "method: none" <<-\END &&
	stop: {plateau: {trials: 3}}
	END
    sed -i "s/^space:.*/space: {x: choice(1), y: 0}/; s/slots: 4/slots: 1/" flat.yaml &&
    run_sweep flat &&
    grep "stop.plateau.trials (3) is reached" flat.err &&
    test $(events flat trial | wc -l) -lt 8
'

test_expect_success 'a metric that nobody reports is named' '
    several missing random "method: asha" </dev/null &&
    sed -i "s/net.speed: max/memory: min/; s/trials: 24/trials: 1/" missing.yaml &&
    test_expect_code 1 run_sweep missing &&
    cat missing.err &&
    grep "has not reported .memory." missing.err
'

test_expect_success 'asktell: best is of the front, and report takes all of them' '
    several ask random "method: none" </dev/null &&
    {
        printf "%s\\n" "{\"op\":\"ask\"}" "{\"op\":\"ask\"}" "{\"op\":\"ask\"}" "{\"op\":\"ask\"}"
        metrics="\"metrics\":{\"error\":"
        while read -r trial error speed; do
            echo "{\"op\":\"report\",\"trial\":$trial,\"step\":9,$metrics$error,\"net/speed\":$speed}}"
        done <<-\END
	0 1 10
	1 2 11
	2 3 9
	3 NaN 30
	END
        echo "{\"op\":\"best\",\"n\":3}"
        echo "{\"op\":\"state\"}"
    } >in &&
    rung asktell ask.yaml <in >out && cat out &&
    sed -n "9s/,.step.:9,.params.:{[^}]*}//gp" out >best &&
    cat >want <<-\END &&
	{"best":[{"trial":0,"metric":1.0,"metrics":{"error":1.0,"net/speed":10.0},"front":1},{"trial":1,"metric":2.0,"metrics":{"error":2.0,"net/speed":11.0},"front":1},{"trial":2,"metric":3.0,"metrics":{"error":3.0,"net/speed":9.0},"front":2}]}
	END
    test_cmp want best &&
    sed -n 10p out | grep -F "\"front\":[{\"trial\":0," &&
    sed -n 10p out | grep -v "\"front\":2"
'

test_expect_success 'simulate has curves of one metric, and says so' '
    test_expect_code 2 rung simulate one.yaml 2>err &&
    grep "has 2 metrics, and curves are of one: write .metric: error. instead" err &&
    rung check one.yaml >out &&
    grep "minimum of error, maximum of net/speed$" out &&
    rung check --json one.yaml >out &&
    grep -F "\"metrics\":{\"error\":\"min\",\"net/speed\":\"max\"}" out
'

test_done
