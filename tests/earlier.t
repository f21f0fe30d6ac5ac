#!/bin/sh
test_description='a search that learns from an earlier sweep'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

# Debian's python3: another one on PATH may lack its packages.
/usr/bin/python3 -c 'import h5py' 2>/dev/null && test_set_prereq H5PY

# trial.sh's loss is x / step, with an optimizer; two of these are no good.
cat >trial.sh <<'END'
case $RUNG_PARAM_optimizer in
broken) exit 3 ;;
diverging) rung log step=1 loss=nan; exit 0 ;;
esac
for step in 1 2 3 4; do
    rung log step=$step loss=$(awk "BEGIN { print $RUNG_PARAM_x / $step }") || exit 0
done
END

# later NAME FROM: x up to 2, and y is new.
later()
{
    sweep_file "$1" "sh '$PWD/trial.sh'" <<-END
	space: {x: "uniform(0, 2)", y: "uniform(0, 1)", optimizer: "choice(sgd, broken, diverging)"}
	search: {method: tpe, trials: 12, from: $2}
	schedule: {max_t: 3, grace_period: 2, reduction_factor: 2}
	retry: {failures: 0}
	slots: 2
	END
}

first()
{
    sweep_file one "sh '$PWD/trial.sh'" <<-END
	space:
	  x: uniform(0, 4)
	  optimizer: choice(sgd, adam)
	  gone: choice(1, 2)
	start:
	  - {x: 0.5, optimizer: sgd}
	  - {x: 3, optimizer: sgd}
	  - {x: 1, optimizer: adam}
	  - {x: 1, optimizer: broken}
	  - {x: 1, optimizer: diverging}
	  - {x: 1.5, optimizer: sgd}
	search: {trials: 6}
	schedule: {method: none, max_t: 4}
	retry: {failures: 0}
	END
}

# cut_short NAME N: as if its controller had died when N events were durable.
cut_short()
{
    sed -i "$2q" "$1/journal/000001.jsonl" &&
    rm -r "$1/controller.json" "$1/sweep.h5" "$1"/trials/*
}

test_expect_success 'an earlier sweep: good trials, failed ones, and others' '
    first &&
    run_sweep one &&
    sound one
'

test_expect_success 'check says what is known of it' '
    later two one &&
    rung check two.yaml >out && cat out &&
    grep -Fx "the search knows 4 of the 6 trials of one; 2 lie outside the space" out &&
    sed "s/uniform(0, 2)/uniform(0, 4)/; s/choice(sgd,/choice(sgd, adam,/" two.yaml >all.yaml &&
    rung check all.yaml >out &&
    grep -Fx "the search knows 6 of the 6 trials of one" out
'

test_expect_success 'it is in the journal before the first trial, and learnt from' '
    run_sweep two &&
    sound two &&
    events two known >known &&
    cut -d , -f 3- known | sed "s/\"c\":1,//; s/,\"x\":\"[0-9a-f]*\"}\$//" >got &&
    cat >want <<-\END &&
	"trial":0,"more":true,"params":{"x":0.5,"optimizer":"sgd"},"values":[0.25,0.166667]
	"trial":3,"failed":true,"more":true,"params":{"x":1,"optimizer":"broken"}
	"trial":4,"failed":true,"more":true,"params":{"x":1,"optimizer":"diverging"}
	"trial":5,"params":{"x":1.5,"optimizer":"sgd"},"values":[0.75,0.5]
	END
    test_cmp want got &&
    test "$(cat two/journal/*.jsonl | grep -n "^{\"e\":\"trial\"" | head -n 1 | cut -d : -f 1)" -gt 5 &&
    test $(events two trial | wc -l) = 12
'

test_expect_success 'a resumed sweep needs the earlier one no more' '
    later three one &&
    sed -i "s/trials: 12/trials: 6/; s/slots: 2/slots: 2\nstop: {trials: 2}/" three.yaml &&
    run_sweep three &&
    mv one elsewhere &&
    timeout 120 rung resume --quiet --set stop.trials=none three &&
    sound three &&
    test $(events three known | wc -l) = 4 &&
    test $(events three trial | wc -l) = 6
'

test_expect_success 'one that is not there is said before anything is made' '
    later four one &&
    test_expect_code 2 rung run --dir four four.yaml 2>err &&
    echo "rung run: four.yaml: search.from: one is not the directory of a sweep: it does not exist" >want &&
    test_cmp want err &&
    ! test -e four &&
    test_expect_code 2 rung check four.yaml 2>err &&
    grep "search.from: one is not" err &&
    test_expect_code 2 rung simulate four.yaml 2>err &&
    grep "search.from: one is not" err &&
    test_expect_code 2 rung asktell four.yaml </dev/null 2>err &&
    grep "search.from: one is not" err
'

test_expect_success 'nor one of which nothing is of use' '
    mv elsewhere one &&
    later five one &&
    sed -i "s/metric: loss/metric: score/; s/choice(sgd, broken, diverging)/choice(sgd)/" five.yaml &&
    test_expect_code 2 rung run --dir five five.yaml 2>err && cat err &&
    grep "of the 6 trials of one none is of use here: 4 lie outside the space" err &&
    grep "the others reported no score at step 2 or later" err
'

test_expect_success 'or when the search does not learn' '
    sed "s/tpe/random/" two.yaml >six.yaml &&
    test_expect_code 2 rung check six.yaml 2>err &&
    grep "search.from is for a search that learns, such as tpe, and random does not" err
'

test_expect_success 'where it vanishes before the first trial, the sweep waits for it' '
    later seven one &&
    run_sweep seven &&
    cut_short seven 1 &&
    mv one elsewhere &&
    test_expect_code 1 rung resume --quiet seven 2>err && cat err &&
    grep "search.from: one is not the directory of a sweep" err &&
    test $(events seven trial | wc -l) = 0 &&
    mv elsewhere one &&
    timeout 120 rung resume --quiet seven &&
    sound seven &&
    test $(events seven known | wc -l) = 4
'

test_expect_success 'what was told in part is told to its end' '
    later eight one &&
    run_sweep eight &&
    cut_short eight $(grep -n "\"e\":\"known\"" eight/journal/000001.jsonl | sed -n 2p | cut -d : -f 1) &&
    test $(events eight known | wc -l) = 2 &&
    timeout 120 rung resume --quiet eight &&
    sound eight &&
    test $(events eight known | wc -l) = 4
'

test_expect_success 'what was told to its end is not asked for again' '
    later nine one &&
    run_sweep nine &&
    cut_short nine $(grep -n "\"e\":\"known\"" nine/journal/000001.jsonl | tail -n 1 | cut -d : -f 1) &&
    test $(events nine known | wc -l) = 4 &&
    (cd nine && timeout 120 rung resume --quiet .) &&
    sound nine &&
    test $(events nine known | wc -l) = 4 &&
    test $(events nine trial | wc -l) = 12
'

test_expect_success 'of a sweep that failed in all, check says what run does' '
    sweep_file bad "sh -c \"exit 3\"" <<-\END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 2}
	schedule: {method: none, max_t: 4}
	retry: {failures: 0}
	END
    test_expect_code 1 run_sweep bad &&
    later after bad &&
    rung check after.yaml >out &&
    grep -Fx "the search knows 2 of the 2 trials of bad" out &&
    rung check --json after.yaml >out &&
    grep "\"known\":2,\"outside\":0" out
'

test_expect_success H5PY 'enough of it makes the first draw, in asktell and simulate, too' '
    later ten two &&
    run_sweep ten &&
    events ten trial "\"trial\":0," | sed "s/.*\(\"params\":{[^}]*}\).*/\1/" >drawn &&
    echo "{\"op\":\"ask\"}" | rung asktell ten.yaml >out &&
    grep -F -f drawn out &&
    rung check ten.yaml >out &&
    grep -Fx "the next ones depend on what trials come to" out &&
    sed "s/, from: two//" ten.yaml >bare.yaml &&
    echo "{\"op\":\"ask\"}" | rung asktell bare.yaml >out &&
    ! grep -F -f drawn out &&
    rung simulate --repeat 1 --hdf5 made.h5 ten.yaml &&
    /usr/bin/python3 -c "
import h5py, json
drawn = json.loads(\"{\" + open(\"drawn\").read() + \"}\")[\"params\"]
assert h5py.File(\"made.h5\")[\"trials\"][0][\"hp_x\"] == drawn[\"x\"]
"
'

test_done
