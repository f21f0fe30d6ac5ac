#!/bin/sh
test_description='rung-train by hand: what it prints, keeps, refuses, and exits with'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! command -v rung-train >/dev/null; then
    skip_all='this build has no rung-train'
    test_done
fi

unset OMP_NUM_THREADS SLURM_CPUS_PER_TASK
CUDA_VISIBLE_DEVICES= # on the CPU, also where there is a GPU
export CUDA_VISIBLE_DEVICES

# HDF5 itself loses memory where it meets damage, which a build with sanitizers sees.
# (The quotes are for its parser.)
echo leak:libhdf5 >leaks
# shellcheck disable=SC2089
LSAN_OPTIONS="suppressions='$PWD/leaks':print_suppressions=0"
# shellcheck disable=SC2090
export LSAN_OPTIONS

# idx DIR SAMPLES: train images of 2x2, in two kinds that are easy to tell apart.
idx() {
    n=$(printf '\\%03o\\%03o' $(($2 / 256)) $(($2 % 256)))
    mkdir -p "$1" &&
        {
            printf '\000\000\010\003\000\000%b\000\000\000\002\000\000\000\002' "$n"
            awk -v n="$2" 'BEGIN {
                for (i = 0; i < n; i++)
                    printf(i % 2 ? "zz%c!" : "!!%cz", 33 + i % 30)
            }'
        } >"$1/train-images-idx3-ubyte" &&
        {
            printf '\000\000\010\001\000\000%b' "$n"
            awk -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf(i % 2 ? "B" : "A") }' |
                tr AB '\000\001'
        } >"$1/train-labels-idx1-ubyte"
}

# fails STATUS MESSAGE OPTION...: rung-train exits so and says so, on stderr alone.
fails() {
    status=$1 message=$2
    shift 2
    test_expect_code "$status" rung-train "$@" >out 2>err &&
        cat err &&
        test ! -s out &&
        grep -qF -e "rung-train: $message" err
}

test_expect_success 'data to learn from' '
    idx data 300
'

test_expect_success 'wrong usage: status 2 and a sentence' '
    fails 2 "--data is needed" &&
    fails 2 "unknown option '\''--bacth-size'\'' (did you mean '\''--batch-size'\''?)" \
        --data data --bacth-size 3 &&
    fails 2 "--lr: 0 is too small" --data data --lr 0 &&
    fails 2 "unexpected word '\''data'\''" data
'

test_expect_success 'data that is not there or not data: status 1 and a sentence' '
    fails 1 "nowhere: No such file" --data nowhere &&
    mkdir -p empty &&
    fails 1 "empty: neither idx files" --data empty &&
    echo 1,2 >table.csv &&
    fails 1 "table.csv: not a whole HDF5 file" --data table.csv &&
    cp -R data short &&
    head -c 1000 data/train-images-idx3-ubyte >short/train-images-idx3-ubyte &&
    fails 1 "short/train-images-idx3-ubyte: cut short: 984 bytes of 1200" --data short
'

test_expect_success '--help and --version print to stdout' '
    rung-train --help >out 2>err && grep -q "^usage: rung-train" out && test ! -s err &&
    rung-train --version >out && grep -qx "rung-train [0-9.]*" out
'

test_expect_success 'results on stdout, a line an epoch; messages on stderr' '
    rung-train --data data --hidden 8 --epochs 3 >out 2>err &&
    test "$(wc -l <out)" = 3 &&
    grep -qE "^epoch 3  loss [0-9.]+  accuracy [0-9.]+  val_loss [0-9.]+  val_accuracy \
[0-9.]+  [0-9]+ samples/s  [0-9.]+ s$" out &&
    grep -q "data: 270 samples of 2x2 to train, 30 to validate, 2 classes" err &&
    grep -q "mlp 4-8-2: 58 parameters, cpu, 1 thread" err
'

test_expect_success 'ten epochs unless told otherwise; --quiet prints nothing' '
    rung-train --data data --hidden 8 >out 2>err && test "$(wc -l <out)" = 10 &&
    rung-train --data data --hidden 8 --quiet >out 2>err && test ! -s out && test ! -s err
'

test_expect_success 'a loss that is no number ends it' '
    test_expect_code 1 rung-train --data data --lr 1e30 >out 2>err &&
    grep -q "epoch [0-9]*: the loss is NaN; is the learning rate, 1e+30, too high?" err &&
    grep -q "loss -\{0,1\}nan" out
'

test_expect_success '--precision bf16 is refused where the CPU has none' '
    test_expect_code 1 env DNNL_MAX_CPU_ISA=AVX2 rung-train --data data \
        --precision bf16 >out 2>err &&
    grep -q "^rung-train: --precision bf16: this .*: use fp32$" err && test ! -s out &&
    fails 2 "--precision: '\''bf61'\'' is unknown (did you mean '\''bf16'\''?)" \
        --data data --precision bf61
'

rung-train --data data --precision bf16 --epochs 1 --quiet >/dev/null 2>&1 &&
    test_set_prereq BF16

test_expect_success BF16 'bf16 learns as fp32 does, and is said' '
    for p in fp32 bf16
    do
        rung-train --data data --hidden 32 --epochs 1 --precision $p >$p 2>$p.err ||
            return 1
        sed "s/.* val_loss \([0-9.]*\).*/\1/" $p >$p.loss
    done &&
    grep -q "cpu, 1 thread (oneDNN, bf16)" bf16.err &&
    paste fp32.loss bf16.loss &&
    paste fp32.loss bf16.loss |
        awk "{ exit !(\$1 != \$2 && \$1 - \$2 < 0.02 * \$1 && \$2 - \$1 < 0.02 * \$1) }"
'

# The lines of an epoch without its times.
figures() {
    sed 's/  [0-9]* samples.*//' "$1"
}

test_expect_success 'interrupted after any epoch it goes on to the same figures' '
    rung-train --data data --optimizer adam --epochs 4 >straight 2>err &&
    for n in 1 2 3
    do
        rm -rf ckpt &&
        rung-train --data data --optimizer adam --epochs $n --checkpoint-dir ckpt >out &&
        rung-train --data data --optimizer adam --epochs 4 --checkpoint-dir ckpt >>out \
            2>err &&
        grep -qx "going on after epoch $n" err &&
        figures straight >want && figures out >got && test_cmp want got || return 1
    done
'

# A checkpoint has 25 MB, of which copies are made. (What sanitizers keep would grow.)
test_expect_success 'a training that saves now and then is not said to leak' '
    ASAN_OPTIONS=quarantine_size_mb=1 rung-train --data data --hidden 1024,1024 \
        --optimizer adam --batch-size 270 --epochs 60 --checkpoint-dir large --quiet 2>err &&
    test ! -s err && rm -r large
'

test_expect_success 'when all is done there is nothing to do' '
    rung-train --data data --optimizer adam --epochs 4 --checkpoint-dir ckpt >out 2>err &&
    test ! -s out && grep -q "nothing to do: 4 of 4 epochs are done" err
'

test_expect_success 'a schedule that is too short for its warm-up is refused' '
    fails 1 "learning-rate schedule cosine: a warm-up of 50 steps leaves nothing of a \
training of 50" --data data --lr-schedule cosine --warmup-steps 50
'

test_expect_success 'going on with a schedule of another length is said, once' '
    rm -rf ckpt2 &&
    set -- --data data --lr-schedule cosine --checkpoint-dir ckpt2 --quiet &&
    rung-train "$@" --epochs 2 2>err && test ! -s err &&
    rung-train "$@" --epochs 3 2>err &&
    grep "the learning rate was scheduled over 2 epochs until here, and is over 3" err &&
    rung-train "$@" --epochs 3 2>err && test ! -s err
'

test_expect_success 'another model does not go on from it' '
    fails 1 "ckpt/checkpoint.h5: it is of layers 4-128-2, not 4-9-2" \
        --data data --optimizer adam --checkpoint-dir ckpt --hidden 9 &&
    fails 1 "ckpt/checkpoint.h5: it is of optimizer adam, not sgd" \
        --data data --checkpoint-dir ckpt
'

test_expect_success 'a damaged checkpoint is named and the one before it used' '
    rm -rf ckpt &&
    for n in 2 3
    do
        rung-train --data data --epochs $n --checkpoint-dir ckpt || return 1
    done &&
    printf xxxx | dd of=ckpt/checkpoint.h5 bs=1 seek=2000 conv=notrunc 2>/dev/null &&
    rung-train --data data --epochs 4 --checkpoint-dir ckpt >out 2>err &&
    cat err &&
    grep "^rung-train: ckpt/checkpoint.h5: .*going on from ckpt/checkpoint.prev.h5, step" err &&
    tail -n 1 out | grep "^epoch 4 "
'

test_expect_success 'with both damaged it does not start afresh' '
    for f in checkpoint.h5 checkpoint.prev.h5
    do
        truncate -s 1000 ckpt/$f || return 1
    done &&
    fails 1 "ckpt: no whole checkpoint is there: ckpt/checkpoint.h5: not a whole HDF5" \
        --data data --epochs 5 --checkpoint-dir ckpt
'

test_expect_success 'no room for a checkpoint: status 1, a sentence, nothing half there' '
    (ulimit -f 1 &&
     test_expect_code 1 rung-train --data data --epochs 1 --checkpoint-dir full >out 2>err) &&
    cat err &&
    grep "rung-train: cannot save a checkpoint: full/checkpoint.h5: " err &&
    test -z "$(ls full)"
'

test_expect_success 'what was killed while it saved leaves nothing for long' '
    rm -rf ckpt && mkdir ckpt && echo half >ckpt/checkpoint.h5.tmp-1-0 &&
    rung-train --data data --epochs 1 --checkpoint-dir ckpt &&
    test "$(ls ckpt)" = checkpoint.h5
'

test_expect_success 'the same seed gives the same figures, another one others' '
    rung-train --data data --epochs 2 --seed 7 >a &&
    rung-train --data data --epochs 2 --seed 7 >b &&
    rung-train --data data --epochs 2 --seed 8 >c &&
    figures a >fa && figures b >fb && figures c >fc &&
    test_cmp fa fb && ! cmp -s fa fc
'

# Debian's python3: another one on PATH may lack its packages.
python() {
    PYTHONPATH='' /usr/bin/python3 "$@"
}

if python -c 'import h5py, pandas, tables' 2>/dev/null; then
    test_set_prereq H5PY
fi

test_expect_success H5PY 'HDF5 as h5py writes it: compressed, any number type, any shape' '
    cat >write.py <<-END &&
	import h5py, numpy
	y = numpy.arange(600) % 3
	x = numpy.random.default_rng(0).normal(size=(600, 4, 5)) + y[:, None, None]
	for name, x, y in (("f8", x, y), ("f2", x.astype("f2"), y[:, None].astype("u2")),
	                   ("u1", (x * 30 + 100).astype("u1"), y.astype("i1"))):
	    with h5py.File(name + ".h5", "w", libver="latest") as f:
	        f.create_dataset("X", data=x, compression="gzip", shuffle=True)
	        f["y"] = y
	with h5py.File("huge.h5", "w") as f:
	    f.create_dataset("X", shape=(10**9, 10**6), dtype="f4", chunks=(1, 1000))
	    f["y"] = y
	END
    python write.py &&
    for name in f8 f2 u1
    do
        rung-train --data $name.h5 --epochs 9 --lr 0.05 --val-fraction 0.2 >out 2>err ||
            return 1
        grep "480 samples of 4x5 to train, 120 to validate, 3 classes" err &&
        tail -n 1 out | grep "val_accuracy \(0.9\|1\)" || return 1
    done &&
    fails 1 "huge.h5: its samples take " --data huge.h5
'

test_expect_success H5PY 'a checkpoint as h5py and pandas read it' '
    rung-train --data f8.h5 --epochs 3 --l1 8 --l2 6 --checkpoint-dir read --quiet &&
    cat >read.py <<-END &&
	import h5py, numpy, pandas
	with h5py.File("read/checkpoint.h5") as f:
	    x = (numpy.asarray(h5py.File("f8.h5")["X"], "f4").reshape(600, -1)
	         - f["input/mean"]) * f["input/scale"]
	    for name in ("dense1", "dense2", "dense3"):
	        layer = f["model"][name]
	        x = x @ layer["weight"][:].T + layer["bias"]
	        x = numpy.maximum(x, 0) if name != "dense3" else x
	    print(f.attrs["layers"].decode(), f.attrs["lr"], f["progress"].attrs["epoch"])
	    right = (x.argmax(1) == h5py.File("f8.h5")["y"]).mean()
	metrics = pandas.read_hdf("read/checkpoint.h5", "metrics")
	print(list(metrics["step"]), abs(right - metrics["val_accuracy"].iloc[-1]) < 0.1)
	END
    python read.py >out &&
    cat >want <<-END &&
	20-8-6-3 0.01 3
	[1, 2, 3] True
	END
    test_cmp want out
'

test_expect_success H5PY 'a checkpoint from before there were schedules goes on' '
    for n in 2 4
    do
        rung-train --data data --optimizer adam --epochs $n --checkpoint-dir old \
            --quiet || return 1
        test $n = 4 ||
            python -c "
import h5py
with h5py.File(\"old/checkpoint.h5\", \"r+\") as f:
    del f[\"progress\"].attrs[\"planned\"]
    for name in list(f.attrs):
        if name.startswith(\"lr_\") or name in (\"nesterov\", \"label_smoothing\", \"crop\",
                                               \"flip\", \"dropout\", \"precision\"):
            del f.attrs[name]
" || return 1
    done &&
    rung-train --data data --optimizer adam --epochs 4 --checkpoint-dir new --quiet &&
    python -c "
import h5py
a, b = h5py.File(\"old/checkpoint.h5\"), h5py.File(\"new/checkpoint.h5\")
assert a[\"model/dense1/weight\"][()].tobytes() == b[\"model/dense1/weight\"][()].tobytes()
"
'

cat >sweep.yaml <<END
name: sweep
command: rung-train --data '$PWD/data' --hidden 8 --optimizer adamw --lr {lr} --epochs 4
         --warmup-steps 7 --lr-schedule cosine
metric: val_loss
space: {lr: "loguniform(1e-4, 1e-1)"}
search: {trials: 4}
schedule: {grace_period: 1, max_t: 4, reduction_factor: 2}
trials_per_job: 1
END

test_expect_success 'in a sweep it pauses and goes on, and fsck finds all it saved' '
    rung run --quiet --dir sweep sweep.yaml &&
    set -- sweep/trials/*/a03 && # who was promoted twice
    best=$1 &&
    ls "$best" >files &&
    printf "%s\n" attempt-01.log attempt-02.log attempt-03.log checkpoint.h5 \
        checkpoint.prev.h5 >want &&
    test_cmp want files &&
    rung fsck sweep
'

test_expect_success H5PY 'and its weights are those of a training that never paused' '
    cat >compare.py <<-END &&
	import subprocess, sys, h5py
	with h5py.File(sys.argv[1] + "/checkpoint.h5") as f:
	    subprocess.run(["rung-train", "--data", "data", "--hidden", "8", "--quiet",
	                    "--optimizer", "adamw", "--lr", repr(float(f.attrs["lr"])),
	                    "--warmup-steps", "7", "--lr-schedule", "cosine",
	                    "--epochs", "4", "--checkpoint-dir", "alone",
	                    "--seed", f["rng"].attrs["seed"].decode()], check=True)
	    compared = []
	    with h5py.File("alone/checkpoint.h5") as g:
	        def compare(name, item):
	            if isinstance(item, h5py.Dataset) and name != "metrics":
	                assert item[()].tobytes() == g[name][()].tobytes(), name
	                compared.append(name)
	        f.visititems(compare)
	    print(len(compared))
	END
    python compare.py "$best" >out &&
    echo 14 >want && # mean and scale; of two layers weight and bias, each with m and v
    test_cmp want out
'

test_expect_success 'fsck says which checkpoint is older than its trial' '
    mv "$best/checkpoint.prev.h5" "$best/checkpoint.h5" &&
    test_expect_code 1 rung fsck sweep >out &&
    cat out &&
    grep "lost: trial [0-9]* at step 4: .*: of step 2" out
'

test_done
