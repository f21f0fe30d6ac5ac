#!/bin/sh
test_description='rung-train on a GPU (make check-gpu)'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! command -v rung-train >/dev/null; then
    skip_all='this build has no rung-train'
    test_done
fi
data=synthetic:16x16x3,samples=2000
if ! rung-train --device cuda --data "$data" --limit 10 --epochs 1 >out 2>err; then
    if grep -qE "there is no (NVIDIA driver|GPU)" err; then
        skip_all=$(sed 's/^rung-train: --device cuda: //' err)
        test_done
    fi
    cat err >&2
fi

# train DIR EPOCHS OPTION...: what it prints of each epoch, without times.
train() {
    dir=$1
    epochs=$2
    shift 2
    rung-train --data "$data" --model cnn --crop 2 --flip --dropout 0.2 --optimizer adam \
        --lr 0.002 --checkpoint-dir "$dir" --epochs "$epochs" "$@" >>out 2>err &&
        sed "s/  [0-9]* samples.*//" out
}

test_expect_success 'auto takes the GPU, and says which' '
    rung-train --data "$data" --epochs 1 --quiet >out 2>err && test ! -s err &&
    rung-train --data "$data" --epochs 1 >out 2>err &&
    ! grep -q "cpu, " err && grep -q "parameters, .*, fp32$" err
'

for precision in fp32 tf32 bf16 fp16
do
    test_expect_success "in $precision going on from a checkpoint changes nothing" '
        : >out && train straight-$precision 3 --precision $precision >expect &&
        : >out && train parts-$precision 1 --precision $precision &&
        train parts-$precision 3 --precision $precision >actual &&
        test "$(wc -l <expect)" = 3 && test_cmp expect actual &&
        grep -q "$precision$" err
    '
done

test_expect_success 'a checkpoint of the GPU goes on on the CPU' '
    : >out && train straight-fp32 4 --device cpu >actual &&
    grep -q "going on after epoch 3" err && grep -q "^epoch 4 .* val_loss [0-9]" actual
'

test_expect_success '--max-memory cuts batches' '
    rung-train --data "$data" --model resnet18 --batch-size 1000 --epochs 1 \
        --max-memory 700M >out 2>err && grep -q "at once: trying fewer" err &&
    grep -qE "batches are taken in (2|4|8|16) parts" err
'

test_expect_success 'memory of the GPU that grows is said once, with how much' '
    rung-train --data "$data" --limit 100 --epochs 12 --device cuda >out 2>err &&
    ! grep "the GPU.s memory grows" err &&
    RUNG_LEAKS_OF=$RUNG_CUDA_PLUGIN \
        RUNG_CUDA_PLUGIN=$top_builddir/tests/nvml/librung_leak.so \
        rung-train --data "$data" --limit 100 --epochs 12 --device cuda >out 2>err &&
    test "$(grep -c "the GPU.s memory grows" err)" = 1 &&
    grep -E "^rung-train: the GPU.s memory grows steadily, by 8 MiB an epoch, and is \
[0-9.]+ MiB after epoch 10: this looks like a leak$" err
'

first=${CUDA_VISIBLE_DEVICES:-0}
first=${first%%,*}
test_expect_success 'more ranks than GPUs are refused; auto goes to the CPU' '
    test_expect_code 1 env CUDA_VISIBLE_DEVICES="$first" rung-train --data "$data" \
        --device cuda --parallel dp --devices 2 2>err &&
    grep -q "^rung-train: --device cuda: ranks 0 and 1 have the same GPU" err &&
    CUDA_VISIBLE_DEVICES="$first" rung-train --data "$data" --limit 100 --epochs 1 \
        --parallel dp --devices 2 >out 2>err &&
    grep -q "^rung-train: no GPU is used: ranks 0 and 1 have the same GPU" err &&
    grep -q "cpu, " err
'

test "$(nvidia-smi -L 2>/dev/null | grep -c ^GPU)" -ge 2 && test_set_prereq TWO
test_expect_success TWO 'two GPUs learn what two CPUs do, to rounding, and the same again' '
    for run in 1.cpu 2.cuda 3.cuda
    do
        rung-train --data "$data" --model cnn --parallel dp --devices 2 --epochs 2 \
            --lr 1e-3 --deterministic --device ${run#*.} >$run 2>err &&
            sed "s/.* val_loss \([0-9.]*\).*/\1/" $run >$run.loss || return 1
    done &&
    test_cmp 2.cuda.loss 3.cuda.loss &&
    paste 1.cpu.loss 2.cuda.loss | awk "{ d = \$1 - \$2; if (d * d > 1e-4) exit 1 }"
'

test_expect_success 'one GPU by NCCL learns what it does without' '
    for exchange in host nccl
    do
        rung-train --data "$data" --model cnn --epochs 2 --exchange $exchange >out 2>err &&
            sed "s/  [0-9]* samples.*//" out >$exchange || return 1
    done &&
    grep -q "^what ranks exchange goes from device to device, by NCCL 2\.[0-9.]*$" err &&
    test_cmp host nccl
'

test_expect_success 'what NCCL cannot do is said' '
    NCCL_SOCKET_IFNAME==none test_expect_code 1 rung-train --data "$data" --limit 100 \
        --epochs 1 --exchange nccl 2>err &&
    grep "^rung-train: --exchange nccl: NCCL, .*NCCL_DEBUG=WARN tells more" err
'

OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM \
    OMPI_MCA_rmaps_base_oversubscribe
PMIX_RANK=0 rung-train --version 2>err
test_have_prereq TWO && command -v mpirun >/dev/null &&
    ! grep -q "built without MPI" err && test_set_prereq TWO_RANKS

for parallel in ddp mp
do
    test_expect_success TWO_RANKS "$parallel: two processes by NCCL, and through the host" '
        for exchange in host nccl
        do
            mpirun -n 2 rung-train --data "$data" --model cnn --lr 1e-3 --epochs 2 \
                --parallel $parallel --device cuda --exchange $exchange >out 2>err &&
                sed "s/.* val_loss \([0-9.]*\).*/\1/" out >$exchange || return 1
        done &&
        grep -q "from device to device, by NCCL" err &&
        paste host nccl | awk "{ d = \$1 - \$2; if (d * d > 1e-4) exit 1 }"
    '
done

# alive PID: it may be nobody's child by now, and not yet buried.
alive() {
    case $(ps -o stat= -p "$1") in
    "" | Z*) return 1 ;;
    esac
}

# doom SIGNAL: rank 1 of two is sent it in the middle of a training. mpirun, which would
# end the other itself, leaves it alone; it ends within $took seconds.
doom() {
    rm -f out pid.*
    mpirun --enable-recovery -n 2 sh -c "echo \$\$ >pid.\$OMPI_COMM_WORLD_RANK
        exec rung-train --data $data --model cnn --epochs 1000000 --device cuda \
            --exchange nccl" >out 2>err &
    mpirun=$!
    for i in $(seq 1200); do
        grep -q "^epoch 2 " out && break
        sleep 0.1
    done
    began=$(date +%s)
    kill -"$1" "$(cat pid.1)"
    for i in $(seq 400); do
        alive "$(cat pid.0)" || break
        sleep 0.1
    done
    took=$(($(date +%s) - began))
    kill -KILL "$(cat pid.0)" "$(cat pid.1)" 2>/dev/null
    wait "$mpirun"
    cat err
}

test_expect_success TWO_RANKS 'where a rank dies, or stops, the other ends within 30 s' '
    doom KILL && test "$took" -le 10 && grep -q "^rung-train: rank 1 .* has died: all" err &&
    doom STOP && test "$took" -le 30 && grep -q "^rung-train: rank 1 .* is silent: " err
'

test_done
