#!/bin/sh
test_description='how busy the GPUs of trials are: on the screen, in sweep.h5; with a made-up driver'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

for python in python3 /usr/bin/python3; do
    if "$python" -c 'import h5py' 2>/dev/null; then
        test_set_prereq H5PY
        break
    fi
done

RUNG_TIMERS=$RUNG_TIMERS,GPUS=0.1
LD_LIBRARY_PATH=$top_builddir/tests/nvml${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
FAKE_NVML=$PWD/gpus
export RUNG_TIMERS LD_LIBRARY_PATH FAKE_NVML

# machine LINE...: it has these GPUs from now on (tests/nvml.c).
machine()
{
    printf '%s\n' "driver 550.54.15 12040" "$@" >gpus.new && mv gpus.new gpus
}

# gpu_sweep NAME GPUS: four trials on two slots of one GPU each. A trial goes on when the
# file `go` is there, and leaves which GPUs it had in NAME/had.
gpu_sweep()
{
    rm -f go
    cat >trial.sh <<-\END
	echo "$RUNG_TRIAL $CUDA_VISIBLE_DEVICES" >>"$RUNG_SWEEP_DIR/had"
	while ! test -e go; do sleep 0.02; done
	sleep 0.5
	exec rung log step=1 loss=0.5
	END
    sweep_file "$1" "sh trial.sh {x}" <<-END
	space: {x: "uniform(0, 1)"}
	search: {trials: 4}
	schedule: {max_t: 1}
	slots: 2
	resources: {gpus: $2}
	END
}

# shown NAME TEXT: waits until status shows that.
shown()
{
    until_true "rung status '$1' >screen && grep -q '$2' screen" || { cat screen && false; }
}

test_expect_success 'running trials: status, watch, JSON' '
    machine "gpu GPU-a 81920 61440 93 412" "gpu GPU-b 40960 1024 7 65" &&
    gpu_sweep two 1 &&
    CUDA_VISIBLE_DEVICES=1,GPU-a begin two --quiet &&
    shown two "trial 0.* 7 %  1 GiB of 40 GiB  65 W" &&
    shown two "trial 1.* 93 %  60 GiB of 80 GiB  412 W" &&
    test $(grep -c " GiB of " screen) = 2 && cat screen &&
    python3 "$top_srcdir/tests/terminal.py" "60 GiB of 80 GiB" q rung watch two >watched &&
    grep "trial 1 .*93 %" watched &&
    rung status --json two >json && python3 - json <<-\END
	import json, sys
	gpus = json.load(open(sys.argv[1]))["gpus"]
	assert [g["trial"] for g in gpus] == [0, 1], gpus
	assert [g["util"] for g in gpus] == [0.07, 0.93], gpus
	assert gpus[1] == {"trial": 1, "attempt": 1, "gpus": 1, "util": 0.93, "power": 412,
	                   "mem_used": 60 << 30, "mem_total": 80 << 30}, gpus
	END
'

# The first ended under other loads: it is their mean, and the most memory.
test_expect_success 'and when they are over: nothing is shown any more' '
    machine "gpu GPU-a 81920 20480 53 412" "gpu GPU-b 40960 1024 7 65" &&
    shown two " 53 %  20 GiB of 80 GiB" && : >go && ended 0 &&
    rung status two >screen && ! grep "gpus  " screen && ! test -e two/gpus.json &&
    rung show two 1 >show && cat show && grep "of GPU ([5-9]. % busy), 60 GiB of its memory" show &&
    nothing_left two && sound two
'

test_expect_success H5PY 'sweep.h5: each attempt its own GPU' '
    "$python" "$top_srcdir/tests/gpus_read.py" two
'

test_expect_success 'a GPU is lost: its trial shows nothing, the note says why' '
    machine "gpu GPU-a 81920 61440 93 412" "gpu GPU-b 40960 1024 7 65" &&
    gpu_sweep lost 1 &&
    CUDA_VISIBLE_DEVICES=0,1 begin lost --quiet &&
    shown lost " 60 GiB of 80 GiB" && shown lost "1 GiB of 40 GiB" &&
    machine "gpu GPU-a 81920 61440 93 412 lost" "gpu GPU-b 40960 1024 7 65" &&
    shown lost "they tell nothing" && grep "1 GiB of 40 GiB" screen && cat screen &&
    : >go && ended 0 &&
    trial=$(sed -n "s/ 0\$//p" lost/had | head -n 1) &&
    rung show lost $trial >show && cat show && grep "it has fallen off the bus" show &&
    grep -c "fallen off" lost/journal/*.jsonl && sound lost
'

# (A trial ends while its GPU hangs, and its agent must not wait for that.)
test_expect_success 'a driver that hangs holds nobody up' '
    machine "gpu GPU-a 81920 61440 93 412" "gpu GPU-b 40960 1024 7 65" &&
    gpu_sweep hangs 1 &&
    CUDA_VISIBLE_DEVICES=0,1 begin hangs --quiet &&
    shown hangs " 60 GiB of 80 GiB" &&
    machine "gpu GPU-a 81920 61440 93 412 hang" "gpu GPU-b 40960 1024 7 65" &&
    until_true "rung status hangs >screen && ! grep \"gpus  \" screen" &&
    : >go && ended 0 && rung status hangs >screen && grep "4 completed" screen &&
    machine && nothing_left hangs && sound hangs
'

test_expect_success 'several GPUs a trial: their mean, the fullest, their power' '
    machine "gpu GPU-a 81920 61440 93 412" "gpu GPU-b 40960 1024 7 65" &&
    gpu_sweep both 2 &&
    CUDA_VISIBLE_DEVICES=0,1 begin both --quiet --slots 1 &&
    shown both "trial 0  2 GPUs   50 %  60 GiB of 80 GiB  477 W" && cat screen &&
    : >go && ended 0
'

# What it says of it is in its log, once for each slot.
test_expect_success 'parts of a GPU are passed over, with the reason' '
    machine "gpu GPU-a 81920 61440 93 412 mig" &&
    gpu_sweep parts 1 && : >go &&
    CUDA_VISIBLE_DEVICES=MIG-1,MIG-2 run_sweep parts &&
    grep -r "MIG-1 is a part of a GPU (MIG)" parts/jobs parts.err &&
    test $(grep -rh "is a part of a GPU" parts/jobs parts.err | wc -l) = 2 &&
    rung show parts 0 >show && ! grep "% busy" show && grep "of GPU" show
'

test_expect_success 'no driver: nothing is shown, nothing is said' '
    machine "init 9" && gpu_sweep none 1 && : >go &&
    CUDA_VISIBLE_DEVICES=0,1 run_sweep none &&
    cat none.err none/jobs/* && ! grep -ri "gpus are used" none/jobs none.err &&
    rung show none 0 >show && ! grep "% busy" show && sound none
'

test_done
