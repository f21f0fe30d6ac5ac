#!/bin/sh
test_description='the device that rung-train finds, and what it says where it finds none'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! command -v rung-train >/dev/null; then
    skip_all='this build has no rung-train'
    test_done
fi

# train LIBRARIES OPTION...: a short training, with a driver that is found there.
train() {
    libraries=$1
    shift
    LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
        rung-train --data synthetic:8x8,samples=100 --epochs 1 "$@"
}
fake=$top_builddir/tests/driver
CUDA_VISIBLE_DEVICES=
export CUDA_VISIBLE_DEVICES

test_expect_success '--device takes its kinds alone' '
    test_expect_code 2 rung-train --data x --device gpu 2>err &&
    grep -q "^rung-train: --device: '\''gpu'\'' is unknown (did you mean '\''cpu'\''?)$" err
'

# Without a driver, or with one that shows none of its GPUs.
test_expect_success 'without a GPU auto is the CPU, silently, and cuda is refused' '
    train . >out 2>err && grep -q "parameters, cpu, 1 thread" err &&
    ! grep -q GPU err && train . --device cpu >out 2>err &&
    test_expect_code 1 train . --device cuda >out 2>err && test ! -s out &&
    grep -qE "^rung-train: --device cuda: there is no (NVIDIA driver|GPU)" err
'

test_expect_success 'a driver without GPUs is no GPU' '
    export FAKE_GPUS=0 && train "$fake" >out 2>err && ! grep -q GPU err &&
    test_expect_code 1 train "$fake" --device cuda 2>err &&
    grep -q "there is no GPU (or CUDA_VISIBLE_DEVICES hides it; in Slurm" err &&
    export FAKE_INIT=100 FAKE_GPUS=1 &&
    test_expect_code 1 train "$fake" --device cuda 2>err &&
    grep -q "there is no GPU" err
'
unset FAKE_INIT

# By a copy of the program, beside which there is none, nor where it would be installed.
installed=$(tr -c "[:print:]" "\n" <"$top_builddir/rung-train" | grep "/librung_cuda.so$")
test -e "$installed" || test_set_prereq NOT_INSTALLED
test_expect_success NOT_INSTALLED 'a GPU without the plug-in is said' '
    mkdir -p alone && cp "$top_builddir/rung-train" alone &&
    export FAKE_GPUS=1 LD_LIBRARY_PATH="$fake" &&
    test_expect_code 1 alone/rung-train --device cuda --data synthetic:8x8,samples=100 \
        2>err &&
    grep -q "the plug-in for GPUs is not there (.*/librung_cuda.so): this" err &&
    alone/rung-train --data synthetic:8x8,samples=100 --epochs 1 >out 2>err &&
    grep -q "^rung-train: no GPU is used: the plug-in for GPUs is not there" err &&
    grep -q "parameters, cpu, 1 thread" err
'

test_expect_success 'a plug-in that cannot be opened, or of another version, is said' '
    mkdir -p alone && cp "$top_builddir/rung-train" alone &&
    export FAKE_GPUS=1 LD_LIBRARY_PATH="$fake" && echo "no library" >alone/librung_cuda.so &&
    test_expect_code 1 alone/rung-train --device cuda --data synthetic:8x8,samples=100 \
        2>err &&
    grep -q "cannot open the plug-in for GPUs: .*file too short.*LD_LIBRARY_PATH" err &&
    cp "$fake/libcuda.so.1" alone/librung_cuda.so &&
    test_expect_code 1 alone/rung-train --device cuda --data synthetic:8x8,samples=100 \
        2>err &&
    grep -q "librung_cuda.so is of rung unknown, and this is .*: install both anew" err
'

test -e "$top_builddir/librung_cuda.so" && test_set_prereq PLUGIN

# CUDA itself says so of the driver that is found.
test_expect_success PLUGIN 'a driver that is too old is said, with both versions' '
    export FAKE_GPUS=1 &&
    test_expect_code 1 train "$fake" --device cuda 2>err &&
    grep -qE "too old: it is for CUDA up to 12.4, and this build needs [0-9]+\.[0-9]+:" err &&
    train "$fake" >out 2>err &&
    grep -q "^rung-train: no GPU is used: CUDA: the NVIDIA driver is too old" err &&
    grep -q "parameters, cpu, 1 thread" err
'

test_expect_success 'what only GPUs have is refused on the CPU' '
    for p in tf32 fp16
    do
        test_expect_code 1 train . --precision $p 2>err &&
        grep -q "^rung-train: --precision $p: CPUs do not have it: use fp32 or bf16$" err ||
            return 1
    done
'

test_expect_success 'CPUs exchange through the host' '
    test_expect_code 1 train . --exchange nccl 2>err &&
    grep -q "^rung-train: --exchange nccl: NCCL is for GPUs, and there is none here$" err &&
    train . --exchange host >out && test_expect_code 2 train . --exchange mpi 2>err &&
    grep -q "^rung-train: --exchange: .mpi. is unknown: of GPUs: auto" err
'

# By a plug-in that says what it finds in its environment.
test_expect_success '--deterministic leaves algorithms out, unless they are said' '
    export FAKE_GPUS=1 FAKE_PLUGIN=algorithms \
        RUNG_CUDA_PLUGIN="$top_builddir/tests/nvml/librung_cuda.so" &&
    train "$fake" 2>err && grep -q "no GPU is used: NCCL uses all$" err &&
    train "$fake" --deterministic 2>err &&
    grep -q "no GPU is used: NCCL uses ^NVLS,NVLSTree$" err &&
    NCCL_ALGO=Ring train "$fake" --deterministic 2>err &&
    grep -q "no GPU is used: NCCL uses Ring$" err
'

test_done
