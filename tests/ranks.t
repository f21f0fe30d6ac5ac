#!/bin/sh
test_description='rung-train in several ranks: what they learn, and how they end'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! command -v rung-train >/dev/null; then
    skip_all='this build has no rung-train'
    test_done
fi
for launcher in SLURM_STEP_NUM_TASKS SLURM_PROCID PMIX_RANK OMPI_COMM_WORLD_SIZE; do
    unset $launcher
done
OMP_NUM_THREADS=1
# As root, and more ranks than cores: both on purpose.
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
OMPI_MCA_rmaps_base_oversubscribe=1
# Open MPI keeps memory to its end; what is freed is to be gone.
ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=1
export OMP_NUM_THREADS OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM \
    OMPI_MCA_rmaps_base_oversubscribe ASAN_OPTIONS

test_expect_success 'tasks that do not know each other are refused, by the first alone' '
    SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 test_expect_code 1 rung-train --data x 2>err &&
    grep "4 tasks were started, but each finds 1 in all: .* srun --mpi=pmix" err &&
    SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=2 test_expect_code 1 rung-train --data x 2>err &&
    test ! -s err
'

PMIX_RANK=0 rung-train --version 2>err
if ! command -v mpirun >/dev/null || grep -q 'built without MPI' err; then
    say_color info 'the rest wants mpirun, and a build with MPI'
    test_done
fi

# data SAMPLES: 8x8 images of two kinds, in noise.
data() {
    n=$(printf '\\%03o\\%03o' $(($1 / 256)) $(($1 % 256)))
    mkdir data &&
        {
            printf '\000\000\010\003\000\000%b\000\000\000\010\000\000\000\010' "$n"
            awk -v n="$1" 'BEGIN {
                srand(1)
                for (i = 0; i < n; i++)
                    for (k = 0; k < 64; k++)
                        printf("%c", 33 + int(60 * rand()) + ((k < 32) == (i % 2) ? 30 : 0))
            }'
        } >data/train-images-idx3-ubyte &&
        {
            printf '\000\000\010\001\000\000%b' "$n"
            awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) printf(i % 2 ? "B" : "A") }' |
                tr AB '\000\001'
        } >data/train-labels-idx1-ubyte
}

# ranks N OPTION...: N ranks train on it.
ranks() {
    n=$1
    shift
    mpirun -n "$n" rung-train --data data --quiet "$@"
}

# The lines of an epoch without its times.
figures() {
    sed 's/  [0-9]* samples.*//' "$1"
}

# 541 train: the last batch of 64 has 29, and of 6 has 1, fewer than there are ranks.
test_expect_success 'two ranks, and four, learn what one does, to rounding' '
    data 601 &&
    for options in "--batch-size 64" "--batch-size 6 --optimizer adam --lr 0.001"
    do
        for n in 1 2 4
        do
            mpirun -n $n rung-train --data data --epochs 2 $options >out.$n 2>err ||
                return 1
            figures out.$n >figures.$n
        done
        test "$(wc -l <figures.1)" = 2 &&
        cat figures.1 figures.2 figures.4 &&
        paste figures.1 figures.2 figures.4 | awk "
            { for (i = 4; i <= 10; i += 2)
                  for (k = i + 10; k <= NF; k += 10)
                      if (\$i - \$k > 0.002 || \$k - \$i > 0.002)
                          bad = 1 }
            END { exit bad || NR != 2 || NF != 30 }" || return 1
    done
'

test_expect_success 'the same ranks twice give the same bits; so does a pause between' '
    for dir in one two
    do
        ranks 3 --epochs 2 --checkpoint-dir $dir || return 1
    done &&
    ranks 3 --epochs 1 --checkpoint-dir paused &&
    ranks 3 --epochs 2 --checkpoint-dir paused &&
    for dir in one two paused
    do
        h5dump -d /model/dense1/weight -d /optimizer/dense1/weight/momentum -m %.9g \
            $dir/checkpoint.h5 | tail -n +2 >$dir.bits || return 1
    done &&
    test_cmp one.bits two.bits && test_cmp one.bits paused.bits
'

# bits DIR...: those of their checkpoints are the same.
bits() {
    for dir in "$@"; do
        h5dump -d /model/dense1/weight -d /optimizer/dense2/bias/momentum -m %.9g \
            "$dir/checkpoint.h5" | tail -n +2 >"$dir.bits" &&
            test_cmp "$1.bits" "$dir.bits" || return 1
    done
}

# The last batch has 29 samples, in 8 parts.
test_expect_success 'ranks with some of the layers each give the bits of one that has all' '
    one="rung-train --data data --quiet --micro-batches 8" &&
    $one --epochs 2 --checkpoint-dir parts &&
    ranks 2 --parallel mp --epochs 2 --checkpoint-dir staged &&
    ranks 2 --parallel mp --epochs 1 --checkpoint-dir first &&
    ranks 2 --parallel mp --epochs 2 --checkpoint-dir first &&
    $one --epochs 1 --checkpoint-dir other-way &&
    ranks 2 --parallel mp --epochs 2 --checkpoint-dir other-way &&
    bits parts staged first other-way
'

test_expect_success 'devices of one process give the bits of as many processes' '
    ranks 2 --epochs 2 --checkpoint-dir processes &&
    rung-train --data data --quiet --parallel dp --devices 2 --epochs 2 \
        --checkpoint-dir threads &&
    bits processes threads
'

test_expect_success 'ranks for which the model has not layers enough are refused' '
    test_must_fail ranks 3 --parallel mp 2>err &&
    test "$(grep "^rung-train: " err)" = "rung-train: this model can be cut into 2 stages at \
most, and there are 3 ranks: start fewer" &&
    test_must_fail ranks 2 --parallel dp 2>err &&
    grep "^rung-train: --parallel dp is for the devices of one process, and there are 2" err
'

# A channel's mean moves with the first batch that rank 0 has a sample of.
test_expect_success 'rank 0, whose running statistics hold, has a part of any batch' '
    ranks 3 --model resnet18 --limit 2 --epochs 1 --checkpoint-dir two-samples &&
    h5dump -d /model/bn1/running_mean -y -w 1 two-samples/checkpoint.h5 >mean &&
    test "$(grep -cE "^ *-?[0-9]" mean)" = 64 && grep -E "^ *-?[0-9.e-]*[1-9]" mean
'

test_expect_success 'an error is said once, and ends all' '
    test_must_fail ranks 3 --checkpoint-dir data/train-images-idx3-ubyte/x 2>err &&
    test "$(grep -c "^rung-train: " err)" = 1 &&
    test_must_fail ranks 3 --bacth-size 3 2>err &&
    test "$(grep -c "^rung-train: unknown option" err)" = 1 &&
    test_must_fail mpirun -n 3 rung-train --data nowhere 2>err &&
    test "$(grep -c "^rung-train: nowhere: No such file" err)" = 1
'

# unlike SENTENCE OPTIONS OPTIONS: three ranks, of which the last two have the latter
# options, end with the sentence.
unlike() {
    sentence=$1
    # shellcheck disable=SC2086 # several options
    mpirun -n 1 rung-train --epochs 1 $2 : -n 2 rung-train --epochs 1 $3 >out 2>err
    code=$?
    cat err
    test "$(grep "^rung-train: " err)" = \
        "rung-train: $sentence, and other than there on 2: all ranks must be started alike" &&
        test ! -s out
}

test_expect_success 'ranks with unlike options end, with the first that is unlike' '
    unlike "--seed is 7 on rank 1, but 0 on rank 0" "--data data" "--data data --seed 7" &&
    test "$code" = 2 &&
    unlike "--lr is 0.01 on rank 1, but 0.1 on rank 0" "--data data --lr 0.1" \
        "--data data --crop 1" &&
    unlike "--limit is not said on rank 1, but 5 on rank 0" "--data data --limit 5" \
        "--data data" &&
    unlike "--hidden is 9,8 on rank 1, but 128 on rank 0" "--data data" \
        "--data data --l1 9 --l2 8" &&
    unlike "what is asked for is --help on rank 1, but a training on rank 0" \
        "--data data" --help &&
    mpirun -n 2 rung-train --help >out && rung-train --help >expect && test_cmp expect out
'

test_expect_success 'but where they look for the data, and their threads, may be their own' '
    cp -r data same &&
    mpirun -n 1 rung-train --data data --epochs 1 --threads 2 --quiet : \
        -n 1 rung-train --data same/../same --epochs 1 --checkpoint-dir none
'

test_expect_success 'ranks with unlike data end, with what is unlike' '
    cp -r data other &&
    printf A | dd of=other/train-images-idx3-ubyte bs=1 seek=20000 conv=notrunc &&
    { unlike - "--data data" "--data other" || :; } &&
    sed "s/[0-9a-f]\{16\}/X/g" err >got &&
    grep "the checksum of the training part is X on rank 1, but X on rank 0, and" got &&
    test "$code" = 1 &&
    unlike "the number of samples to train is 540 on rank 1, but 541 on rank 0" \
        "--data data" "--data synthetic:8x8,samples=600"
'

# rank N: the process of that rank below mpirun.
rank() {
    for pid in $(pgrep -P "$1"); do
        tr '\0' '\n' <"/proc/$pid/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$2" &&
            echo "$pid"
    done
}

# doom RANK SIGNAL [OPTION...]: three ranks train, with $how, below mpirun OPTION... until
# that one, $victim, is sent the signal. They end within $took seconds, as mpirun does.
doom() {
    doomed=$1 signal=$2
    shift 2
    rm -f out
    # shellcheck disable=SC2086 # several options
    mpirun "$@" -n 3 rung-train --data data --epochs 1000000 $how >out 2>err &
    mpirun=$!
    for i in $(seq 600); do
        grep -q '^epoch' out && break
        sleep 0.1
    done
    ranks=$(pgrep -P "$mpirun")
    victim=$(rank "$mpirun" "$doomed")
    began=$(date +%s)
    if test -z "$victim" || ! kill -"$signal" "$victim"; then
        kill "$mpirun"
        return 1
    fi
    wait "$mpirun"
    code=$?
    took=$(($(date +%s) - began))
    cat err
    for pid in $ranks; do
        # It may be nobody's child by now, and not yet buried.
        case $(ps -o stat= -p "$pid") in
        '' | Z*) ;;
        *) return 1 ;;
        esac
    done
    return "$code"
}

# mpirun would end the others itself, and what they say is a race: here it leaves them
# alone (and finds that all is well).
test_expect_success 'a rank that is killed ends all of them, with a sentence' '
    for dead in 0 2
    do
        doom $dead KILL --enable-recovery &&
        test "$took" -le 5 &&
        test "$(grep -c "^rung-train: rank $dead (process $victim on .*) has died: all" err)" = 1 ||
            return 1
    done
'

test_expect_success 'so does one that has some of the layers' '
    how="--parallel mp --hidden 16,8" &&
    doom 1 KILL --enable-recovery &&
    test "$took" -le 5 &&
    test "$(grep -c "^rung-train: rank 1 (process $victim on .*) has died: all" err)" = 1
'

how=
test_expect_success 'a rank that is silent ends all of them, with a sentence' '
    test_expect_code 1 doom 1 STOP &&
    test "$took" -le 30 &&
    test "$(grep -c "^rung-train: rank 1 (process $victim on .*) is silent: .*: all" err)" = 1
'

# megabytes SOURCE SOURCE: two ranks train, each told its data, until they are killed. What
# they have in memory, what several have in parts.
megabytes() {
    rm -f out
    mpirun -n 1 rung-train --data "$1" --hidden 1 --epochs 1000000 : \
        -n 1 rung-train --data "$2" --hidden 1 --epochs 1000000 >out 2>err &
    mpirun=$!
    for i in $(seq 600); do
        grep -q '^epoch' out && break
        sleep 0.1
    done
    for pid in $(pgrep -P "$mpirun"); do
        cat "/proc/$pid/smaps_rollup"
    done | awk '/^Pss:/ { n += $2 } END { print int(n / 1024) }'
    kill -KILL "$(rank "$mpirun" 0)"
    wait "$mpirun"
    cat err >&2
}

# The same data by two names is read twice: 144 MB each.
test_expect_success 'ranks of one node have one copy of the data, and leave nothing behind' '
    images=synthetic:64x64x3,samples=12288 &&
    { ls /dev/shm | grep -v "^vader" >before || :; } &&
    twice=$(megabytes $images $images,classes=10) &&
    once=$(megabytes $images $images) &&
    { ls /dev/shm | grep -v "^vader" >after || :; } &&
    echo "$twice $once" &&
    test "$once" -lt $((twice - 120)) &&
    test_cmp before after
'

test_done
