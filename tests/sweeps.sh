# Sourced after tests/setup.sh by the tests that run whole sweeps.
# shellcheck shell=sh

# Seconds until a test gives up waiting; what it waits for takes a moment.
PATIENCE=30

# Short, so that what is ended late is ended soon. The agents inherit them.
RUNG_TIMERS=KILL=0.5,STAY=1,BEAT=0.2,RESEND=0.3,CONTROLLER_SILENT=1,CONTROLLER_LOOK=0.1
RUNG_TIMERS=$RUNG_TIMERS,DECISION=1,ORPHAN=2,LAST_WORDS=0.2,FAREWELL=2,LOOK=0.1
RUNG_TIMERS=$RUNG_TIMERS,LAUNCH_RETRY=0.1,REQUESTS=0.05,VIEW=0.1
export RUNG_TIMERS

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
    cat "$1"/journal/*.jsonl | grep "^{\"e\":\"$2\"" | grep -F -e "${3-}"
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

# nothing_left NAME: no process, no socket in /tmp. Programs of these tests write the
# paths of their sockets to NAME/sockets.
nothing_left()
{
    until_true "test -z \"\$(pids '$1')\"" &&
        if test -e "$1/sockets"; then
            sort -u "$1/sockets" | while read -r path; do
                test ! -e "${path%/*}" || return 1
            done
        fi
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
