#!/bin/sh
test_description='a Slurm cluster on one machine, to test with'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/clusters.sh
. "$top_srcdir/tests/clusters.sh"

if command -v mpicc >/dev/null; then
    test_set_prereq MPI
fi

one=

# in_one COMMAND...: with the first cluster, for as long as a test may take at most.
in_one()
{
    timeout 60 "$cluster" run "$one" "$@"
}

# begun FILE: the job has written its host's name there.
begun()
{
    within 30 "test -s $1"
}

# id DIR: what the names of the cluster's cgroups and network devices contain.
id()
{
    sed -n 's/.*"id": "\(.*\)".*/\1/p' "$1/cluster.json"
}

# gone DIR ID: nothing is left of it.
gone()
{
    test ! -e "$1" &&
        test -z "$(pgrep -f "$1")" &&
        ! grep -q "$1" /proc/mounts &&
        ! ip link | grep -q "rg$2" &&
        test -z "$(find /sys/fs/cgroup -name "rung-$2")"
}

test_expect_success 'a cluster comes up' '
    one=$(cluster_up --netns --memory --set SlurmdTimeout=10) &&
    one_id=$(id "$one") &&
    in_one sinfo -h -N -p main -o "%N %T %c %G" >nodes &&
    printf "n%d idle 4 gpu:2\n" 1 2 3 4 >expected &&
    test_cmp expected nodes
'

test_expect_success 'partitions are open, short and down' '
    in_one sinfo -h -o "%P %a %l" >partitions &&
    printf "%s\n" "main* up infinite" "short up 1:00" "down down infinite" >expected &&
    test_cmp expected partitions
'

test_expect_success 'an array runs, and accounting knows it' '
    job=$(in_one sbatch --parsable --wait --array=0-9 -o "out.%a" --wrap "srun hostname") &&
    grep -h "^n[1-4]$" out.[0-9] >hosts && test "$(wc -l <hosts)" = 10 &&
    within 30 "in_one sacct -n -P -o jobid,state -j $job >steps &&
        grep -q \"^${job}_9.0|COMPLETED\" steps" &&
    within 30 "test \"\$(job_state $one $job)\" = COMPLETED"
'

test_expect_success 'a job that asks for nothing gets a CPU, not its node' '
    in_one sbatch -J many --array=0-19 -o /dev/null --wrap "sleep 600" &&
    within 30 "test \$(in_one squeue -h -t R -n many | wc -l) = 16" &&
    in_one scancel -n many &&
    within 60 "test -z \"\$(in_one squeue -h)\""
'

test_expect_success 'a user without rights has an account, too' '
    mkdir open && chmod 777 open &&
    in_one setpriv --reuid=nobody --regid=nogroup --clear-groups \
        sbatch --wait -o "$PWD/open/out" --wrap "id -un" &&
    echo nobody >expected && test_cmp expected open/out
'

test_expect_success 'fake GPUs are given out' '
    in_one srun -n1 --gres=gpu:1 sh -c "echo \$CUDA_VISIBLE_DEVICES" >gpus &&
    in_one srun -n1 --gres=gpu:2 sh -c "echo \$CUDA_VISIBLE_DEVICES" >>gpus &&
    printf "0\n0,1\n" >expected && test_cmp expected gpus
'

test_expect_success MPI 'MPI ranks on two nodes find each other by PMIx' '
    mpicc -o sum "$top_srcdir/tests/mpi.c" &&
    in_one srun --mpi=pmix -N2 -n4 --ntasks-per-node=2 ./sum >ranks &&
    test "$(wc -l <ranks)" = 4 &&
    test "$(grep -c "4 ranks, sum 6$" ranks)" = 4 &&
    test "$(cut -d " " -f 4 ranks | sort -u | wc -l)" = 2
'

test_expect_success 'a step that takes more memory than it asked for is ended' '
    test_must_fail in_one srun -J hog -n1 --mem=50 \
        python3 -c "x = bytearray(300 << 20)" 2>hog &&
    within 30 "in_one sacct -n -X -P -o state --name hog | grep OUT_OF_MEMORY"
'

test_expect_success 'a QOS limits what is submitted' '
    for i in 1 2; do in_one sbatch -H --qos=tiny -o /dev/null --wrap true || return; done &&
    test_must_fail in_one sbatch -H --qos=tiny -o /dev/null --wrap true 2>refused &&
    grep QOSMaxSubmitJobPerUserLimit refused &&
    in_one scancel --qos=tiny
'

test_expect_success 'jobs wait for a partition that is down, and for time they may not have' '
    in_one sbatch -p down -o /dev/null --wrap true &&
    in_one sbatch -p short -t 2 -o /dev/null --wrap true &&
    within 30 "in_one squeue -h -o %r | grep -x PartitionDown" &&
    within 30 "in_one squeue -h -o %r | grep -x PartitionTimeLimit" &&
    in_one scancel -p down --user=root && in_one scancel -p short --user=root
'

test_expect_success 'scancel ends what does not want to end' '
    job=$(in_one sbatch --parsable -o stubborn --wrap \
        "trap : TERM; hostname; setsid sleep 3210 & sleep 3210") &&
    begun stubborn && in_one scancel "$job" &&
    within 30 "test_must_fail pgrep -f \"sleep 3210\""
'

# Slurm looks every 30 s whether the time of grace, 10 s, is over.
test_expect_success 'a job of QOS high has one of QOS low requeued' '
    within 60 "test -z \"\$(in_one squeue -h)\"" &&
    low=$(in_one sbatch --parsable --qos=low -N4 -n16 -o low --wrap \
        "hostname; sleep 600") &&
    begun low &&
    high=$(in_one sbatch --parsable --qos=high -N4 -n16 -o high --wrap hostname) &&
    within 90 "test -s high" &&
    within 30 "in_one sacct -D -X -n -P -o state -j $low | grep PREEMPTED" &&
    in_one scancel "$low"
'

test_expect_success 'slurmd alone ends: what runs there runs on' '
    job=$(in_one sbatch --parsable -w n1 -o on --wrap \
        "while sleep 0.2; do echo \$((i += 1)) >>ticks; done") &&
    begun ticks &&
    "$cluster" node "$one" n1 stop &&
    had=$(wc -l <ticks) &&
    within 10 "test \$(wc -l <ticks) -gt $had" &&
    "$cluster" node "$one" n1 start &&
    test "$(in_one squeue -h -o %T -j "$job")" = RUNNING &&
    in_one scancel "$job" &&
    within 60 "test -z \"\$(in_one squeue -h -j $job)\""
'

test_expect_success 'a node is cut off and joins again' '
    "$cluster" node "$one" n4 cut &&
    within 90 "in_one sinfo -h -n n4 -p main -o %T | grep down" &&
    "$cluster" node "$one" n4 join &&
    within 90 "in_one sinfo -h -n n4 -p main -o %T | grep -x idle"
'

test_expect_success 'a node loses power, and comes back' '
    job=$(in_one sbatch --parsable --no-requeue -w n2 -o power --wrap \
        "trap : TERM; hostname; setsid sleep 4321 & sleep 4321") &&
    begun power &&
    "$cluster" node "$one" n2 kill &&
    test_must_fail pgrep -f "sleep 4321" &&
    within 90 "job_state $one $job | grep NODE_FAIL" &&
    "$cluster" node "$one" n2 start &&
    within 60 "in_one sinfo -h -n n2 -p main -o %T | grep -x idle"
'

test_expect_success 'sacct learns later of a job that ran without slurmdbd' '
    "$cluster" dbd "$one" stop &&
    job=$(in_one sbatch --parsable --wait -o /dev/null --wrap true) &&
    test_must_fail in_one sacct 2>dbd.err &&
    "$cluster" dbd "$one" start &&
    within 60 "test \"\$(job_state $one $job)\" = COMPLETED"
'

test_expect_success 'slurmctld and slurmdbd stop and start' '
    "$cluster" dbd "$one" stop &&
    "$cluster" ctld "$one" stop && test_must_fail in_one sinfo --noheader 2>ctld.err &&
    "$cluster" ctld "$one" start &&
    "$cluster" ctld "$one" kill && "$cluster" ctld "$one" start &&
    "$cluster" dbd "$one" start &&
    in_one srun -n1 hostname &&
    "$cluster" status "$one" | grep "n1 n2 n3 n4 slurmctld slurmdbd"
'

test_expect_success 'another cluster is a world of its own' '
    two=$(cluster_up --nodes 1 --gpus 0 --set MaxArraySize=3) &&
    two_id=$(id "$two") &&
    "$cluster" run "$two" sbatch -o begun --wrap \
        "trap : TERM; setsid sleep 5432 & hostname; sleep 5432" &&
    begun begun &&
    "$cluster" run "$two" squeue -h -o %N >hosts && test "$(wc -l <hosts)" = 1 &&
    in_one squeue -h >own && test ! -s own &&
    test_must_fail "$cluster" run "$two" sbatch --array=0-3 -o /dev/null --wrap true &&
    "$cluster" down "$two" && gone "$two" "$two_id" &&
    test_must_fail pgrep -f "sleep 5432" &&
    in_one srun -n1 hostname
'

test_expect_success 'a cluster with a keeper that was killed goes all the same' '
    two=$(cluster_up --nodes 1) && two_id=$(id "$two") &&
    keeper=$(sed -n "/keeper/{n;s/[^0-9]//gp}" "$two/cluster.json") &&
    kill -9 "$keeper" &&
    within 10 "test_must_fail pgrep -f $two/" &&
    "$cluster" down "$two" && gone "$two" "$two_id"
'

test_expect_success 'a cluster goes down with the process it is for' '
    sleep 1000 & for=$! &&
    two=$("$cluster" up --nodes 1 --for "$for") && two_id=$(id "$two") &&
    kill "$for" && within 30 "gone $two $two_id"
'

test_expect_success 'one that cannot come up says why and leaves nothing' '
    two=$(mktemp -d) &&
    test_must_fail "$cluster" up "$two" --set SelectType=select/none 2>why &&
    grep -- "--- $two/log/slurmctld" why && grep "select/none" why &&
    gone "$two" none
'

test_expect_success 'down leaves nothing' '
    in_one sbatch --array=0-9 -o "left.%a" --wrap "trap : TERM; hostname; sleep 6543" &&
    begun left.9 &&
    "$cluster" down "$one" && gone "$one" "$one_id" &&
    test_must_fail pgrep -f "sleep 6543"
'

test_done
