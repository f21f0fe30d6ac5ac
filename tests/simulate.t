#!/bin/sh
test_description='rung simulate: sweeps against learning curves, in simulated time'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# Configuration i (from 1 to 9) has loss i / step.
curves () {
    echo "config,\"the lr\",loss1,loss2,loss3,time3_s"
    for i in 1 2 3 4 5 6 7 8 9; do
        awk "BEGIN { printf \"%d,\\\"0.%d, about\\\",%g,%g,%g,%g\\n\", $i, $i, $i, $i / 2, $i / 3, 6 }"
    done
}

# sweep METHOD [KEY: VALUE, ...]
sweep () {
    cat <<-EOF
	command: ./train
	metric: loss
	space: {x: "uniform(0, 1)"}
	search: {trials: 9}
	schedule: {method: $1, grace_period: 1, max_t: 3, reduction_factor: 3${2:+, $2}}
	slots: 3
	EOF
}

json () {
    /usr/bin/python3 -c "
import json, sys
d = json.load(open('$1'))
print($2)"
}

# Nine trials of a step of 2 s in three slots: 6 s; the best three go on: 4 s.
test_expect_success 'what a sweep takes, and what it finds' '
    curves >curves.csv &&
    sweep sha >sha.yaml &&
    rung simulate --curves curves.csv --json sha.yaml >out &&
    test "$(json out "d[\"unit\"], d[\"repeats\"], d[\"slots\"]")" = "seconds 20 3" &&
    test "$(json out "d[\"time\"][\"p10\"], d[\"time\"][\"p90\"]")" = "10.0 10.0" &&
    test "$(json out "d[\"busy\"][\"p50\"], d[\"slot_time\"][\"p50\"]")" = "1.0 30.0" &&
    test "$(json out "[l[\"trials\"][\"p50\"] for l in d[\"levels\"]]")" = "[9.0, 3.0]" &&
    test "$(json out "d[\"best_of_all\"] == d[\"best\"][\"p10\"] == 0.333333")" = True
'

test_expect_success 'as a table, and the same each time' '
    rung simulate --curves curves.csv sha.yaml >one &&
    rung simulate --curves curves.csv sha.yaml >two &&
    test_cmp one two &&
    grep "loss1 to loss3 of 9 configurations, 20 times" one &&
    grep "^time  *10.0 s  *10.0 s  *10.0 s" one &&
    grep "^complete, step 3  *3  *3  *3" one &&
    grep "^all  *0.33333  *0.33333  *0.33333" one
'

test_expect_success 'gzipped, with CR LF, and with what R and Python write for NaN' '
    sed -e "s/^3,\(.*\),3,1.5,1,/3,\1,NA,nan,Inf,/" -e "s/\$/\r/" curves.csv >nan.csv &&
    gzip nan.csv &&
    sweep none >none.yaml &&
    rung simulate --curves nan.csv.gz --json none.yaml >out &&
    test "$(json out "d[\"levels\"][0][\"trials\"][\"p50\"]")" = 9.0 &&
    test "$(json out "d[\"time\"][\"p50\"]")" = 18.0
'

test_expect_success 'each schedule' '
    for method in asha hyperband median none
    do
        sweep $method >$method.yaml &&
        rung simulate --curves curves.csv --json $method.yaml >$method.json || return 1
    done &&
    test "$(json none.json "d[\"steps\"][\"p50\"]")" = 27.0 &&
    test "$(json hyperband.json "d[\"levels\"][0][\"trials\"][\"p50\"]")" = 6.0 &&
    test "$(json median.json "d[\"steps\"][\"p90\"] < 27")" = True
'

test_expect_success 'stragglers, losses and queues cost time' '
    rung simulate --curves curves.csv --json --straggler-std 1 asha.yaml >slow &&
    rung simulate --curves curves.csv --json --drop-rate 0.3 asha.yaml >lost &&
    rung simulate --curves curves.csv --json --queue-wait 1m asha.yaml >queue &&
    rung simulate --curves curves.csv --json --until 5 asha.yaml >cut &&
    test "$(json slow "d[\"time\"][\"p50\"] > 12")" = True &&
    test "$(json lost "d[\"lost\"][\"p50\"] > 2 and d[\"best\"][\"p50\"] == 0.333333")" = True &&
    test "$(json queue "d[\"time\"][\"p50\"] > 30 and d[\"slot_time\"][\"p50\"] <= 40")" = True &&
    test "$(json cut "d[\"time\"][\"p50\"], d[\"slot_time\"][\"p50\"]")" = "5.0 15.0"
'

test_expect_success 'attempts are lost by the step, however long one takes' '
    sweep none "finalists: 1" >none.yaml &&
    sed "s/trials: 9/trials: 900/" none.yaml >many.yaml &&
    for step in 0.01 1 1h
    do
        rung simulate --step $step --repeat 1 --json --drop-rate 0.5 many.yaml >lost &&
        test "$(json lost "6.3 < d[\"attempts\"][\"p50\"] / 900 < 9.7")" = True || return 1
    done &&
    sed "s/max_t: 3/max_t: 100/" none.yaml >far.yaml &&
    test_expect_code 2 timeout 30 rung simulate --drop-rate 0.4 far.yaml 2>err &&
    grep "so many attempts are lost" err &&
    rung simulate --drop-rate 0.4 --until 50 far.yaml >/dev/null
'

test_expect_success 'steps of any size' '
    sed "s/max_t: 3/max_t: 1000000000/" asha.yaml >big.yaml &&
    timeout 30 rung simulate --repeat 2 big.yaml &&
    printf "loss1000,loss2000000\n1,2\n3,4\n2,3\n" >wide.csv &&
    sed "s/grace_period: 1, max_t: 3/grace_period: 1000, max_t: 2000000/" asha.yaml >wide.yaml &&
    timeout 30 rung simulate --curves wide.csv --json wide.yaml >out &&
    test "$(json out "d[\"grace_period\"]")" = 1000
'

test_expect_success 'which columns are the metric' '
    printf "\357\273\277x1, x2, x3, acc_1, acc_2, acc_3, loss_1, loss_3\n" >named.csv &&
    printf "0.5, 1, 2, 7, 8, 9, 3.5, 1.5\n0.7, 1, 2, 6, 8, 9, 2.5, 2\n" >>named.csv &&
    sed "s/{x: /{x1: /" asha.yaml >x1.yaml &&
    rung simulate --curves named.csv --json x1.yaml >out &&
    test "$(json out "d[\"best_of_all\"]")" = 1.5 &&
    sed "s/metric: loss/metric: other/" x1.yaml >other.yaml &&
    rung simulate --curves named.csv other.yaml | grep "acc_1 to acc_3"
'

test_expect_success 'a grace period that is too short is told, by check, too' '
    awk "BEGIN { print \"loss1,loss2,loss3\"; srand(1)
        for (i = 0; i < 40; i++)
            printf \"%g,%g,%d\\n\", rand(), i + 10 * rand(), i }" </dev/null >crossing.csv &&
    sweep asha >asha.yaml &&
    cat >want <<-\END &&
	grace_period 1 is too short to tell who will be good: the order at step 2 is the
	first that is like that at step 3 (rank correlation 0.5 or more)
	END
    for command in simulate check; do
        rung $command --curves crossing.csv asha.yaml >out &&
        grep -A 1 "^grace_period" out >got &&
        test_cmp want got || return 1
    done &&
    rung check --curves crossing.csv --json asha.yaml >out &&
    test "$(json out "d[\"grace_period\"]")" = 2 &&
    sed "s/grace_period: 1/grace_period: 2/" asha.yaml >later.yaml &&
    rung check --curves crossing.csv later.yaml >out &&
    ! grep "too short" out &&
    test_expect_code 2 rung check --curves missing.csv asha.yaml 2>err &&
    grep "missing.csv" err
'

test_expect_success 'what has no grace period gets no advice on one' '
    sed -e "s/grace_period: 1, //" -e "s/asha/none/" -e "s/, reduction_factor: 3//" asha.yaml >none.yaml &&
    sed "s/method: none/method: pbt, interval: 1/" none.yaml >pbt.yaml &&
    for method in none pbt; do
        rung check --curves crossing.csv $method.yaml >out &&
        ! grep "grace_period" out &&
        rung check --curves crossing.csv --json $method.yaml >out &&
        test "$(json out "d[\"grace_period\"]")" = None &&
        rung simulate --repeat 1 --json $method.yaml >out &&
        test "$(json out "d[\"grace_period\"]")" = None || return 1
    done
'

test_expect_success 'text and JSON say the same of checkpoints' '
    for method in none pbt; do
        rung check $method.yaml >text && rung check --json $method.yaml >out &&
        sed -n "s/^checkpoints  \([0-9]*\) at most[^,]*, \([0-9]*\) at.*/\1 \2/p" text >want &&
        json out "*list(d[\"checkpoints\"].values())" >got && test_cmp want got || return 1
    done
'

test_expect_success 'a table has flags as trials.csv and pandas write them, or as text' '
    flags () {
        printf "flag,loss1,loss3\n" &&
        for i in 1 2 3 4 5; do printf "$1,0.$i,0.$i\n$2,9.$i,9.$i\n"; done
    } &&
    sweep none | sed -e "s/grace_period: 1, //" -e "s/, reduction_factor: 3//" \
        -e "s/^space:.*/space: {flag: CHOICE}/" >flags.yaml &&
    flags yes no >yes.csv && sed "s/CHOICE/\"choice(yes, no)\"/" flags.yaml >yes.yaml &&
    rung simulate --curves yes.csv --json yes.yaml >want &&
    same () {
        flags $1 $2 >flag.csv && sed "s/CHOICE/\"$3\"/" flags.yaml >flag.yaml &&
        rung simulate --curves flag.csv --json flag.yaml >out &&
        sed "s/\"name\":\"flag\"/\"name\":\"yes\"/" out >got && test_cmp want got
    } &&
    same true false "choice(true, false)" && same True False "choice(true, false)" &&
    same true false "choice(\x27true\x27, \x27false\x27)" &&
    ! same on off "choice(true, false)"
'

test_expect_success 'no order, no advice' '
    printf "loss1,loss3\n1,1\n1,1\n" >flat.csv &&
    rung simulate --curves flat.csv asha.yaml >out &&
    ! grep "too short" out &&
    rung simulate --curves flat.csv --json asha.yaml >out &&
    test "$(json out "d[\"grace_period\"]")" = None
'

test_expect_success 'invented curves, in steps or with a time a step' '
    rung simulate asha.yaml >steps &&
    grep "^time, in steps " steps &&
    rung simulate --step 1h --repeat 3 asha.yaml >hours &&
    grep "^time  *[0-9]h 00m" hours &&
    sed "s/metric: loss/metric: loss\nmode: max/" asha.yaml >max.yaml &&
    rung simulate --json asha.yaml >min && rung simulate --json max.yaml >max &&
    test "$(json max "d[\"best\"][\"p50\"]")" = "-$(json min "d[\"best\"][\"p50\"]")"
'

test_expect_success 'one of them as a sweep.h5' '
    rung simulate --curves curves.csv --hdf5 sim.h5 asha.yaml >/dev/null &&
    /usr/bin/python3 -c "
import h5py
f = h5py.File(\"sim.h5\")
assert len(f[\"trials\"]) == 9 and f[\"metrics\"][\"loss\"].max() <= 9
assert set(f[\"decisions\"][\"decision\"]) >= {b\"pause\"}
assert f[\"attempts\"][\"ended\"].max() <= 60
" &&
    test_expect_code 2 rung simulate --hdf5 none/sim.h5 asha.yaml
'

test_expect_success 'the curves of an earlier sweep' '
    cat >real.yaml <<-\EOF &&
	command: sh -c "for i in 1 2 3; do echo step \$i loss {x}; done"
	metric: loss
	parse: "step (?<step>[0-9]+) loss (?<loss>[0-9.]+)"
	space: {x: "choice(0.25, 0.5, 0.75)"}
	search: {trials: 8}
	schedule: {max_t: 3}
	EOF
    rung run --quiet --executor local --dir real real.yaml &&
    rung simulate --curves real --json asha.yaml >out &&
    test "$(json out "d[\"unit\"], d[\"best\"][\"p50\"]")" = "seconds 0.25" &&
    sed "s/metric: loss/metric: acc/" asha.yaml >acc.yaml &&
    test_expect_code 2 rung simulate --curves real acc.yaml 2>err &&
    grep "real has no reports of acc" err
'

test_expect_success 'a trial follows the configuration that is nearest to its own' '
    printf "x,opt,loss1,loss2\n0.5,adam,5,5\n0.1,sgd,1,1\n0.88,sgd,8,8\n,sgd,3,3\n" >near.csv &&
    cat >near.yaml <<-\EOF &&
	command: ./train
	metric: loss
	space: {x: "choice(0.1, 0.6, 0.9)", opt: "choice(sgd, adam)", y: "uniform(0, 1)"}
	start:
	  - {x: 0.1, opt: sgd}
	  - {x: 0.6, opt: adam}
	  - {x: 0.1, opt: sgd}
	  - {x: 0.1, opt: sgd}
	  - {x: 0.1, opt: sgd}
	search: {trials: 5}
	schedule: {method: none, max_t: 2}
	EOF
    rung simulate --repeat 1 --curves near.csv --hdf5 near.h5 near.yaml >/dev/null &&
    /usr/bin/python3 -c "
import h5py
# none twice while there are others; the row without x counts by its word
found = list(h5py.File(\"near.h5\")[\"trials\"][\"metric\"])
assert found == [1, 5, 3, 8, 1], found
"
'

# refused SENTENCE CSV
refused () {
    expect=$1 && shift &&
    printf "%b" "$1" >bad.csv &&
    test_expect_code 2 rung simulate --curves bad.csv asha.yaml 2>err &&
    grep -F "rung simulate: $expect" err &&
    test_expect_code 2 rung check --curves bad.csv asha.yaml 2>err &&
    grep -F "rung check: asha.yaml: $expect" err
}

test_expect_success 'tables that are none' '
    refused "bad.csv is empty" "" &&
    refused "bad.csv:1: no columns of a metric" "a,b\n1,2\n" &&
    refused "bad.csv has no configurations" "v1,v3\n" &&
    refused "bad.csv:1: the steps of '\''v'\'' do not ascend" "v3,v1\n1,2\n" &&
    refused "bad.csv, configuration 2: v3 is not a number: '\''x'\''" "v1,v3\n1,2\n3,x\n" &&
    refused "bad.csv, configuration 1: fewer cells" "v1,v3\n1\n" &&
    refused "bad.csv, configuration 1: more cells" "v1,v3\n1,2,3\n" &&
    refused "bad.csv ends at step 2, and schedule.max_t is 3" "v1,v2\n1,2\n" &&
    refused "bad.csv begins at step 2, and schedule.grace_period is 1" "v2,v3\n1,2\n" &&
    test_expect_code 2 rung simulate --curves nowhere.csv asha.yaml 2>err &&
    grep "nowhere.csv: No such file" err
'

test_expect_success 'options that are none' '
    test_expect_code 2 rung simulate 2>err && grep "which sweep file" err &&
    test_expect_code 2 rung simulate --drop-rate 1 asha.yaml 2>err &&
    grep -e "--drop-rate: .1. is no number from 0 to below 1" err &&
    test_expect_code 2 rung simulate --repeat 0 asha.yaml &&
    test_expect_code 2 rung simulate --slots x asha.yaml &&
    test_expect_code 2 rung simulate --until never asha.yaml
'

test_done
