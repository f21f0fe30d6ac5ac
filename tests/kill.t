#!/bin/sh
test_description='processes that are killed, journals that are damaged, disks that are full'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

steps="$steps each"

# agents NAME: their process ids; those of shims and programs are below.
agents()
{
    events "$1" job '"change":"joined"' | field job | cut -d : -f 3 | while read -r pid; do
        test ! -e "/proc/$pid/exe" || echo "$pid"
    done
}

# children PID...: of all of these.
children()
{
    for pid; do
        ps -o pid= --ppid "$pid" | tr -d ' '
    done
}

# kill_all NAME: the controller, agents, shims and programs. What agents had in /tmp is
# removed by later ones, but not at once.
kill_all()
{
    pids "$1" | xargs kill -9 "$controller" 2>/dev/null
    wait "$controller"
    nobody_left "$1" && homes "$1" | xargs rm -rf && cp -r "$1/journal" "$1.journal"
}

# kill_controller NAME: and keeps what it left of its journal.
kill_controller()
{
    kill -9 "$controller"
    wait "$controller"
    cp -r "$1/journal" "$1.journal"
}

# kept NAME: all of that is there still, and counts.
kept()
{
    for file in "$1.journal"/*.jsonl; do
        cmp -n "$(stat -c %s "$file")" "$file" "$1/journal/${file##*/}" || return
    done
    test "$(cat "$1.journal"/*.jsonl | wc -c)" = \
        "$(events "$1" epoch '"epoch":2' | field bytes)" &&
        sound "$1"
}

for mode in promote stop; do
    test_expect_success "$mode: without a controller agents end by and by" '
        sweep left-$mode $mode && hold &&
        begin left-$mode &&
        reached left-$mode 2 report &&
        kill_controller left-$mode && go &&
        nothing_left left-$mode &&
        grep "leaves: no controller was heard of any more" left-$mode/jobs/*.log &&
        rung status left-$mode | grep "no controller serves this sweep" &&
        timeout 120 rung resume --quiet left-$mode &&
        nothing_left left-$mode &&
        kept left-$mode &&
        test $(events left-$mode trial | wc -l) = 6
    '

    test_expect_success "$mode: a new controller goes on with the agents that are there" '
        sweep taken-$mode $mode && hold &&
        begin taken-$mode &&
        reached taken-$mode 2 report &&
        kill_controller taken-$mode &&
        agent=$(agents taken-$mode) &&
        { rung resume --quiet taken-$mode & } && controller=$! &&
        reached taken-$mode 2 job "\"change\":\"joined\"" &&
        test "$(agents taken-$mode | sort -u)" = "$agent" && go &&
        ended 0 &&
        nothing_left taken-$mode &&
        kept taken-$mode &&
        ! events taken-$mode end "\"outcome\":\"lost\"" &&
        ! events taken-$mode start "\"trial\":0,\"attempt\":2" | grep -v "\"from\":" &&
        test $(events taken-$mode trial | wc -l) = 6
    '

    test_expect_success "$mode: an agent is killed" '
        sweep agent-$mode $mode && hold &&
        begin agent-$mode &&
        reached agent-$mode 2 saved &&
        kill -9 $(agents agent-$mode) && rm -rf $(homes agent-$mode) &&
        reached agent-$mode 2 end "\"outcome\":\"lost\"" && go &&
        ended 0 &&
        nothing_left agent-$mode &&
        test $(events agent-$mode start "\"attempt\":2" | grep -c "\"start\":1") = 2 &&
        going_on agent-$mode &&
        sound agent-$mode
    '

    test_expect_success "$mode: an agent is told to go" '
        sweep evicted-$mode $mode && hold &&
        begin evicted-$mode &&
        reached evicted-$mode 2 saved &&
        kill -TERM $(agents evicted-$mode) &&
        reached evicted-$mode 2 end "\"outcome\":\"preempted\"" && go &&
        ended 0 &&
        nothing_left evicted-$mode &&
        going_on evicted-$mode &&
        sound evicted-$mode
    '

    test_expect_success "$mode: shims are killed, and programs" '
        sweep shims-$mode $mode && hold &&
        begin shims-$mode &&
        reached shims-$mode 2 saved &&
        kill -9 $(children $(agents shims-$mode)) &&
        reached shims-$mode 4 start &&
        until_true "test \$(children \$(children \$(agents shims-$mode)) | wc -l) -ge 2" &&
        kill -9 $(children $(children $(agents shims-$mode))) &&
        reached shims-$mode 4 end "\"outcome\":\"failed\"" && go &&
        ended 0 &&
        nothing_left shims-$mode &&
        test $(events shims-$mode end "\"note\":\"its shim was killed\"" | wc -l) = 2 &&
        test $(events shims-$mode end "\"signal\":9" | wc -l) = 4 &&
        sound shims-$mode
    '

    test_expect_success "$mode: all are killed at once" '
        sweep all-$mode $mode && hold &&
        begin all-$mode &&
        reached all-$mode 2 saved &&
        kill_all all-$mode && go &&
        timeout 120 rung resume --quiet all-$mode &&
        nothing_left all-$mode &&
        kept all-$mode &&
        going_on all-$mode &&
        test $(events all-$mode trial | wc -l) = 6
    '
done

test_expect_success 'a controller that was cut off learns that it was replaced' '
    sweep fenced stop && hold &&
    begin fenced &&
    reached fenced 2 saved &&
    first=$controller &&
    kill -STOP $first &&
    sed -i "s/\"host\":\"[^\"]*\"/\"host\":\"elsewhere\"/" fenced/controller.json &&
    cp -r fenced/journal fenced.journal &&
    { rung resume --quiet fenced 2>err & } && second=$! &&
    reached fenced 2 job "\"change\":\"joined\"" && go &&
    reached fenced 4 start &&
    kill -CONT $first &&
    controller=$first && ended 1 &&
    grep "rung: .*superseded\|rung: .*has taken over" fenced.err &&
    controller=$second && ended 0 &&
    grep "taking over from the controller on elsewhere" err &&
    nothing_left fenced &&
    kept fenced &&
    test $(events fenced trial | wc -l) = 6
'

test_expect_success 'of two who resume it at once, one does, and nothing is lost' '
    sweep both stop && hold &&
    begin both &&
    reached both 2 saved &&
    kill_all both && go &&
    { { timeout 120 rung resume --quiet both 2>err-1; echo $? >status-1; } & } &&
    { { timeout 120 rung resume --quiet both 2>err-2; echo $? >status-2; } & } && wait &&
    cat err-1 err-2 &&
    sort status-1 status-2 >statuses && printf "0\\n1\\n" | diff - statuses &&
    grep "a controller serves it already: process\|a newer controller owns this sweep\|has taken over" \
        err-1 err-2 &&
    nothing_left both &&
    sound both &&
    going_on both &&
    test $(events both trial | wc -l) = 6
'

test_expect_success 'who runs or resumes a sweep that is served hears by whom' '
    sweep served stop && hold &&
    begin served &&
    reached served 2 report &&
    test_expect_code 1 rung resume served 2>err &&
    grep "a controller serves it already: process $controller on $(uname -n)" err &&
    test_expect_code 2 rung run --dir served served.yaml 2>err &&
    grep "served exists already, and a controller serves it: process $controller on $(uname -n)" \
        err && go &&
    ended 0 &&
    nothing_left served &&
    test $(events served epoch | wc -l) = 1 &&
    sound served
'

test_expect_success 'one that died before its first epoch begins when it is resumed' '
    sweep unborn stop &&
    mkdir unborn && cp -rp served/keys unborn/ && cp unborn.yaml unborn/sweep.yaml &&
    mkdir unborn/journal unborn/requests unborn/jobs unborn/trials &&
    cp -rp unborn void && : >void/journal/000001.jsonl &&
    cp -rp unborn robbed && mkdir robbed/trials/000000 &&
    for name in unborn void; do
        timeout 120 rung resume --quiet $name &&
            nothing_left $name &&
            sound $name &&
            test $(events $name trial | wc -l) = 6 &&
            timeout 120 rung resume --quiet --set search.trials=7 $name &&
            sound $name || return
    done &&
    test_expect_code 1 rung resume robbed 2>err &&
    grep "no epoch has begun here" err &&
    test -z "$(ls robbed/journal)"
'

test_expect_success 'one that died before it had said that it is over is wound up' '
    cp -rp served windup &&
    sed -i "s/\"state\":\"finished\"/\"state\":\"running\"/" windup/controller.json &&
    rm windup/sweep.h5 &&
    timeout 120 rung resume --quiet windup &&
    grep "\"state\":\"finished\"" windup/controller.json &&
    test -e windup/sweep.h5 &&
    test $(events windup start | wc -l) = $(events served start | wc -l) &&
    ! events windup resume &&
    sound windup
'

test_expect_success 'a sweep whose directory is removed ends, and says so' '
    sweep gone stop && hold &&
    begin gone &&
    reached gone 2 report &&
    agent=$(agents gone) && left=$(homes gone) &&
    mv gone aside && rm -r aside && go &&
    ended 1 &&
    grep "rung: .*/gone.*: No such file or directory" gone.err &&
    until_true "! test -e /proc/$agent/exe" &&
    nobody_left . &&
    test ! -e gone && test ! -e "$left"
'

# ---- the journal ----

test_expect_success 'a last line that a crash tore is set aside' '
    sweep torn stop && hold &&
    begin torn &&
    reached torn 2 saved &&
    kill_all torn && go &&
    printf "%s" "{\"e\":\"report\",\"t\":1,\"c\":1,\"trial\":0,\"att" >>torn/journal/000001.jsonl &&
    rung fsck torn | grep "40 bytes behind: of a commit that a crash cut off" &&
    timeout 120 rung resume --quiet torn 2>err &&
    grep "ended in 40 bytes that were never durable" err &&
    kept torn
'

test_expect_success 'a line that was changed is found, and nothing is written' '
    sweep damaged stop &&
    run_sweep damaged &&
    cp -r damaged before &&
    sed -i "9s/\"trial\":/\"trial\";/" damaged/journal/000001.jsonl &&
    cp -r damaged after &&
    for command in "resume --set search.trials=9" resume stop status "show 0" best fsck \
        "replay --verify" "export --csv"; do
        set -- $command && name=$1 && shift &&
        test_expect_code 1 rung $name damaged "$@" >out 2>&1 &&
        grep "journal/000001.jsonl:9: " out || { cat out; return 1; }
    done &&
    diff -r after damaged &&
    cp before/journal/000001.jsonl damaged/journal/ &&
    sound damaged
'

test_expect_success 'sweep.yaml is not to be changed' '
    sed -i "s/max_t: 9/max_t: 27/" damaged/sweep.yaml &&
    cp -r damaged edited &&
    test_expect_code 1 rung resume --set search.trials=9 damaged 2>err &&
    grep "sweep.yaml was changed after the sweep began; put the original back" err &&
    diff -r edited damaged &&
    cp before/sweep.yaml damaged/ &&
    timeout 120 rung resume --quiet --set search.trials=8 damaged &&
    test $(events damaged trial | wc -l) = 8 &&
    sound damaged
'

# ---- a full disk ----

mkdir small
if mount -t tmpfs -o size=1m tmpfs small 2>/dev/null; then
    umount small
    test_set_prereq TMPFS
fi

test_expect_success TMPFS 'a full disk stops the sweep; with more space it goes on' '
    mount -t tmpfs -o size=160k tmpfs small &&
    test_when_finished "umount small" &&
    sweep_file full "sh \"$top_srcdir/tests/zoo.sh\" good" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 60}
	schedule: {mode: stop, max_t: 9}
	slots: 4
	END
    test_expect_code 1 timeout 120 rung run --quiet --dir small/full full.yaml 2>err &&
    grep "journal/000001.jsonl: .*No space left on device" err &&
    grep "make space, then: rung resume" err &&
    nothing_left small/full &&
    cp -r small/full/journal small.journal &&
    test_expect_code 1 timeout 120 rung resume --quiet small/full 2>err &&
    grep "No space left on device" err &&
    mount -o remount,size=4m small &&
    timeout 120 rung resume --quiet small/full &&
    nothing_left small/full &&
    sound small/full &&
    head -n -1 small.journal/000001.jsonl >accepted &&
    cmp -n $(stat -c %s accepted) accepted small/full/journal/000001.jsonl &&
    rung export --csv small/full && # a whole line of a torn commit does not count
    test $(wc -l <small/full/trials.csv) = 61
'

test_expect_success TMPFS 'on a disk that is read-only nothing is begun, and all can be read' '
    mount -t tmpfs -o size=8m tmpfs small &&
    test_when_finished "umount small" &&
    sweep ro stop && hold &&
    begin ro &&
    reached ro 2 saved &&
    kill_all ro && go &&
    cp -rp ro small/ro && cp -rp ro before-ro &&
    mount -o remount,ro small &&
    test_expect_code 1 timeout 60 rung resume --quiet small/ro 2>err &&
    grep "journal/000002.jsonl: Read-only file system" err &&
    rung status small/ro >status &&
    sound small/ro &&
    diff -r before-ro small/ro &&
    mount -o remount,rw small &&
    timeout 120 rung resume --quiet small/ro &&
    nothing_left small/ro &&
    sound small/ro &&
    going_on small/ro &&
    test $(events small/ro trial | wc -l) = 6
'

test_done
