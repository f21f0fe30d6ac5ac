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
