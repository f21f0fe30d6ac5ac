# Sourced after tests/setup.sh by the tests that want a Slurm cluster (`make
# check-cluster`): they are skipped where tests/cluster cannot make one.
# shellcheck shell=sh disable=SC2154

cluster=$top_srcdir/tests/cluster

PATH=$PATH:/usr/sbin:/sbin
why_not=
for program in slurmctld slurmd slurmdbd sbatch srun sacct munged mariadbd ip; do
    command -v $program >/dev/null || why_not="$program not found"
done
test "$(id -u)" = 0 || why_not='a cluster wants root'
if test -n "$why_not"; then
    # shellcheck disable=SC2034
    skip_all="$why_not; what is needed: packages_cluster in packages.sh"
    test_done
fi

# cluster_up OPTION...: prints the directory of a cluster that ends with this test, at the
# latest; its nodes see the test's files.
cluster_up()
{
    "$cluster" up --for $$ --share "$top_srcdir" --share "$top_builddir" "$@"
}

# within SECONDS COMMAND: waits until the command succeeds.
within()
{
    end=$(($(date +%s) + $1))
    until eval "$2"; do
        if test "$(date +%s)" -gt "$end"; then
            echo "waited $1 s for: $2" >&2
            return 1
        fi
        sleep 0.2
    done
}

# job_state DIR JOB: what sacct says of it, each state once.
job_state()
{
    "$cluster" run "$1" sacct -X -n -P -o state -j "$2" | sort -u
}

# The cluster that these talk to: the test sets it.
at=

# slurm COMMAND...: one of Slurm's, or one that calls these.
slurm()
{
    timeout 120 "$cluster" run "$at" "$@"
}

# queued: how many jobs are there.
queued()
{
    slurm squeue -h --array | wc -l
}

# controller NAME: the job of the sweep's controller that runs, and its node.
controller()
{
    slurm squeue -h --state=RUNNING --format="%i %N" \
        --name="$(sed -n 's/^#SBATCH --job-name=//p' "$1/jobs/controller.sh")"
}

# at_work: the processes in the cluster, on any node, that are not Slurm's own.
at_work()
{
    init=$(sed -n '/"init"/{n;s/[^0-9]//gp}' "$at/cluster.json")
    own='(slurmd|slurmctld|slurmdbd|munged|mariadbd|[^ ]*python3 [^ ]*cluster)( |$)'
    ps -e -o pid= -o ppid= -o args= | awk -v init="$init" -v own="^ *[0-9]+ +[0-9]+ $own" '
        { parent[$1] = $2; line[$1] = $0 }
        END {
            for (pid in parent) {
                for (p = pid; p in parent && p != init;)
                    p = parent[p]
                if (p == init && pid != init && line[pid] !~ own "|: slurmscriptd$")
                    print line[pid]
            }
        }'
}

# settled NAME: what has to hold when the sweep in that directory has ended, whatever
# happened to it: no job and no process is left, the journal is sound, no two attempts of
# a trial counted at once, and nothing that was accepted is lost, nor missing in sweep.h5.
settled()
{
    if ! within 60 "test \$(queued) = 0" || ! within 60 "test -z \"\$(at_work)\""; then
        slurm squeue >&2
        at_work >&2
        return 1
    fi
    nobody_left "$1" && sound "$1" &&
        /usr/bin/python3 "$top_srcdir/tests/cluster_left.py" "$1"
}

# attempts NAME COLUMN...: of its sweep.h5, a line an attempt; what is empty is `-`.
attempts()
{
    /usr/bin/python3 "$top_srcdir/tests/cluster_attempts.py" "$@"
}

# asha NAME SECONDS KEY...: NAME.yaml, whose trials (tests/cluster_trial.sh) take so long for
# a step, and are compared after 2 and 4 of 8, or as the keys say.
asha()
{
    name=$1 seconds=$2
    shift 2
    schedule="method: asha, grace_period: 2, reduction_factor: 2, max_t: 8"
    sweep_file "$name" "sh '$top_srcdir/tests/cluster_trial.sh' $seconds" <<-END_OF_FILE
	space: {x: "uniform(0, 1)"}
	$(printf '%s\n' "$@" | grep '^schedule:' || echo "schedule: {$schedule}")
	$(printf '%s\n' "$@" | grep -v '^schedule:')
	END_OF_FILE
}

# finishes NAME: waits for the sweep to finish, and shows what its jobs said.
finishes()
{
    within 150 "grep -q finished '$1/controller.json' 2>/dev/null"
    status=$?
    cat "$1"/jobs/*.log >&2
    return "$status"
}

# outcomes NAME: of its attempts, each once.
outcomes()
{
    events "$1" end | field outcome | sort -u
}
