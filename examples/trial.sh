#!/bin/sh
# A trial in sh that trains nothing: its loss falls towards a floor that is lowest where
# lr is 0.01. What a real program would do is all here: parameters, steps, a checkpoint to
# go on from, reports, and doing as one is told.
#
#     sh trial.sh              by hand: nine steps
#     command: sh trial.sh     in a sweep file, with lr: loguniform(1e-4, 1) in space
#     command: sh trial.sh 0.5 the same, each step taking half a second
set -eu
seconds=${1:-0}
lr=${RUNG_PARAM_lr:-0.001}
start=${RUNG_START:-0}
checkpoint=${RUNG_CHECKPOINT_DIR:-.}/trial.checkpoint
last=9
test -z "${RUNG_SOCKET:-}" || last=999999999

# A checkpoint is there as a whole or not at all: it is written beside, and renamed.
save()
{
    echo "$step $loss" >"$checkpoint.new"
    mv "$checkpoint.new" "$checkpoint"
    rung log saved="$step"
}

loss=1
if test "$start" -gt 0; then
    read -r step loss <"$checkpoint"
    test "$step" -eq "$start"
fi
step=$start
while test "$step" -lt "$last"; do
    step=$((step + 1))
    sleep "$seconds"
    loss=$(awk -v lr="$lr" -v loss="$loss" 'BEGIN {
        floor = 0.1 + 0.2 * (log(lr) / log(10) + 2) ^ 2
        printf "%.9g", loss + 0.3 * (floor - loss)
    }')
    status=0
    wanted=$(rung log step="$step" val_loss="$loss") || status=$?
    case $status in
    0) test "$wanted" != save || save ;;
    3) save && exit ;;
    4) exit ;;
    *) exit 1 ;;
    esac
    test -n "${RUNG_SOCKET:-}" || echo "$wanted"
done
