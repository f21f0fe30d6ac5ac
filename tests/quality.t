#!/bin/sh
test_description='searches by a model: what they need not be measured long for'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

# Debian's python3: another one on PATH may lack its packages.
/usr/bin/python3 -c '' 2>/dev/null && test_set_prereq PYTHON
/usr/bin/python3 -c 'import numpy' 2>/dev/null && test_set_prereq NUMPY

test -f "$top_builddir/librung_gp.so" && test_set_prereq GP

PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE

# x above 2 is never good, and only adam has an eps.
learner()
{
    sweep_file "$1" "sh '$PWD/trial.sh'" <<-END
	space:
	  x: uniform(0, 4)
	  optimizer: choice(sgd, adam)
	  eps:
	    sample: loguniform(1e-8, 1)
	    when: optimizer == "adam"
	start: [{x: 3}, {x: 0.5, optimizer: sgd}]
	search: {method: tpe, trials: 40}
	schedule: $2
	slots: 2
	END
}
cat >trial.sh <<'END'
for step in 1 2 3 4; do
    rung log step=$step loss=$RUNG_PARAM_x || exit 0
done
END

test_expect_success PYTHON 'a sweep learns, is resumed, and its replay fits no model again' '
    learner learns "{mode: stop, max_t: 4, grace_period: 2}" &&
    sed -i "s/slots: 2/slots: 2\nstop: {trials: 20}/" learns.yaml &&
    run_sweep learns &&
    timeout 120 rung resume --quiet --set stop.trials=none learns &&
    sound learns &&
    test $(events learns trial | wc -l) = 40 &&
    rung best --json -n 40 learns >best &&
    /usr/bin/python3 -c "
import json
x = {t[\"trial\"]: t[\"params\"][\"x\"] for t in json.load(open(\"best\"))[\"best\"]}
late = sorted(x[t] for t in x if t >= 25)
assert late[len(late) // 2] < 1, late
"
'

test_expect_success 'bohb goes with Hyperband' '
    learner both "{method: hyperband, max_t: 4, reduction_factor: 2}" &&
    sed -i "s/tpe/bohb/" both.yaml &&
    run_sweep both &&
    sound both &&
    test $(events both trial | wc -l) = 40
'

test_expect_success 'cmaes moves, with a resume between' '
    learner moves "{method: none, max_t: 2}" &&
    sed -i "s/tpe/cmaes/; s/slots: 2/slots: 2\nstop: {trials: 20}/" moves.yaml &&
    run_sweep moves &&
    timeout 120 rung resume --quiet --set stop.trials=none moves &&
    sound moves &&
    events moves trial "\"cursor\":3" &&
    test $(events moves trial | wc -l) = 40
'

test_expect_success GP 'gp finds what is good, with a resume between' '
    learner process "{mode: stop, max_t: 4, grace_period: 2}" &&
    sed -i "s/tpe/gp/; s/slots: 2/slots: 2\nstop: {trials: 20}/" process.yaml &&
    run_sweep process &&
    timeout 120 rung resume --quiet --set stop.trials=none process &&
    sound process &&
    test $(events process trial | wc -l) = 40 &&
    rung best -n 1 process >best && cat best &&
    rung replay --verify process
'

test_expect_success 'without its plug-in gp is refused' '
    learner without "{method: none, max_t: 2}" &&
    sed -i "s/tpe/gp/" without.yaml &&
    for command in check run submit; do
        (RUNG_GP_PLUGIN=/nowhere/gp.so && export RUNG_GP_PLUGIN &&
         test_expect_code 2 rung $command without.yaml 2>err) && cat err &&
        grep "gp is not in this rung: /nowhere/gp.so is not there" err || return 1
    done
'

test_expect_success GP 'nor is it wanted for looking at such a sweep' '
    (RUNG_GP_PLUGIN=/nowhere/gp.so && export RUNG_GP_PLUGIN &&
     rung status process && rung replay --verify process && rung best process)
'

test_expect_success GP 'auto says what it took' '
    learner auto "{mode: stop, max_t: 4}" &&
    sed -i "s/tpe/auto/" auto.yaml &&
    rung check auto.yaml >out && grep "40 trials, gp search (auto)" out &&
    (RUNG_GP_PLUGIN=/nowhere/gp.so && export RUNG_GP_PLUGIN &&
     rung check auto.yaml) >out && grep "40 trials, tpe search (auto)" out &&
    sed "s/slots: 2/slots: 101/" auto.yaml >many.yaml &&
    rung check many.yaml >out && grep "40 trials, tpe search (auto)" out &&
    run_sweep auto && sound auto &&
    rung status auto >out && cat out && grep "^search  gp (auto)" out &&
    timeout 120 rung resume --quiet --set search.trials=42 --set slots=101 auto &&
    rung status auto | grep "^search  tpe (auto)"
'

test_expect_success 'check shows what is drawn before anything is known, and says so' '
    rung check -n 40 learns.yaml >out && cat out &&
    grep -F "the next ones depend on what trials come to" out &&
    rung check -n 5 learns.yaml >out &&
    ! grep -F "the next ones" out &&
    sed "s/tpe/random/" learns.yaml >plain.yaml &&
    rung check -n 40 plain.yaml >out &&
    ! grep -F "the next ones" out
'

test_expect_success 'of cmaes that is its first generation, and start entries before it' '
    cat >cma.yaml <<-\EOF &&
	command: ./train
	metric: loss
	space: {x: "uniform(0, 1)", y: "uniform(0, 1)", z: "uniform(0, 1)"}
	search: {method: cmaes, trials: 40}
	schedule: {max_t: 9}
	EOF
    rung check --json -n 40 cma.yaml >out &&
    test "$(grep -o "{\"x\":" out | wc -l)" = 7 &&
    printf "start:\n  - {x: 0.5, y: 0.5, z: 0.5}\n  - {x: 0.25, y: 0.5, z: 0.5}\n" >>cma.yaml &&
    rung check --json -n 40 cma.yaml >out &&
    test "$(grep -o "{\"x\":" out | wc -l)" = 9
'

# At step 1 the best are those that will be the worst.
test_expect_success 'status tells when early milestones say nothing' '
    cat >turning.sh <<-\END &&
	rung log step=1 loss=$RUNG_PARAM_x || exit 0
	rung log step=2 loss=-$RUNG_PARAM_x
	END
    sweep_file turns "sh '\''$PWD/turning.sh'\''" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 40}
	schedule: {max_t: 2, reduction_factor: 2}
	slots: 2
	END
    run_sweep turns &&
    rung status turns >out && cat out &&
    grep "^order   rank correlation -1.00 of steps 1 and 2 (2[0-9] trials); a grace period of 1$" out &&
    grep "^        is too short to tell who will be good" out
'

test_expect_success PYTHON 'regret.py measures, and tpe is far below random' '
    /usr/bin/python3 "$top_srcdir/tests/quality/regret.py" "$top_builddir/rung" \
        --seeds 5 --evaluations 100 --functions branin,mixed \
        --searchers random,sobol,tpe,bohb,cmaes,tpe-univariate >table && cat table &&
    awk "NR > 2 { at[\$1, \$2] = \$6 }
         END { exit !(at[\"branin\", \"tpe\"] < at[\"branin\", \"random\"] / 3 &&
                      at[\"mixed\", \"tpe\"] < at[\"mixed\", \"random\"] &&
                      at[\"branin\", \"tpe-univariate\"] < at[\"branin\", \"random\"]) }" table &&
    test $(wc -l <table) = 14
'

test_expect_success GP,PYTHON 'and gp far below tpe' '
    /usr/bin/python3 "$top_srcdir/tests/quality/regret.py" "$top_builddir/rung" \
        --seeds 5 --evaluations 50 --functions branin,mixed --searchers tpe,gp >table &&
    cat table &&
    awk "NR > 2 { at[\$1, \$2] = \$3 }
         END { exit !(at[\"branin\", \"gp\"] < at[\"branin\", \"tpe\"] / 10 &&
                      at[\"mixed\", \"gp\"] < at[\"mixed\", \"tpe\"]) }" table
'

test_expect_success PYTHON 'pareto.py measures, and tpe leaves less of the front than random' '
    /usr/bin/python3 "$top_srcdir/tests/quality/pareto.py" "$top_builddir/rung" \
        --seeds 7 --evaluations 100 >table && cat table &&
    awk "NR > 2 { at[\$1, \$2] = \$6 }
         END { exit !(at[\"zdt1\", \"tpe\"] < at[\"zdt1\", \"random\"] &&
                      at[\"zdt1\", \"tpe-univariate\"] < at[\"zdt1\", \"random\"] / 1.5 &&
                      at[\"zdt2\", \"tpe\"] < at[\"zdt2\", \"random\"] / 1.5) }" table &&
    test $(wc -l <table) = 10
'

test_expect_success PYTHON 'pbt.py measures, and what changes parameters beats what keeps them' '
    /usr/bin/python3 "$top_srcdir/tests/quality/pbt.py" "$top_builddir/rung" \
        --seeds 7 --problems toy,quadratic >table && cat table &&
    awk "NR > 2 { at[\$1, \$2] = \$9 }
         END { exit !(at[\"toy\", \"pbt\"] < at[\"toy\", \"random\"] / 4 &&
                      at[\"toy\", \"pbt\"] < at[\"toy\", \"asha\"] &&
                      at[\"quadratic\", \"pbt\"] < at[\"quadratic\", \"asha\"]) }" table &&
    test $(wc -l <table) = 8
'

test_expect_success NUMPY 'and trains networks' '
    /usr/bin/python3 "$top_srcdir/tests/quality/pbt.py" "$top_builddir/rung" \
        --seeds 2 --problems network --schedules pbt >table && cat table &&
    awk "NR > 2 && \$9 < 0.1" table | grep network
'

test_expect_success PYTHON 'and says what it does not know' '
    ! /usr/bin/python3 "$top_srcdir/tests/quality/regret.py" rung --searchers best 2>err &&
    grep "best is none of random, sobol, tpe" err
'

test_expect_success PYTHON 'asynchrony trains more where jobs straggle and are lost' '
    /usr/bin/python3 "$top_srcdir/tests/quality/workload.py" "$top_builddir/rung" \
        --repeat 3 --stds 0.56 --drops 0 0.002 >table && cat table &&
    test $(wc -l <table) = 3 &&
    ! grep "<" table
'

test_expect_success PYTHON 'early stopping finds more in curves whose order is told early' '
    awk "BEGIN { print \"config,lr,opt,l1,l2,l3,l4,l5,l6,l7,l8,l9\"; srand(1)
        for (i = 0; i < 300; i++) {
            printf \"%d,%g,%s\", i, 10 ^ (-4 * rand()), i % 2 ? \"sgd\" : \"adam\"
            x = rand()
            for (s = 1; s < 10; s++)
                printf \",%g\", x + 1 / s
            print \"\" } }" </dev/null >table.csv &&
    /usr/bin/python3 "$top_srcdir/tests/quality/curves.py" "$top_builddir/rung" table.csv \
        --repeat 9 --schedules "random,asha promote,hyperband" >table && cat table &&
    test $(wc -l <table) = 4 &&
    awk -F "\t" "NR > 1 { at[\$3] = \$5 + 0 } END { exit !(at[\"asha promote\"] < at[\"random\"]) }" table
'

test_done
