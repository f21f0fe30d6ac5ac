# Sourced after tests/setup.sh by the tests that run whole sweeps.
# shellcheck shell=sh

# Seconds until a test gives up waiting; what it waits for takes a moment.
PATIENCE=30

# Short, so that what is ended late is ended soon. The agents inherit them.
RUNG_TIMERS=KILL=0.5,STAY=1,BEAT=0.2,RESEND=0.3,CONTROLLER_SILENT=1,CONTROLLER_LOOK=0.1
RUNG_TIMERS=$RUNG_TIMERS,DECISION=1,ORPHAN=2,LAST_WORDS=0.2,FAREWELL=2,LOOK=0.1
RUNG_TIMERS=$RUNG_TIMERS,LAUNCH_RETRY=0.1,REQUESTS=0.05,VIEW=0.1
export RUNG_TIMERS

# What a failed test has left running would be waited for without end: whoever works in
# the test's area goes when the tests are done.
end_all()
{
    for cwd in /proc/[0-9]*/cwd; do
        pid=${cwd#/proc/}
        pid=${pid%/cwd}
        case $(readlink "$cwd") in
        "$SHARNESS_TRASH_DIRECTORY" | "$SHARNESS_TRASH_DIRECTORY"/*)
            test "$pid" = $$ || kill -9 "$pid" 2>/dev/null
            ;;
        esac
    done
}
cleanup end_all

# until_true COMMAND: waits until it succeeds.
until_true()
{
    end=$(($(date +%s) + PATIENCE))
    until eval "$1"; do
        if test "$(date +%s)" -gt "$end"; then
            echo "waited $PATIENCE s for: $1" >&2
            return 1
        fi
        sleep 0.02
    done
}

# sweep_file NAME COMMAND, with more keys on stdin: NAME.yaml.
sweep_file()
{
    cat >"$1.yaml" <<-END &&
	name: $1
	command: $2
	metric: loss
	END
    cat >>"$1.yaml"
}

# run_sweep NAME: runs NAME.yaml in directory NAME. What it says is in NAME.err. One that
# does not end is a failure, not a test that never ends.
run_sweep()
{
    timeout 120 rung run --quiet --dir "$1" "$1.yaml" 2>"$1.err"
}

# events NAME KIND [TEXT]: the lines of its journal of that kind with that text inside.
events()
{
    grep -h "^{\"e\":\"$2\"" "$1"/journal/*.jsonl | grep -F -e "${3-}"
}

# pids NAME: the processes that belong to the sweep in that directory: agents and their
# shims by their command line; programs, and whatever these leave, by their environment.
pids()
{
    dir=$(realpath "$1")
    # shellcheck disable=SC2062 # paths, not a pattern
    { grep -lzxF -e"RUNG_SWEEP_DIR=$dir" /proc/[0-9]*/environ
      grep -lzxF -e"$dir" /proc/[0-9]*/cmdline; } 2>/dev/null | cut -d / -f 3
}

# nobody_left NAME: no process.
nobody_left()
{
    until_true "test -z \"\$(pids '$1')\""
}

# homes NAME: the directories that agents had in /tmp. Programs of these tests write the
# paths of their sockets to NAME/sockets.
homes()
{
    sed 's|/[^/]*$||' "$1/sockets" | sort -u
}

# nothing_left NAME: no process, nothing in /tmp.
nothing_left()
{
    nobody_left "$1" &&
        for home in $(test ! -e "$1/sockets" || homes "$1"); do
            test ! -e "$home" || return
        done
}

# sound NAME: the journal is whole, and every decision in it is what it should be.
sound()
{
    rung replay --verify "$1" && rung fsck "$1"
}

# ends NAME PARAMETER: for each trial that parameter, the trial's state, its step, and how
# its attempts ended: outcome, exit status (-1: none), signal, and the steps they began at
# and got to (-1: none). From the tables that `rung export` writes.
ends()
{
    rung export --csv "$1" >&2 && awk -F, -v name="hp_$2" '
        FNR == 1 { split("", at); for (i = 1; i <= NF; i++) at[$i] = i; next }
        FILENAME ~ /trials.csv$/ {
            n = $at["trial"] + 1
            line[n] = $at[name] " " $at["state"] " " $at["step"] ":"
            next
        }
        { line[$at["trial"] + 1] = line[$at["trial"] + 1] " " $at["outcome"] \
              "(" $at["exit_code"] "," $at["signal"] ")" \
              $at["first_step"] "-" $at["last_step"] }
        END { for (i = 1; i <= n; i++) print line[i] }
    ' "$1/trials.csv" "$1/attempts.csv"
}

# begin NAME [OPTION...]: the same as run_sweep, in the background: $controller.
begin()
{
    name=$1
    shift
    rung run --dir "$name" "$@" "$name.yaml" 2>"$name.err" &
    controller=$!
}

# ended STATUS: waits for the controller to end, with that exit status.
ended()
{
    until_true "! test -e /proc/$controller/exe" || return
    wait "$controller"
    status=$?
    test "$status" = "$1" || { echo "exit status $status, not $1" >&2; return 1; }
}

# reached NAME N KIND [TEXT]: waits for N lines of the journal of that kind.
reached()
{
    until_true "test \$(events '$1' '$3' '${4-}' 2>/dev/null | wc -l) -ge $2"
}

# field NAME < LINES: the value of that member in each line of a journal.
field()
{
    sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^,\"}]*\\).*/\\1/p"
}

# What `sweep` runs.
# shellcheck disable=SC2154 # it is known
steps="sh '$top_srcdir/tests/steps.sh'"

# sweep NAME MODE [KEY...]: NAME.yaml with six trials of $steps, or as the keys say.
sweep()
{
    name=$1 mode=$2
    shift 2
    sweep_file "$name" "$steps" <<-END
	space: {x: "uniform(0, 1)"}
	schedule: {mode: $mode, grace_period: 3, max_t: 9}
	slots: 2
	$(printf '%s\n' "search: {trials: 6}" "$@")
	END
}

# going_on NAME: each attempt after the first began at the step that the one before it
# had saved, and lost nothing.
going_on()
{
    rung export --csv "$1" && awk -F, '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        # One that was ended before it reported got nowhere; and between saving and its end
        # a program may have reported once more.
        { from = $at["first_step"] + 0; trial = $at["trial"]; to = $at["last_step"] + 0 }
        $at["attempt"] > 1 && (from > last[trial] || from < last[trial] - 1) { exit 1 }
        { last[trial] = to > from ? to : from }' "$1/attempts.csv"
}

# hold, go: whether trials of steps.sh stay at step 1.
hold()
{
    : >hold
}

go()
{
    rm -f hold
}
