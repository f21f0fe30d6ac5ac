#!/bin/sh
test_description='the example trials, by hand and in a sweep'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

PYTHONPATH=$top_srcdir/python
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
command -v python3 >/dev/null && test_set_prereq PYTHON
command -v rung-train >/dev/null && test_set_prereq TRAIN

c="'$top_builddir/examples/trial'"
py="python3 '$top_srcdir/examples/trial.py'"
sh="sh '$top_srcdir/examples/trial.sh'"

# short FILE: numbers as they are to six digits.
short()
{
    awk -F= '{ printf "%s=%s=%.6g\n", $1, $2, $3 }' "$1"
}

# column NAME FILE: a column of a CSV file.
column()
{
    awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) n = i }
                          NR > 1 { print $n }' "$2"
}

# sweep NAME COMMAND: 9 trials, of which the best thirds go on to steps 3 and 9, each
# time as an attempt of its own that begins with a checkpoint. One slot, so that the
# order is always the same. What was reported is in NAME.reports, how attempts ended in
# NAME.ends.
sweep()
{
    cat >"$1.yaml" <<END &&
name: $1
command: $2
metric: val_loss
space: {lr: "loguniform(1e-4, 1)"}
search: {method: random, trials: 9}
schedule: {grace_period: 1, reduction_factor: 3, max_t: 9}
trials_per_job: 1
END
        rung run --quiet --dir "$1" "$1.yaml" &&
        rung export --csv "$1" &&
        for name in trial attempt step val_loss; do
            column "$name" "$1/metrics.csv" >"$1.$name" || return
        done &&
        paste "$1.trial" "$1.attempt" "$1.step" "$1.val_loss" |
        awk '{ printf "trial %s attempt %s step %s: %.6g\n", $1, $2, $3, $4 }' >"$1.reports" &&
        column outcome "$1/attempts.csv" | sort | uniq -c | awk '{ print $2, $1 }' >"$1.ends"
}

test_expect_success 'by hand: C and shell say the same' '
    eval "$c" >c.out &&
    eval "$sh" >sh.out &&
    head -n 1 c.out >first &&
    echo "step=1 val_loss=0.79" >expected &&
    test_cmp expected first &&
    test $(wc -l <c.out) = 9 &&
    short c.out >c.short && short sh.out >sh.short &&
    test_cmp c.short sh.short
'

test_expect_success PYTHON 'by hand: Python says the same' '
    eval "$py" >py.out &&
    test_cmp c.out py.out
'

test_expect_success 'a sweep of trials in C: what goes on does so from its checkpoint' '
    sweep c "$c" &&
    grep "attempt 3 step 9" c.reports &&
    sort -u c.reports >once &&
    test $(wc -l <once) = $(wc -l <c.reports) &&
    printf "completed %s\npaused %s\n" $(grep -c "step 9" c.reports) \
        $(grep -c "step [13]:" c.reports) >expected &&
    test_cmp expected c.ends
'

test_expect_success PYTHON 'a sweep of trials in Python goes the same way' '
    sweep py "$py" &&
    test_cmp c.reports py.reports &&
    test_cmp c.ends py.ends
'

test_expect_success 'a sweep of trials in shell goes the same way' '
    sweep sh "$sh" &&
    test_cmp c.reports sh.reports &&
    test_cmp c.ends sh.ends
'

# cifar FILE SAMPLES: as CIFAR-10 has them, each class of one grey.
cifar()
{
    for i in $(seq "$2"); do
        printf '%b' "\\0$((i % 8))" &&
            head -c 3072 /dev/zero | tr '\0' "\\0$((i % 8))0" || return
    done >"$1"
}

test_expect_success TRAIN 'the sweep on CIFAR-10 tunes what it says, in two epochs here' '
    mkdir cifar-10-batches-bin &&
    cifar cifar-10-batches-bin/data_batch_1.bin 64 &&
    cifar cifar-10-batches-bin/test_batch.bin 16 &&
    sed "s/max_t: 10/max_t: 2/" "$top_srcdir/examples/cifar.yaml" >cifar.yaml &&
    rung run --quiet --dir cifar cifar.yaml && rung replay --verify cifar &&
    rung export --csv -o cifar.csv cifar &&
    column hp_batch_size cifar.csv/trials.csv | sort -nu >sizes && cat sizes &&
    ! grep -vx "2\|4\|8\|16" sizes &&
    test $(column state cifar.csv/trials.csv | grep -c .) = 10 &&
    test $(column step cifar.csv/metrics.csv | grep -c "^2$") -ge 5
'

test_expect_success TRAIN 'the population has new members, on less data here' '
    sed "s/fashion-mnist/synthetic:16,samples=400,classes=4/; s/max_t: 20/max_t: 7/" \
        "$top_srcdir/examples/population.yaml" >population.yaml &&
    rung run --quiet --dir population population.yaml &&
    rung replay --verify population &&
    rung export --csv -o population.csv population &&
    test $(column state population.csv/trials.csv | grep -c completed) = 8 &&
    column parent population.csv/trials.csv | grep -v -e -1
'

test_expect_success 'the sweep for Slurm has what it says in its batch script' '
    rung render --script "$top_srcdir/examples/fashion-slurm.yaml" >script && cat script &&
    for option in nice=100 mem=2048M time=0-00:30:00; do
        grep "^#SBATCH --$option$" script || return
    done
'

test_done
