#!/bin/sh
test_description='rung doctor, at sites that we make up'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! test -x "$top_builddir/rung"; then
    skip_all='rung is not built'
    test_done
fi
python3 -c '' 2>/dev/null && test_set_prereq PYTHON
test "$(id -u)" -ne 0 && test_set_prereq NOT_ROOT
unset SLURM_JOB_ID SBATCH_PARTITION SBATCH_ACCOUNT SBATCH_QOS

# A PATH without Slurm, and one with commands that print files of $SITE.
mkdir plain bin site && SITE=$PWD/site && export SITE
for program in sh cat sleep; do
    ln -s "$(command -v $program)" plain/$program
done
cat >bin/answer <<\END
#!/bin/sh
case "$*" in
*config*) name=config ;;
*partition*) name=partition ;;
*associations*) name=associations ;;
*qos*) name=qos ;;
*) name=${0##*/} ;;
esac
echo "${0##*/} $*" >>"$SITE/calls"
test -e "$SITE/$name" || { echo "${0##*/}: error: no $name here" >&2; exit 1; }
exec cat "$SITE/$name"
END
chmod +x bin/answer
for program in sbatch scontrol sinfo sacctmgr sacct srun; do
    ln -s answer bin/$program
done
rung=$top_builddir/rung
without_slurm() { PATH=$PWD/plain "$@"; }
with_slurm() { PATH=$PWD/bin:$PWD/plain "$@"; }

if ! without_slurm "$rung" doctor | grep -q "agents would try"; then
    skip_all='no other machine could reach this one'
    test_done
fi

# A site with two partitions and two accounts.
echo "slurm 23.11.4" >site/sbatch
: >site/sacct
cat >site/config <<\END
Configuration data as of 2026-11-20T09:30:00
AccountingStorageEnforce = associations,limits,qos
AccountingStorageType   = accounting_storage/slurmdbd
AccountingStoreFlags    = job_comment
AcctGatherEnergyType    = (null)
ClusterName             = north
DefMemPerNode           = UNLIMITED
KillWait                = 30 sec
MaxArraySize            = 1001
MaxJobCount             = 10000
MpiDefault              = none
PreemptMode             = REQUEUE
PreemptType             = preempt/qos
ProctrackType           = proctrack/cgroup
SchedulerParameters     = defer,max_array_tasks=20
SelectTypeParameters    = CR_CORE_MEMORY
SlurmctldParameters     = enable_configless,rl_enable,rl_bucket_size=40
SLURM_VERSION           = 23.11.4
TaskPlugin              = task/cgroup,task/affinity

Cgroup Support Configuration:
ConstrainRAMSpace       = yes
END
cat >site/partition <<\END
PartitionName=cpu AllowAccounts=ALL AllowQos=ALL Default=YES QoS=N/A DefaultTime=01:00:00 MaxTime=2-00:00:00 State=UP JobDefaults=(null) DefMemPerNode=UNLIMITED
PartitionName=gpu AllowAccounts=lab AllowQos=ALL Default=NO QoS=gpus DefaultTime=NONE MaxTime=04:00:00 State=UP JobDefaults=(null) DefMemPerCPU=4000
PartitionName=old AllowAccounts=ALL AllowQos=ALL Default=NO QoS=N/A DefaultTime=NONE MaxTime=UNLIMITED State=INACTIVE JobDefaults=(null) DefMemPerCPU=4000
END
cat >site/sinfo <<\END
cpu*|9|mixed|64|257000|(null)
cpu*|1|down*|128|512000|(null)
gpu|2|idle|96|1031000|gpu:h100:4(S:0-1)
END
cat >site/associations <<\END
Cluster|Account|User|Partition|GrpTRES|MaxJobs|MaxTRES|MaxSubmit|MaxWall|QOS|Def QOS
north|lab|ada|||8||50||normal,long|normal
north|ops|ada||||cpu=16||||
south|sun|ada|||||||normal|
END
cat >site/qos <<\END
Name|GrpTRES|MaxTRES|MaxWall|MaxTRESPU|MaxJobsPU|MaxSubmitPU
normal||||||
long|||7-00:00:00|||
gpus||||gres/gpu=4||
END
printf "MPI plugin types are...\n\tnone\n\tpmi2\n\tpmix\n" >site/srun

# says MARK WHAT TEXT: a finding of out, however it is wrapped.
says() {
    awk '/^ {20}/ { sub(/^ */, " "); line = line $0; next } { print line; line = $0 }
        END { print line }' out | grep -E "^$1 +$2 +$3"
}

test_expect_success 'no Slurm: sweeps run on this machine' '
    without_slurm "$rung" doctor >out && cat out &&
    says ok Slurm "no sbatch on PATH: sweeps run on this machine" &&
    says ok rung "[0-9.]+ with HDF5 1" && says ok files "rename replaces, O_EXCL" &&
    says ok fsync "works, in" && says ok mpirun "not on PATH" &&
    grep "Nothing is bad" out && test -z "$(ls -A | grep rung-doctor)" &&
    awk "length(\$0) > 80 && !/\\//" out >long && test_must_be_empty long
'

test_expect_success 'a site, in one call each, on one screen' '
    : >site/calls && with_slurm "$rung" doctor >out && cat out site/calls &&
    says ok Slurm "23.11.4, cluster north, slurmctld answers" &&
    says ok arrays "1001 jobs each, max_array_tasks 20" &&
    says ok scheduler "limits requests: 40, then 2 a second; defer" &&
    says ok memory "is set aside, and jobs are held to it" &&
    says ok ends "KillWait 30 sec, proctrack/cgroup, preemption by REQUEUE" &&
    says ok "srun --mpi" "pmi2, pmix; none unless said" &&
    says ok accounting "sacct answers; energy is not measured, comments are kept" &&
    says ok partition "cpu \(default\): 2d 00h \(unless said 1h 00m\), 9 of 10 nodes up" &&
    says ok partition "gpu: 4h 00m, 2 of 2 nodes up" &&
    says ok partition "old: INACTIVE, no limit" &&
    says ok account "lab: 50 jobs submitted, 8 running, qos normal,long" &&
    says ok account "ops: cpu=16 each" && ! grep "account  *sun" out &&
    says ok qos "long: 7d 00h each" && ! grep "qos.*gpus:" out &&
    test $(wc -l <site/calls) = 8 && test $(wc -l <out) -lt 55 &&
    awk "length(\$0) > 80 && !/\\//" out >long && test_must_be_empty long
'

test_expect_success PYTHON 'as JSON' '
    with_slurm "$rung" doctor --json >out &&
    python3 - out <<-\END
	import json, sys
	d = json.load(open(sys.argv[1]))
	checks = d["checks"]
	assert d["bad"] == 0 == sum(c["mark"] == "bad" for c in checks)
	assert d["notes"] == sum(c["mark"] == "note" for c in checks)
	assert all(c["finding"] and c["group"] for c in checks)
	assert all(("next" in c) == (c["mark"] != "ok") for c in checks), checks
	assert any(c["check"] == "Slurm" and "north" in c["finding"] for c in checks)
	END
'

# with_gpus LINE...: doctor finds a driver, and GPUs that these lines tell of.
with_gpus() {
    printf '%s\n' "$@" >gpus && FAKE_NVML=$PWD/gpus \
        LD_LIBRARY_PATH=$top_builddir/tests/nvml without_slurm "${copy:-$rung}" doctor >out
    status=$? && cat out && return "$status"
}
driver='driver 550.54.15 12040'

test_expect_success 'GPUs, as their driver tells of them' '
    with_gpus "$driver" "gpu GPU-1 81920 1 0 60" &&
    says ok driver "550.54.15, for programs of CUDA up to 12.4" &&
    says ok GPUs "1: Fake H000, 80 GiB" &&
    with_gpus "$driver" "gpu GPU-1 81920 1 0 60 exclusive processes=1" \
        "gpu GPU-2 40960 1 0 60 mig" "gpu GPU-3 40960 1 0 60 exclusive ecc=3" &&
    says ok GPUs "3: Fake H000, 80 GiB; Fake H100, 40 GiB; Fake H200, 40 GiB" &&
    says note GPU "0: one process at a time may compute on it, and one does" &&
    says note GPU "1: it is cut into parts .MIG." &&
    says note GPU "2: 3 uncorrected errors of its memory" &&
    test $(grep -c "^note  GPU " out) = 3 &&
    with_gpus "$driver" && says note GPUs "the driver shows none to us"
'

test_expect_success 'GPUs that are broken, and what to do' '
    test_must_fail with_gpus "$driver" "gpu GPU-1 81920 1 0 60" \
        "gpu GPU-2 81920 1 0 60 lost" "gpu GPU-3 81920 1 0 60 prohibited" &&
    says ok GPUs "3: Fake H000, 80 GiB; one that tells nothing; Fake H200, 80 GiB" &&
    says bad GPU "1: it is lost: it has fallen off the bus" &&
    grep "leave it out: CUDA_VISIBLE_DEVICES" out &&
    says bad GPU "2: its compute mode lets nobody compute" &&
    grep "nvidia-smi -c DEFAULT" out &&
    test_must_fail with_gpus "init 18" &&
    says bad driver "the driver in the kernel and its libraries are of different" &&
    with_gpus "init 9" && says ok GPUs "none on this machine"
'

# plugged [WRONG]: with_gpus, where the plug-in is made up (tests/plugin.c).
plugged() {
    mkdir -p copy && cp "$rung" copy/rung && cp "$top_builddir/tests/nvml/librung_cuda.so" copy &&
        copy=$PWD/copy/rung FAKE_PLUGIN=${1-} && export FAKE_PLUGIN &&
        with_gpus "driver 580.1 13000" "gpu GPU-1 81920 1 0 60"
}

test_expect_success 'do driver, NCCL and plug-in match?' '
    with_gpus "$driver" "gpu GPU-1 81920 1 0 60" &&
    says note NCCL "2.99.1, of CUDA 13.0: too new for the driver, which has CUDA 12.4" &&
    grep "^note  plug-in" out && plugged && says ok NCCL "2.99.1, of CUDA 13.0$" &&
    says ok plug-in "rung-train finds 1 GPU: .*/copy/librung_cuda.so" &&
    FAKE_NCCL=old plugged && unset FAKE_NCCL &&
    says note NCCL "2.18.6, of CUDA 13.0: too old for rung-train" &&
    plugged driver && says note plug-in "CUDA: the driver is too old" &&
    plugged old && says note plug-in "it is of rung 0.0.1, and this is " &&
    plugged crash && says note plug-in ".*/copy/librung_cuda.so hangs or crashes" &&
    says ok GPUs "1: Fake H000, 80 GiB" &&
    echo nothing >copy/librung_cuda.so && chmod +x copy/librung_cuda.so &&
    with_gpus "$driver" "gpu GPU-1 81920 1 0 60" &&
    says note plug-in "it does not open: " && unset copy && rm -r copy
'

test_expect_success 'a driver that hangs is not waited for' '
    printf "%s\n" "$driver" "gpu GPU-1 81920 1 0 60" "gpu GPU-2 81920 1 0 60 hang" >gpus &&
    FAKE_NVML=$PWD/gpus LD_LIBRARY_PATH=$top_builddir/tests/nvml &&
    export FAKE_NVML LD_LIBRARY_PATH &&
    test_must_fail without_slurm "$rung" doctor --timeout 0.5s >out &&
    unset FAKE_NVML LD_LIBRARY_PATH && cat out &&
    says bad driver "asked about GPU 1 it hangs or crashes"
'

# sweep STATUS KEY...: says of a sweep with these keys are in out.
sweep() {
    status=$1 && shift
    cat >s.yaml <<-\END &&
	command: ./train
	metric: loss
	space: {x: "uniform(0, 1)"}
	search: {trials: 90}
	schedule: {method: none, max_t: 3}
	END
    printf "%s\n" "$@" >>s.yaml &&
        test_expect_code "$status" with_slurm "$rung" doctor s.yaml >all && cat all &&
        sed -n "/ sweep  /,\$p" all >out
}

test_expect_success 'a sweep that fits' '
    sweep 0 "slots: 30" "slurm: {account: lab}" "resources: {time: 1h, memory: 1G}" &&
    says ok sweep "s: 30 slots, 30 jobs in 2 arrays" &&
    says ok time "1h 00m a job, in cpu" && says ok limits "account lab runs 8 of the 30" &&
    says ok controller "its job goes to cpu" && says ok node "a job fits on 10 of cpu.s 10, 9 are up" &&
    sweep 0 "slurm: {partition: gpu, account: lab}" "slots: 8" \
        "resources: {time: 1h, gpus: 2}" &&
    says ok limits "the partition.s qos gpus allows 4 of gres/gpu: 2 of the 8 jobs"
'

test_expect_success 'a sweep that does not say what it needs' '
    sweep 0 "slots: 2" && says note time "not said, so jobs in cpu end after 1h 00m" &&
    says note memory "not said, so each job gets all of a node"
'

test_expect_success 'sweeps that do not fit' '
    sweep 1 "slurm: {partition: gpus}" &&
    says bad partition "there is no gpus \(did you mean gpu\?\)" &&
    sweep 1 "slurm: {partition: old}" && says bad partition "old is INACTIVE" &&
    sweep 1 "slurm: {partition: gpu, account: ops}" "resources: {time: 5h, gpus: 5}" &&
    says bad partition "gpu is not for account ops, but for lab" &&
    says bad time "5h 00m a job, and gpu allows 4h 00m" &&
    says bad node "0 of gpu.s have 1 CPUs, any memory, 5 GPUs together" &&
    sweep 1 "resources: {nodes: 3, tasks: 3, gpus: 1}" "slurm: {partition: gpu}" &&
    says bad node "2 of gpu.s have 1 CPUs, any memory, 1 GPUs" &&
    sweep 1 "resources: {tasks: 3}" "srun: {mpi: pmix_v9}" &&
    says bad tasks "3, under srun --mpi=pmix_v9, which is not there" &&
    sweep 1 "controller: {partition: old}" && says bad controller "old is INACTIVE" &&
    sweep 1 "slots: 60" "slurm: {account: lab}" &&
    says bad limits "60 jobs, and account lab has room for 50" &&
    sweep 1 "slurm: {account: ops}" "resources: {cpus: 32}" &&
    says bad limits "a job asks for 32 of cpu, and account ops allows 16" &&
    sweep 1 "slurm: {account: sun}" && says bad account "sun is not yours" &&
    sweep 1 "slurm: {account: lab, qos: short}" &&
    says bad qos "short is not yours in account lab, but normal,long" &&
    SBATCH_PARTITION=old && export SBATCH_PARTITION && sweep 1 "slots: 2" &&
    unset SBATCH_PARTITION && says bad partition "old is INACTIVE"
'

test_expect_success 'nothing but sbatch answers' '
    mkdir hidden && mv site/config site/partition hidden &&
    test_expect_code 1 with_slurm "$rung" doctor >out && mv hidden/* site && cat out &&
    says bad Slurm "scontrol: no config here" && grep "1 bad" out
'

test_expect_success 'without accounts and accounting' '
    mkdir -p hidden && mv site/associations site/qos site/sacct hidden &&
    sed -i.old "/Enforce/d; s|slurmdbd|none|" site/config &&
    with_slurm "$rung" doctor >out && mv hidden/* site && mv site/config.old site/config &&
    cat out && says note accounting "none here" && ! grep -E "^[a-z]+ +account " out
'

test_expect_success 'a scontrol that hangs' '
    rm bin/scontrol && printf "#!/bin/sh\nsleep 100\n" >bin/scontrol &&
    chmod +x bin/scontrol && began=$(date +%s) &&
    test_expect_code 1 with_slurm "$rung" doctor --timeout 1s >out && cat out &&
    test $(($(date +%s) - began)) -lt 60 &&
    says bad Slurm "scontrol: it did not answer in time" &&
    rm bin/scontrol && ln -s answer bin/scontrol
'

test_expect_success 'directories that do not do' '
    test_expect_code 1 without_slurm "$rung" doctor --dir nowhere >out && cat out &&
    says bad directory "nowhere: it cannot be found: No such file" &&
    test_expect_code 1 without_slurm "$rung" doctor --dir /proc >out && cat out &&
    says bad directory "/proc: nothing can be made in it"
'

test_expect_success NOT_ROOT 'a directory that may only be read' '
    mkdir read && chmod 500 read &&
    test_expect_code 1 without_slurm "$rung" doctor --dir read >out && cat out &&
    grep "nothing can be made in it: Permission denied" out
'

test_expect_success 'wrong usage' '
    test_expect_code 2 rung doctor a b 2>err && grep "one sweep file, please" err &&
    test_expect_code 2 rung doctor --timeout soon 2>err && grep -e "--timeout: " err &&
    echo "slots: 0" >wrong.yaml && test_expect_code 2 rung doctor wrong.yaml 2>err &&
    grep "wrong.yaml:1:8" err
'

test_done
