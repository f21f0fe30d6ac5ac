#!/bin/sh
test_description='what a person sees of a sweep: help, status, watch, best, show, export, fsck'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! test -x "$top_builddir/rung"; then
    skip_all='rung is not built'
    test_done
fi

want=$top_srcdir/tests/cli
TZ=UTC LC_ALL=C
export TZ LC_ALL
unset NO_COLOR
python3 -c '' 2>/dev/null && test_set_prereq PYTHON
locale -a 2>/dev/null | grep -qix 'c.utf-\?8' && test_set_prereq UTF8
command -v groff >/dev/null && test_set_prereq GROFF
command -v bash >/dev/null && test_set_prereq BASH

commands=$(rung help | sed -n 's/^  \([a-z]*\) .*/\1/p')

# masked FILE: without times, sizes and places.
masked() {
    sed -E 's/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}/TIME/g
        s/^((rung|done) .*  cost) +/\1 /
        s/[0-9]+ % of what/N % of what/
        s/[0-9]+\.[0-9] s|[0-9]+m [0-9]{2}s/N s/g
        s/[0-9.]+ [KMG]iB/N MiB/
        s/^(    node  ).*/\1HOST/
        s|^(    log   ).*/trials/|\1DIR/trials/|' "$1"
}

# shows FILE COMMAND...: good, and its output, masked, is tests/cli/FILE.
shows() {
    file=$1 && shift
    "$@" >out 2>err && cat out && masked out >seen && test_cmp "$want/$file" seen
}

# wrong TEXT COMMAND...: exit status 2, TEXT on stderr, nothing on stdout.
wrong() {
    text=$1 && shift
    test_expect_code 2 "$@" >out 2>err
    result=$?
    cat err
    test "$result" = 0 && test_must_be_empty out && grep -F "$text" err
}

# ---- help ----

# To write them anew: rung help >tests/help/rung.txt, and for each command
# rung NAME --help >tests/help/NAME.txt
test_expect_success 'all commands are in tests/help, and no others' '
    rung help >out && test_cmp "$top_srcdir/tests/help/rung.txt" out &&
    rung --help >out && test_cmp "$top_srcdir/tests/help/rung.txt" out &&
    ls "$top_srcdir/tests/help" | sed "s/\.txt$//" | sort >have &&
    printf "%s\n" rung $commands | sort >known &&
    test_cmp known have
'

for name in $commands; do
    test_expect_success "rung $name --help" "
        rung $name --help >out && test_cmp '$top_srcdir/tests/help/$name.txt' out &&
        rung $name -h >out && test_cmp '$top_srcdir/tests/help/$name.txt' out &&
        rung help $name >out && test_cmp '$top_srcdir/tests/help/$name.txt' out
    "
done

test_expect_success 'each command has a manual page' '
    ls "$top_builddir/launcher/man" | sort >have &&
    { echo rung.1 && for name in $commands; do echo "rung-$name.1"; done; } | sort >known &&
    test_cmp known have
'

test_expect_success GROFF 'groff has nothing to say against them' '
    for page in "$top_builddir"/launcher/man/*.1; do
        groff -man -ww -Tascii -z "$page" 2>&1 || return 1
    done >out &&
    test_must_be_empty out &&
    groff -man -Tascii -P-cbou "$top_builddir/launcher/man/rung-log.1" >page &&
    grep "rung-log - Report metrics" page &&
    grep -x "           rung log step=3 val_loss=0.21" page
'

# complete WORD...: what bash offers for the last one.
cat >complete <<\END
. "$1" && shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_rung
for reply in "${COMPREPLY[@]}"; do echo "$reply"; done
END
complete() {
    bash complete "$top_builddir/launcher/completion/rung" "$@"
}

test_expect_success BASH 'bash completes commands and options' '
    complete rung re >out && printf "render\nresume\nreplay\n" >expect && test_cmp expect out &&
    complete rung best --j >out && echo --json >expect && test_cmp expect out &&
    complete rung run --e >out && echo --executor >expect && test_cmp expect out &&
    complete rung run swe >out && test_must_be_empty out &&
    for name in $commands; do
        complete rung $name -- >out &&
        sed -n "s/^  \(-., \)\?\(--[a-z0-9-]*\).*/\2/p" \
            "$top_srcdir/tests/help/$name.txt" >expect &&
        test_cmp expect out || return 1
    done
'

# ---- wrong usage ----

test_expect_success 'wrong usage' '
    wrong "did you mean '\''status'\''" rung statsu &&
    wrong "did you mean --json" rung best --jso &&
    wrong "no number of trials: '\''0'\''" rung best -n 0 &&
    wrong "no number of trials: '\''x'\''" rung best --count=x &&
    wrong "a value is missing" rung best -n &&
    wrong "which trial?" rung show &&
    wrong "no number of a trial: '\''-1'\''" rung show -- -1 &&
    wrong "in which format?" rung export &&
    for upto in 1 1: :1 0:5 1:-1 1:5x 99999999999:1; do
        wrong "no EPOCH:BYTES" rung export --hdf5 --upto $upto || return 1
    done &&
    wrong "one argument too many: '\''c'\''" rung show a b c &&
    for name in status watch best fsck; do
        wrong "one argument too many: '\''b'\''" rung $name a b || return 1
    done &&
    wrong "one argument too many: '\''b'\''" rung export --csv a b &&
    wrong "there is no sweep below" rung status &&
    mkdir none && wrong "holds no sweep.yaml" rung status none &&
    wrong "it does not exist" rung fsck nowhere
'

# ---- a sweep ----

cat >program <<\END
#!/bin/sh
# The loss follows from the step and from lr.
step=$RUNG_START
test "$RUNG_PARAM_lr" = 0.75 && printf 'looking\nno such \033[31mdevice\n' && exit 3
test "$RUNG_PARAM_lr" = 0.0625 && odd=odd=-inf
while test "$step" -lt 27; do
    step=$((step + 1))
    loss=$(awk -v s=$step -v lr="$RUNG_PARAM_lr" 'BEGIN { printf "%.5f", 1 / (1 + s * lr) }')
    echo "$step" >"$RUNG_CHECKPOINT_DIR/step"
    rung log step=$step loss="$loss" time/epoch=0.5 $odd
    case $? in
    0) ;;
    3) rung log saved=$step && exit 0 ;;
    4) exit 0 ;;
    *) exit 1 ;;
    esac
done
END
chmod +x program

cat >cli.yaml <<\END
name: cli
command: ./program
metric: loss
space:
  lr: uniform(0, 1)
  layers: randint(1, 200000)
  note: choice(plain, "a, b", "say \"x\"")
  momentum:
    sample: uniform(0, 1)
    when: note == "plain"
start:
  - {lr: 0.25, layers: 1, note: plain, momentum: 0.5}
  - {lr: 0.5, layers: 20000, note: "a, b"}
  - {lr: 0.125, layers: 3, note: 'say "x"'}
  - {lr: 0.75, layers: 4, note: plain, momentum: 0.25}
  - {lr: 0.0625, layers: 5, note: "a, b"}
  - {lr: 0.625, layers: 6, note: "a, b"}
search: {method: random, trials: 6}
schedule: {method: asha, grace_period: 1, reduction_factor: 3, max_t: 27}
retry: {failures: 1}
END

test_expect_success 'a sweep of six trials' '
    rung run cli.yaml --dir sweep --quiet >out 2>err && cat out &&
    test_must_be_empty err &&
    grep "^best  *loss 0.05594  trial 5, step 27$" out &&
    events=$(wc -l <sweep/journal/000001.jsonl)
'

test_expect_success 'status' '
    shows status rung status sweep &&
    shows status rung status &&
    (cd sweep && rung status) >out && masked out >seen && test_cmp "$want/status" seen
'

test_expect_success UTF8 'status in UTF-8' '
    shows status.utf8 env LC_ALL=C.UTF-8 rung status sweep
'

test_expect_success 'status: as JSON' '
    rung status --json sweep >out && cat out &&
    grep "^{\"name\":\"cli\",.*\"state\":\"finished\",.*\"failed\":1}" out
'

test_expect_success 'best' '
    shows best rung best sweep &&
    shows best-2 rung best -n 2 sweep &&
    rung best --json --count 1 sweep >json && sed "s/,\"cost\":{.*/}/" json >out &&
    echo "{\"best\":[{\"trial\":5,\"metric\":0.05594,\"step\":27,\"params\":{\"lr\":0.625,\"layers\":6,\"note\":\"a, b\"}}]}" >expect &&
    test_cmp expect out
'

test_expect_success PYTHON 'costs add up' '
    rung status --json sweep >status.json && cat >costs.py <<-\END &&
	import json
	status, best = (json.load(open(f))["cost"] for f in ("status.json", "json"))
	assert status == best, (status, best)
	for key in "slot_hours", "cpu_hours", "cpu_hours_used", "node_hours", "gpu_hours":
	    parts = sum(rung[key] for rung in status["rungs"])
	    assert abs(parts - status[key]) < 1e-9, (key, parts, status[key])
	assert 0 < status["cpu_hours"] == status["slot_hours"] and status["gpu_hours"] == 0
	assert status["rungs"][-1]["milestone"] == 27 and 0 < status["saved_share"] < 1
	END
    python3 costs.py
'

test_expect_success 'show: a long curve, a promotion, failures with the end of their logs' '
    shows show-5 rung show sweep 5 &&
    shows show-1 rung show 1 &&
    shows show-3 rung show sweep 3 &&
    wrong "there is no trial 6, only 0 to 5" rung show sweep 6
'

test_expect_success UTF8 'show: the curve as a line' '
    LC_ALL=C.UTF-8 rung show sweep 5 >out && cat out &&
    grep -x "  █▆▅▄▃▃▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁" out
'

test_expect_success PYTHON 'show: as JSON' '
    rung show --json sweep 1 >out &&
    cat >read.py <<-END &&
	import json, sys
	t = json.load(sys.stdin, object_pairs_hook=lambda p: dict(p) if len(dict(p)) == len(p) else 1 / 0)
	print(t["state"], t["best_metric"], t["params"], t["drawn"] == t["params"])
	print([(r["attempt"], r["step"], r["loss"], r["time.epoch"]) for r in t["reports"]])
	print([(d["decision"], d["rung"], d["rank"], d["size"]) for d in t["decisions"]])
	print([(a["first_step"], a["last_step"], a["outcome"]) for a in t["attempts"]])
	END
    python3 read.py <out >read && cat read && test_cmp "$want/show-1.read" read
'

test_expect_success 'closed descriptors: nothing is printed into the journal' '
    rung run cli.yaml --dir closed <&- >&- 2>&- &&
    rung run cli.yaml --dir closed-2 2>&- >out && grep "^best " out &&
    for dir in closed closed-2; do
        rung replay --verify $dir && rung fsck $dir || return 1
    done &&
    rm -r closed closed-2
'

test_expect_success 'what could not be printed is a failure' '
    for command in "best sweep" "show sweep 5" "status --json sweep" "help best" --version; do
        test_expect_code 1 rung $command >/dev/full 2>err && cat err &&
        grep "rung: standard output: No space left on device" err || return 1
    done &&
    rung log step=1 loss=2 >file && echo "step=1 loss=2" >expect && test_cmp expect file
'

test_expect_success 'control characters in a value stay in their line' '
    cat >control.yaml <<-\END &&
	command: rung log step=1 loss=1
	metric: loss
	space: {text: "two\nlines", red: "\e[31m"}
	search: {trials: 1}
	schedule: {max_t: 1}
	END
    rung run control.yaml --dir control --quiet >out &&
    rung best control >>out && rung show control 0 >>out && rung status control >>out &&
    rung check control.yaml | grep "^    0" >>out && cat out &&
    ! grep "^lines" out && ! grep "$(printf "\033")" out &&
    test "$(grep -cF "two\nlines" out)" = 5 && test "$(grep -cF "\x1b[31m" out)" = 5 &&
    rm -r control
'

# ---- which sweep ----

# part LINES: a sweep as it was when its journal had so many lines.
part() {
    rm -rf part && cp -r sweep part &&
        head -n "$1" sweep/journal/000001.jsonl >part/journal/000001.jsonl
}

test_expect_success 'stop and resume: of several unfinished sweeps none is taken' '
    part 20 && mkdir several && cp -r part several/a && cp -r part several/b &&
    rm several/?/controller.json &&
    (
        cd several && rung init >out &&
        wrong "several sweeps here are unfinished, name one: a, b" rung stop &&
        wrong "several sweeps here are unfinished, name one: a, b" rung stop --pause &&
        wrong "several sweeps here are unfinished, name one: a, b" rung resume
    ) &&
    cmp part/journal/000001.jsonl several/a/journal/000001.jsonl &&
    cmp part/journal/000001.jsonl several/b/journal/000001.jsonl &&
    test "$(ls several/?/journal | grep -c jsonl)" = 2
'

# ---- watch ----

test_expect_success 'watch without a terminal is status' '
    shows status rung watch sweep
'

test_expect_success PYTHON 'watch: q and Ctrl-C leave, and the last screen stays' '
    part $((events - 3)) &&
    shows interrupted rung status part &&
    python3 "$top_srcdir/tests/terminal.py" "rung 0" q rung watch part >out && cat out &&
    masked out >seen && test_cmp "$want/watched" seen &&
    test_expect_code 130 \
        python3 "$top_srcdir/tests/terminal.py" "rung 0" "$(printf "\003")" rung watch part >out &&
    masked out >seen && test_cmp "$want/watched" seen
'

test_expect_success PYTHON 'watch: follows the journal to the end of the sweep' '
    part 20 &&
    rest="tail -n +21 sweep/journal/000001.jsonl >>part/journal/000001.jsonl" &&
    python3 "$top_srcdir/tests/terminal.py" "rung 0" "!$rest" rung watch part >out && cat out &&
    grep "^cli  finished" out
'

# ---- export ----

test_expect_success PYTHON 'export: CSV, JSON lines, TensorBoard' '
    rung export --csv --jsonl --tensorboard -o exported/here sweep &&
    python3 "$top_srcdir/tests/export_read.py" sweep exported/here &&
    ! test -e sweep/trials.csv
'

test_expect_success 'export: the sweep'\''s directory is the default place' '
    part $events &&
    rung export --csv part &&
    for table in trials metrics rungs decisions attempts; do
        test -s part/$table.csv || return 1
    done &&
    head -n 4 part/trials.csv | cut -d, -f1-6,15- >out &&
    test_cmp "$want/trials.csv" out
'

test_expect_success 'export --hdf5: from the journal, as it stood at a byte' '
    part $events &&
    rm part/sweep.h5 && rung export --hdf5 part &&
    rung fsck part >out && cat out && grep "reflects $events of $events events" out &&
    rung export --hdf5 --upto 1:$(head -n 20 sweep/journal/000001.jsonl | wc -c) part &&
    rung fsck part >out && cat out && grep "reflects 20 of $events events;" out &&
    test_expect_code 1 rung export --hdf5 --upto 2:100 part 2>err && cat err &&
    grep "epoch 2 is none of its epochs" err
'

test_expect_success 'export: where nothing can be written' '
    >file &&
    test_expect_code 1 rung export --csv -o file sweep 2>err && cat err &&
    test_expect_code 1 rung export --csv -o file/below sweep 2>err && cat err
'

# ---- fsck ----

# finds TEXT... : fsck of part fails, and says each.
finds() {
    test_expect_code 1 rung fsck part >out 2>err
    result=$?
    cat out err
    test "$result" = 0 && test_must_be_empty err && ! grep "nothing is lost" out &&
        for text in "$@"; do
            grep -F -- "$text" out || return 1
        done
}

test_expect_success 'fsck: all is well' '
    shows fsck sh -c "rung fsck sweep | sed \"s/$events/EVENTS/g\""
'

test_expect_success 'fsck: a commit that was cut off, an epoch that never began' '
    part $((events - 5)) &&
    tail -n 1 sweep/journal/000001.jsonl | head -c 40 >>part/journal/000001.jsonl &&
    >part/journal/000002.jsonl &&
    rm part/sweep.h5 && rung fsck part >out && cat out &&
    grep "whole: $((events - 5)) events, 1 epoch$" out &&
    grep "40 bytes behind: of a commit that a crash cut off" out &&
    grep "1 file of epochs that never began" out &&
    grep "sweep.h5 *not written yet" out &&
    grep "nothing is lost" out
'

test_expect_success 'fsck: damage in the middle of the journal' '
    part $events &&
    sed "20s/\"e\":/\"f\":/" sweep/journal/000001.jsonl >part/journal/000001.jsonl &&
    finds "000001.jsonl:20: damaged" "lost: what came after event 19"
'

test_expect_success 'fsck: a journal that is shorter than sweep.h5' '
    part $((events - 10)) &&
    finds "whole, but reflects $events events: the journal has only $((events - 10))"
'

test_expect_success 'fsck: sweep.h5 cut short, or of another sweep' '
    part $events &&
    head -c 3000 sweep/sweep.h5 >part/sweep.h5 &&
    finds "part/sweep.h5" "\`rung export --hdf5\` makes it anew" &&
    rung export --hdf5 part && rung fsck part
'

test_expect_success 'fsck: another sweep.yaml' '
    part $events && echo "# later" >>part/sweep.yaml &&
    finds "sweep.yaml was changed after the sweep began"
'

test_expect_success 'fsck: no sweep.yaml that can be read' '
    part $events && echo "name: [" >part/sweep.yaml && finds "part/sweep.yaml:"
'

test_expect_success 'fsck: checkpoints of trials that may go on' '
    part $((events - 3)) && rung export --hdf5 part &&
    rm -r part/trials/000002 &&
    echo "no HDF5" >part/trials/000004/a01/checkpoint.h5 &&
    rm part/trials/000000/a01/step &&
    finds "lost: trial 2 at step 1: " "part/trials/000002 is gone" \
        "lost: trial 4 at step 1: " "trials/000004/a01/checkpoint.h5" \
        "1 with nothing but logs" &&
    part $events && rm -r part/trials/000002 && rung fsck part # it is over
'

test_done
