#!/bin/sh
test_description='sweep files: what is wrong with them, and what they will do'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! test -x "$top_builddir/rung"; then
    skip_all='rung is not built'
    test_done
fi

wrong=$top_srcdir/tests/sweepfile

# refused COMMAND... FILE, among the wrong files: exit status 2, what it says is in
# FILE's .expect, there is nothing on stdout, and nothing was created.
refused() {
    for file in "$@"; do :; done
    (
        cd files && ls -A >../before &&
            test_expect_code 2 "$@" >../out 2>../err && ls -A >../after
    ) &&
        test_cmp "$wrong/${file%.yaml}.expect" err &&
        test_must_be_empty out &&
        test_cmp before after
}

test_expect_success 'there are wrong files' '
    mkdir files && cp "$wrong"/*.yaml files/ &&
    set -- files/*.yaml && test "$#" -gt 100
'

for path in "$wrong"/*.yaml; do
    name=$(basename "$path")
    test_expect_success "check: $name" "refused rung check $name"
done

for name in many-at-once yaml-tab keys-missing command-unknown; do
    test_expect_success "run, asktell: $name" "
        refused rung run $name.yaml &&
        refused rung asktell $name.yaml
    "
done

# says LINE COMMAND...: refused, with this line among others.
says() {
    line=$1 && shift
    test_expect_code 2 "$@" >out 2>err &&
    cat err &&
    test_must_be_empty out &&
    grep -qxF "$line" err
}

test_expect_success 'a large file is refused without being read' '
    yes "a: b" | head -c 10000000 >large.yaml &&
    says "large.yaml: larger than 1 MiB, which no sweep file is" rung check large.yaml &&
    says "/dev/zero: larger than 1 MiB, which no sweep file is" rung check /dev/zero
'

test_expect_success 'NUL, UTF-16, Latin-1' '
    printf "metric: lo\\000ss\\n" >nul.yaml &&
    says "nul.yaml:1:11: the control character U+0000 cannot be in a sweep file" \
        rung check nul.yaml &&
    printf "\\377\\376m\\000" >utf16.yaml &&
    says "utf16.yaml:1:1: the file is in UTF-16: save it as UTF-8" rung check utf16.yaml &&
    printf "# caf\\303\\251\\nname: caf\\351\\n" >latin1.yaml &&
    says "latin1.yaml:2:10: the byte 0xe9 is no UTF-8: save the file as UTF-8" \
        rung check latin1.yaml
'

test_expect_success 'what is no file' '
    test_expect_code 2 rung check nowhere.yaml 2>err && grep nowhere.yaml err &&
    test_expect_code 2 rung check . 2>err && grep "^\\." err &&
    test_expect_code 2 rung check 2>err && grep "which sweep file" err &&
    test_expect_code 2 rung check one.yaml two.yaml 2>err && grep two.yaml err
'

for path in "$wrong"/good/*.yaml "$top_srcdir"/examples/*.yaml; do
    test_expect_success "check: $(basename "$path") is good" "
        rung check '$path' >out 2>err &&
        test_must_be_empty err &&
        grep '^trials that get to ' out
    "
done

test_expect_success 'check tells what it will cost' '
    rung check --step 40s --checkpoint 100M -n 3 "$top_srcdir/examples/fashion.yaml" >out &&
    cat out &&
    grep "^fashion: 27 trials, random search, asha (promote), minimum of val_loss$" out &&
    grep "^lr  *loguniform(1e-4, 1e-1)  *real, log$" out &&
    grep "^momentum  *uniform(0.5, 0.99)  *real, conditional$" out &&
    grep "^rung 0, step 1  *27  *27  *27$" out &&
    grep "^rung 1, step 3  *9  *[0-9.]*  *[0-9]*$" out &&
    grep "^slot-hours  *0.7 " out &&
    grep "^checkpoints  27 at most while the sweep runs, 3 at its end: 2.6 GiB, 300 MiB$" out &&
    grep "^    0  l1=64 l2=32 lr=0.001 batch_size=32 optimizer=adam  (start)$" out &&
    grep "^    2  " out &&
    ! grep "^    3  " out &&
    grep "^  rung-train .* --l1 64 --l2 32 --lr 0.001 --batch-size 32 --optimizer adam$" out
'

test_expect_success 'check --json is JSON with the same' '
    rung check --json --step 40s "$top_srcdir/examples/fashion.yaml" >out.json &&
    python3 - <<-\EOF
	import json
	d = json.load(open("out.json"))
	assert d["name"] == "fashion" and d["trials"] == 27
	assert [p["name"] for p in d["parameters"]] == \
	    ["l1", "l2", "lr", "batch_size", "optimizer", "momentum"]
	assert d["parameters"][2]["log"] and d["parameters"][2]["low"] == 1e-4
	assert [l["step"] for l in d["levels"]] == [1, 3, 9]
	assert d["levels"][1]["trials"]["best"] == 9
	assert d["steps"]["best"] == 63
	assert abs(d["slot_hours"]["best"] - 0.7) < 1e-9
	assert d["checkpoints"] == {"most": 27, "kept": 3}
	assert d["configurations"][0]["l1"] == 64 and len(d["configurations"]) == 5
	EOF
'

# planned FILE: what check says of a grid, and what the engine makes of it.
planned() {
    rung check "$1" | sed -n "s/^[a-z]*: \([0-9]*\) trials.*/check \1/p" &&
        { yes "{\"op\":\"ask\"}" | head -n 20 && echo "{\"op\":\"state\"}"; } |
        rung asktell "$1" >answers &&
        sed -n "s/.*\"planned\":\([0-9]*\),\"drawn\":\([0-9]*\),.*/planned \1, drawn \2/p" answers
}

test_expect_success 'a grid is as large as what is left of it' '
    cat >grid.yaml <<-\END &&
	command: x
	metric: loss
	space:
	  opt: grid(sgd, adam)
	  momentum: {sample: "grid(0.5, 0.9, 0.99)", when: opt == sgd}
	  layers: grid(1, 2, 3)
	constraints: [layers > 1]
	search: {method: grid}
	schedule: {max_t: 1}
	END
    planned grid.yaml >out && printf "check 8\nplanned 8, drawn 8\n" >expect &&
    test_cmp expect out &&
    sed "s/^constraints.*/  width: uniform(0, 1)\nconstraints: [width < layers - 2]/" \
        grid.yaml >drawn.yaml &&
    planned drawn.yaml >out && printf "check 12\nplanned 4, drawn 4\n" >expect &&
    test_cmp expect out
'

test_expect_success 'check refuses odd options' '
    test_expect_code 2 rung check --step soon x.yaml 2>err && grep -e "--step" err &&
    test_expect_code 2 rung check --checkpoint 2X x.yaml 2>err && grep -e "--checkpoint" err &&
    test_expect_code 2 rung check -n -1 x.yaml 2>err && grep -e "--configurations" err
'

test_expect_success 'init writes a good file, and never over another' '
    mkdir new && cd new &&
    rung init >out 2>err && cat out && test_must_be_empty err &&
    rung check sweep.yaml >out && cat out &&
    grep "^valley: 81 trials" out &&
    cp sweep.yaml before &&
    test_expect_code 2 rung init 2>err && grep "sweep.yaml exists already" err &&
    test_cmp before sweep.yaml &&
    rung init other.yaml && rung check other.yaml >out &&
    rung init --stdout | sed "s/rung \(run\|check\) sweep/rung \1 other/" | test_cmp - other.yaml &&
    test_expect_code 1 rung init no/where.yaml 2>err && grep no/where.yaml err
'

test_expect_success 'every key that init leaves out is right when it is put in, but metrics beside metric' '
    rung init --stdout | sed "1,/^# Everything else/!s/^#\([a-z]\|  \)/\1/" |
        sed "/^metrics:/d; s/^parse:.*/parse: \"(?<step>1) (?<height>2)\"/; s/^restart:.*/restart: true/" \
        >all.yaml &&
    grep "^checkpoint_signal: USR1" all.yaml &&
    grep "^    param: rate" all.yaml &&
    rung check all.yaml
'

test_done
