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
            --lr 1e-3 --device ${run#*.} >$run 2>err &&
            sed "s/.* val_loss \([0-9.]*\).*/\1/" $run >$run.loss || return 1
    done &&
    test_cmp 2.cuda.loss 3.cuda.loss &&
    paste 1.cpu.loss 2.cuda.loss | awk "{ d = \$1 - \$2; if (d * d > 1e-4) exit 1 }"
'

test_done
