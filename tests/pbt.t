#!/bin/sh
test_description='population based training: whose checkpoint a trial begins from'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

# The checkpoint of this program is all that was ever done to the weights in it: a line a
# step, with the trial that made it. Where there is a file `hold`, what begins from another
# trial's checkpoint does not get on.
cat >member <<'END'
#!/bin/sh
history=$RUNG_CHECKPOINT_DIR/history
step=$RUNG_START
if test "$step" -gt 0; then
    test "$(wc -l <"$history")" -eq "$step" || exit 9
    cat "$history"
fi >weights.$RUNG_TRIAL
while test "$step" -gt 0 && test "$RUNG_ATTEMPT" = 1 && test -e hold; do
    sleep 0.02
done
while :; do
    step=$((step + 1))
    echo "$RUNG_TRIAL $step" >>weights.$RUNG_TRIAL
    rung log step=$step loss="${RUNG_PARAM_x:?}"
    decision=$?
    if test $decision != 0; then
        cp weights.$RUNG_TRIAL "$history.new" && mv "$history.new" "$history"
        exit 0
    fi
done
END
chmod +x member

# population NAME: a sweep of it.
population()
{
    sweep_file "$1" ./member <<-END
	space: {x: "uniform(0.5, 1)"}
	search: {trials: 6}
	schedule: {method: pbt, interval: 2, max_t: 9}
	slots: 3
	keep: {checkpoints: 99}
	END
}

# children NAME: a line for each: its number, its parent's, the attempt and the step.
children()
{
    events "$1" trial '"replaces"' | sed 's/.*"trial":\([0-9]*\).*"parent":\([0-9]*\),"source":\([0-9]*\),"start":\([0-9]*\).*/\1 \2 \3 \4/'
}

# descends NAME: each began with what its parent had then, and went on from there.
descends()
{
    children "$1" >"$1.children" && test -s "$1.children" &&
        while read -r child parent _ start; do
            file=$(echo "$1/trials/$(printf %06d "$child")"/a*/history) &&
                printf "%s\n" "$parent $start" "$child $((start + 1))" >want &&
                sed -n "$start,$((start + 1))p" "$file" | test_cmp want - || return
        done <"$1.children"
}

test_expect_success 'trials go on from the checkpoints of better ones' '
    population family &&
    run_sweep family &&
    sound family &&
    descends family &&
    rung status --json family >status && grep "\"completed\":6," status &&
    read -r child parent attempt start <family.children &&
    rung show family "$child" >out && cat out &&
    grep "^parent   trial $parent, from its checkpoint of step $start$" out &&
    replaced=$(events family trial "\"trial\":$child," | field replaces) &&
    rung show family "$replaced" >out && cat out &&
    grep "stopped: trial $child has taken its place" out &&
    tail -n 20 out | grep " of [456] .* stop$"
'

test_expect_success 'tables have the parents' '
    rung export --csv family &&
    awk -F, "FNR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; next }
        \$at[\"parent\"] >= 0 { print \$at[\"trial\"], \$at[\"parent\"] }" \
        family/trials.csv >out &&
    test -s out && cut -d " " -f 1,2 family.children | test_cmp - out
'

test_expect_success 'of each trial only the newest directory is left' '
    ls -d family/trials/*/* >out &&
    test "$(wc -l <out)" = "$(ls family/trials | wc -l)"
'

# killed NAME: all of it was killed when a first trial had begun from another one.
killed()
{
    population "$1" && touch hold && begin "$1" &&
        reached "$1" 1 start "\"trial\":6," &&
        until_true "test -e $1/trials/000006/a01/history" &&
        pids "$1" | xargs kill -9 "$controller"
    wait "$controller"
    nobody_left "$1" && rm hold
}

test_expect_success 'kill -9 of all of it' '
    killed crashed &&
    children crashed >before && test -s before &&
    rung resume --quiet crashed &&
    sound crashed &&
    descends crashed &&
    head -n "$(wc -l <before)" crashed.children | test_cmp before -
'

test_expect_success 'kill -9 before and in the middle of the copy' '
    killed early &&
    mv early/trials/000006/a01 early/trials/000006/a01.tmp &&
    echo half >early/trials/000006/a01.tmp/history &&
    rung resume --quiet early &&
    sound early &&
    descends early
'

test_expect_success 'a checkpoint that is gone: the sweep pauses, and goes on without who needs it' '
    killed gone &&
    children gone >gone.children &&
    read -r child parent attempt start <gone.children &&
    lost=$(printf %06d/a%02d "$parent" "$attempt") &&
    rm -r gone/trials/000006/a01 "gone/trials/$lost" &&
    test_expect_code 1 rung resume --quiet gone 2>err && cat err &&
    grep "$lost: the checkpoint .* is not there" err &&
    rung stop gone 6 "$parent" && rung resume --quiet gone &&
    rung replay --verify gone
'

if command -v rung-train >/dev/null; then
    test_set_prereq TRAIN
fi
# Debian's python3: another one on PATH may lack its packages.
python() {
    PYTHONPATH='' /usr/bin/python3 "$@"
}
if python -c "import h5py" 2>/dev/null; then
    test_set_prereq H5PY
fi
CUDA_VISIBLE_DEVICES= # on the CPU, also where there is a GPU
export CUDA_VISIBLE_DEVICES

test_expect_success TRAIN,H5PY 'rung-train goes on along its parent'\''s curve, with parameters of its own' '
    cat >learn.yaml <<-END &&
	name: learn
	command: rung-train --data synthetic:16,samples=2000,classes=5 --hidden 16
	         --lr {lr} --batch-size {batch_size}
	metric: val_loss
	space: {lr: "loguniform(1e-5, 1e-1)", batch_size: "choice(16, 32, 64, 128)"}
	search: {trials: 4}
	schedule: {method: pbt, interval: 2, max_t: 9}
	slots: 2
	keep: {checkpoints: 99}
	END
    run_sweep learn && sound learn && children learn >learn.children &&
    cat >curves.py <<-END &&
	import glob, h5py
	sweep = h5py.File("learn/sweep.h5")
	trials, reports = sweep["trials"][()], sweep["metrics"][()]
	curve = {(r["trial"], r["step"]): r["val_loss"] for r in reports}
	seen, changed = 0, False
	for line in open("learn.children"):
	    child, parent, attempt, start = map(int, line.split())
	    row = trials[child]
	    assert row["parent"] == parent
	    with h5py.File(glob.glob(f"learn/trials/{child:06}/a*/checkpoint.h5")[0]) as f:
	        history = {r["step"]: r["val_loss"] for r in f["metrics"][()]}
	        assert f.attrs["lr"] == row["hp_lr"]
	        assert f.attrs["batch_size"] == row["hp_batch_size"]
	    changed |= row["hp_lr"] != trials[parent]["hp_lr"]
	    assert history[start] == curve[parent, start]
	    assert history[start + 1] == curve[child, start + 1]
	    began = max(v for (trial, step), v in curve.items() if step == 1)
	    assert history[start + 1] < (history[start] + began) / 2
	    seen += 1
	assert seen > 0 and changed
	END
    python curves.py
'

test_expect_success TRAIN 'what shapes the model cannot change: it fails, and says why' '
    cat >shape.yaml <<-END &&
	name: shape
	command: rung-train --data synthetic:16,samples=500,classes=5 --hidden {hidden} --lr {lr}
	metric: val_loss
	space: {hidden: "randint(10, 60)", lr: "loguniform(1e-5, 1e-1)"}
	search: {trials: 4}
	schedule: {method: pbt, interval: 1, max_t: 3}
	retry: {failures: 0}
	END
    rung check shape.yaml >out && grep "must be the same in all trials, and" out &&
    run_sweep shape &&
    rung show shape 4 >out && cat out &&
    grep "it is of layers 16-.*, not 16-" out &&
    rung status --json shape | grep "\"failed\":[1-9]"
'

test_expect_success 'a constraint that no change of a parent satisfies ends nothing' '
    sweep_file wedged ./member <<-\END &&
	space:
	  a: choice(0, 1)
	  b: choice(0, 1)
	  c: choice(0, 1)
	  d: choice(0, 1)
	  e: choice(0, 1)
	  f: choice(0, 1)
	  g: choice(0, 1)
	  h: choice(0, 1)
	  x: uniform(0.5, 1)
	constraints: [a + b + c + d + e + f + g + h == 1]
	search: {trials: 8}
	schedule: {method: pbt, interval: 1, max_t: 6}
	slots: 3
	END
    run_sweep wedged &&
    sound wedged &&
    children wedged >got &&
    test -s got
'

test_expect_success 'what cannot be simulated is said' '
    test_expect_code 2 rung simulate --curves family family.yaml 2>err && cat err &&
    grep "as pbt does; without --curves" err &&
    rung simulate family.yaml >out && grep "^complete, step 9 *6 *6 *6" out
'

test_done
