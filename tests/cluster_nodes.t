#!/bin/sh
test_description='sweeps on a real Slurm whose daemons and nodes fail'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
PATIENCE=90
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=1,UNSEEN=5,ORPHAN=60,DECISION=300,ACCOUNT=2,LAST_ACCOUNT=5

# on_node NAME NODE: the processes there that belong to the sweep in that directory.
on_node()
{
    for pid in $(pids "$1"); do
        if grep -qzx "SLURMD_NODENAME=$2" "/proc/$pid/environ" 2>/dev/null; then
            echo "$pid"
        fi
    done
}

# slot_node NAME: a node where attempts of it run, and its controller does not.
slot_node()
{
    events "$1" job joined | field host | grep -vx "$(controller "$1" | cut -d ' ' -f 2)" |
        head -n 1
}

# is NODE STATE: by what Slurm says of it.
is()
{
    slurm sinfo -h -p main -n "$1" -o %T | grep -q "^$2"
}

# begins NAME N: the sweep, until its trials have reported N times.
begins()
{
    slurm rung submit --dir "$1" "$1.yaml" && reached "$1" "$2" report
}

test_expect_success 'up' '
    at=$(cluster_up --nodes 4 --netns --set SlurmdTimeout=5 --set MessageTimeout=5)
'

test_expect_success 'a sweep that nothing happens to leaves nothing' '
    asha quiet 0.2 "search: {trials: 6}" "slots: 3" && begins quiet 1 &&
    test -n "$(pids quiet)" && test -n "$(at_work)" && finishes quiet && settled quiet
'

# The one sweep has nothing to start meanwhile, the other one has.
test_expect_success 'slurmctld is away for a minute: what runs reports, what is to start waits' '
    asha long 2 "search: {trials: 3}" "slots: 3" "steps: yes" \
        "schedule: {method: none, max_t: 50}" &&
    asha short 1 "search: {trials: 24}" "slots: 3" "steps: yes" "retry: {failures: 0}" &&
    begins long 3 && begins short 3 && "$cluster" ctld "$at" stop &&
    had=$(events long report | wc -l) && sleep 60 &&
    now=$(events long report | wc -l) && "$cluster" ctld "$at" start &&
    echo "reports: $had, then $now" && test $now -ge $((had + 30)) &&
    finishes long && finishes short && test "$(outcomes long)" = completed &&
    events short end launch_failed &&
    test "$(outcomes short)" = "$(printf "%s\n" completed launch_failed paused)" &&
    test $(events short epoch | wc -l) = 1 &&
    test $(grep -hc "it is tried again: .*contact slurm controller" short/jobs/controller-*.log) = 1 &&
    settled long && settled short
'

# Slurm ends the job, and what ran on in it when its slurmd is back. Steps, meanwhile,
# cannot be started there.
for steps in no yes; do
    test_expect_success "slurmd is killed, and comes back to what ran on (steps: $steps)" '
        name=zombies_$steps && asha $name 1 "search: {trials: 24}" "slots: 8" \
            "slots_per_job: 4" "steps: $steps" "retry: {failures: 0}" && begins $name 8 &&
        : >$name.hold && dead=$(slot_node $name) && "$cluster" node "$at" $dead stop &&
        within 60 "is $dead down" && test -n "$(on_node $name $dead)" &&
        "$cluster" node "$at" $dead start &&
        within 60 "test -z \"\$(on_node $name $dead)\"" && rm $name.hold &&
        finishes $name && outcomes $name && test_must_fail events $name end "\"failed\"" &&
        test $(events $name epoch | wc -l) = 1 && settled $name
    '
done

test_expect_success 'slurmd stays away: its job is given up, as no step starts there' '
    asha away 1 "search: {trials: 24}" "slots: 8" "slots_per_job: 4" "steps: yes" &&
    begins away 8 && dead=$(slot_node away) && "$cluster" node "$at" $dead stop &&
    within 60 "test -z \"\$(on_node away $dead)\"" && finishes away &&
    events away end launch_failed && "$cluster" node "$at" $dead start &&
    within 60 "is $dead idle" && settled away
'

test_expect_success 'a node is cut off, and joins: its trials go on elsewhere meanwhile' '
    asha cut 1 "search: {trials: 12}" "slots: 8" "slots_per_job: 4" "steps: no" \
        "schedule: {method: asha, grace_period: 10, max_t: 20}" && begins cut 8 &&
    dead=$(slot_node cut) && "$cluster" node "$at" $dead cut &&
    within 60 "events cut end node_fail" && within 60 "events cut start \"\\\"attempt\\\":2\"" &&
    test -n "$(on_node cut $dead)" && "$cluster" node "$at" $dead join &&
    within 60 "test -z \"\$(on_node cut $dead)\"" && finishes cut &&
    test $(wc -l <cut.told) -gt $(events cut report | wc -l) && settled cut
'

# Nobody but the agent itself ends it: slurmd is dead.
test_expect_success 'what was cut off and comes back when its job is over is refused, and ends' '
    asha refused 1 "search: {trials: 12}" "slots: 8" "slots_per_job: 4" "steps: no" \
        "schedule: {method: asha, grace_period: 10, max_t: 20}" && begins refused 8 &&
    dead=$(slot_node refused) && "$cluster" node "$at" $dead stop &&
    "$cluster" node "$at" $dead cut && within 60 "events refused end node_fail" &&
    within 60 "events refused start \"\\\"attempt\\\":2\"" &&
    test -n "$(on_node refused $dead)" && "$cluster" node "$at" $dead join &&
    within 60 "test -z \"\$(on_node refused $dead)\"" && finishes refused &&
    grep "leaves: its job is over" refused/jobs/*.log &&
    test $(wc -l <refused.told) -gt $(events refused report | wc -l) &&
    "$cluster" node "$at" $dead start && within 60 "is $dead idle" && settled refused
'

# The old controller lives on, and ends when it finds that it has a successor.
test_expect_success 'slurmd is killed under a controller, which gives way to the next' '
    asha two 1 "search: {trials: 24}" "slots: 8" "slots_per_job: 4" "steps: yes" &&
    begins two 8 && : >two.hold && old=$(controller two | cut -d " " -f 2) &&
    "$cluster" node "$at" $old stop &&
    within 90 "test \$(events two epoch | wc -l) = 2" && rm two.hold &&
    within 60 "test -z \"\$(on_node two $old)\"" && finishes two &&
    grep "has taken over, as epoch 2" two/jobs/controller-*.log &&
    "$cluster" node "$at" $old start && within 60 "is $old idle" &&
    test "$(outcomes two)" = "$(printf "%s\n" completed paused)" &&
    test $(events two epoch | wc -l) = 2 && settled two
'

test_expect_success 'the node of a controller is cut off, with slots on it, and joins' '
    asha apart 1 "search: {trials: 24}" "slots: 10" "slots_per_job: 1" "steps: no" &&
    begins apart 10 && old=$(controller apart | cut -d " " -f 2) && : >apart.hold &&
    test $(on_node apart $old | wc -l) -gt 1 && "$cluster" node "$at" $old cut &&
    within 90 "test \$(events apart epoch | wc -l) = 2" && rm apart.hold &&
    within 60 "events apart end node_fail" && "$cluster" node "$at" $old join &&
    within 60 "test -z \"\$(on_node apart $old)\"" && finishes apart &&
    test "$(outcomes apart)" = "$(printf "%s\n" completed node_fail paused)" &&
    test $(events apart epoch | wc -l) = 2 && settled apart
'

test_expect_success 'down' '
    "$cluster" down "$at"
'

test_done
