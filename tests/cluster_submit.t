#!/bin/sh
test_description='sweeps on a real Slurm that refuses jobs, ends them at once, or keeps no accounts'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"
PATIENCE=90
RUNG_TIMERS=$RUNG_TIMERS,SQUEUE=1,UNSEEN=5,ORPHAN=60,DECISION=300,ACCOUNT=2,LAST_ACCOUNT=5
RUNG_TIMERS=$RUNG_TIMERS,SUBMIT_RETRY=1

# here NAME: runs the sweep, its controller here and no job of its own.
here()
{
    slurm rung run --quiet --foreground --executor slurm --dir "$1" "$1.yaml" 2>"$1.err"
    status=$?
    cat "$1.err" >&2
    return "$status"
}

# submitted NAME: its jobs, each once.
submitted()
{
    events "$1" job | field job | sort -u
}

nodes=

# on_nodes COMMAND...: a command that sees the files as jobs on $nodes do.
on_nodes()
{
    for node in $nodes; do
        for pid in $(pgrep -f "^slurmd -D -N $node\$"); do
            if grep -qzx "SLURM_CONF=$at/etc/slurm.conf" "/proc/$pid/environ"; then
                nsenter -t "$pid" -m "$@" || return
            fi
        done
    done
}

# three_jobs NAME WHY: that many were submitted, and the sweep paused for that reason.
three_jobs()
{
    test "$(submitted "$1" | wc -l)" = 3 && test_must_fail events "$1" start &&
        events "$1" pause >&2 && grep "^rung: paused: job [0-9_]* ended before its.*$2" "$1.err"
}

test_expect_success 'up' '
    at=$(cluster_up --nodes 4 --set MaxArraySize=5 --set MessageTimeout=5)
'

test_expect_success 'arrays are no larger than the site has them' '
    asha arrays 0.5 "search: {trials: 12}" "slots: 12" && here arrays && submitted arrays &&
    test $(submitted arrays | cut -d _ -f 1 | uniq | wc -l) = 3 &&
    test $(submitted arrays | wc -l) = 12 && settled arrays
'

test_expect_success 'MaxSubmitJobs: fewer are asked for, and what Slurm says is shown once' '
    slurm sacctmgr -i modify user root set MaxSubmitJobs=3 &&
    within 30 "test_must_fail slurm sbatch --array=0-3 --hold --wrap true" &&
    asha limit 0.5 "search: {trials: 12}" "slots: 8" && here limit &&
    test $(grep -c "^rung: sbatch: AssocMaxSubmitJobLimit; .*QOS policy" limit.err) = 1 &&
    test $(submitted limit | wc -l) -ge 2 && settled limit
'

test_expect_success 'and so it is where the controller and the next are two of three jobs' '
    asha limits 0.5 "search: {trials: 8}" "slots: 8" &&
    slurm rung submit --dir limits limits.yaml && finishes limits &&
    test $(cat limits/jobs/controller-*.log | grep -c AssocMaxSubmitJobLimit) = 1 &&
    slurm sacctmgr -i modify user root set MaxSubmitJobs=-1 &&
    within 30 "slurm sbatch --array=0-3 -o /dev/null --wrap true" && settled limits
'

# With pauses between, which are no shorter than they should be.
test_expect_success 'sbatch fails three times, and then works' '
    mkdir bin && cat >bin/sbatch <<-\END &&
	#!/bin/sh
	date +%s.%N >>"${0%/*}/calls"
	test $(wc -l <"${0%/*}/calls") -gt 3 || {
	    echo "sbatch: error: Batch job submission failed: Socket timed out on" \
	        "send/recv operation" >&2
	    exit 1
	}
	exec /usr/bin/sbatch "$@"
	END
    chmod +x bin/sbatch && asha thrice 0.2 "search: {trials: 4}" "slots: 2" &&
    (PATH=$PWD/bin:$PATH && here thrice) && cat bin/calls &&
    awk "NR > 1 && NR < 5 && \$1 < last + 2 ^ (NR - 2) { exit 1 } { last = \$1 }
        END { exit NR < 4 }" bin/calls &&
    test $(grep -c "^rung: sbatch: .*Socket timed out on send/recv operation" thrice.err) = 1 &&
    settled thrice
'

test_expect_success 'setup fails: three jobs and no more, and its last words' '
    asha setup 0.2 "search: {trials: 4}" "slots: 1" "setup: echo no such module >&2; exit 7" &&
    test_expect_code 1 here setup &&
    three_jobs setup "Slurm says FAILED .*/setup/jobs/.*log, and ends: no such module$" &&
    settled setup
'

test_expect_success 'no node sees the directory: three jobs and no more, and the question why' '
    asha nowhere 0.2 "search: {trials: 4}" "slots: 1" && nodes="n1 n2 n3 n4" &&
    on_nodes mount -t tmpfs none "$PWD" && { test_expect_code 1 here nowhere; on_nodes umount "$PWD"; } &&
    three_jobs nowhere "Slurm says FAILED .*no output in .*does its node see that directory?" &&
    settled nowhere
'

test_expect_success 'one node does not: it gets two jobs and no more, the others do it all' '
    asha lacks 1 "search: {trials: 24}" "slots: 16" "slots_per_job: 4" \
        "schedule: {method: none, max_t: 16}" && nodes=n2 &&
    on_nodes mount -t tmpfs none "$PWD" && { here lacks; on_nodes umount "$PWD"; } &&
    test $(events lacks end completed | wc -l) = 24 &&
    test $(grep -c "ended before its agent could join" lacks.err) = 2 &&
    grep "^rung: no more jobs of this sweep go to n2: 2 ended there" lacks.err &&
    settled lacks
'

test_expect_success 'two sweeps of one name: neither has the jobs of the other' '
    asha same 0.5 "search: {trials: 12}" "slots: 4" "steps: yes" && mkdir other &&
    slurm rung submit --dir same same.yaml && slurm rung submit --dir other/same same.yaml &&
    reached same 4 report && reached other/same 4 report && slurm rung stop same &&
    finishes same && finishes other/same &&
    test $(events other/same trial | wc -l) = 12 &&
    test "$(outcomes other/same)" = "$(printf "%s\n" completed paused)" &&
    submitted same >one && submitted other/same >two && test -s one && test -s two &&
    test -z "$(comm -12 one two)" && settled same && settled other/same
'

test_expect_success 'two sweeps of different names' '
    asha one 0.5 "search: {trials: 12}" "slots: 4" &&
    asha two 0.5 "search: {trials: 12}" "slots: 4" &&
    slurm rung submit --dir sweep_one one.yaml && slurm rung submit --dir sweep_two two.yaml &&
    finishes sweep_one && finishes sweep_two && test $(events sweep_one trial | wc -l) = 12 &&
    test $(events sweep_two trial | wc -l) = 12 && settled sweep_one && settled sweep_two
'

test_expect_success 'slurmdbd goes away: the sweep ends, and says what is missing' '
    asha dbd 0.5 "search: {trials: 8}" "slots: 4" "steps: yes" &&
    { here dbd & } && reached dbd 4 report && "$cluster" dbd "$at" stop && wait &&
    grep "^rung: sacct: .*; sweep.h5 goes without what it would say" dbd.err &&
    test $(events dbd trial | wc -l) = 8 && "$cluster" dbd "$at" start && settled dbd
'

test_expect_success 'there is no sacct' '
    mkdir all && ln -s /usr/bin/* all && rm all/sacct &&
    asha nosacct 0.5 "search: {trials: 8}" "slots: 4" "steps: yes" &&
    (PATH=$top_builddir:$PWD/all && here nosacct) &&
    grep "^rung: sacct cannot be started; sweep.h5 goes without" nosacct.err &&
    test_must_fail events nosacct account && test $(events nosacct trial | wc -l) = 8 &&
    settled nosacct
'

test_expect_success 'there are no accounts' '
    slurm true && "$cluster" ctld "$at" stop && "$cluster" dbd "$at" stop &&
    sed -i -e "/^AccountingStorage\(Enforce\|TRES\)=/d" \
        -e "s/^\(AccountingStorageType\)=.*/\1=accounting_storage\/none/" \
        "$at/etc/slurm.conf" && "$cluster" ctld "$at" start &&
    asha none 0.5 "search: {trials: 8}" "slots: 4" "steps: yes" && here none &&
    grep "^rung: sacct: .*storage is disabled; sweep.h5 goes without" none.err &&
    test_must_fail events none account && test $(events none trial | wc -l) = 8 && settled none
'

test_expect_success 'down' '
    "$cluster" down "$at"
'

test_done
