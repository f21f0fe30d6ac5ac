#!/bin/sh
test_description='jobs of Slurm: their scripts, and the agents in them'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

if ! test -x "$top_builddir/rung"; then
    skip_all='rung is not built'
    test_done
fi
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

unset SLURM_JOB_ID SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID

# in_job ARRAY_TASK COMMAND...: as in a task of a job array.
in_job() {
    job=$1 && shift
    SLURM_JOB_ID=900 SLURM_ARRAY_JOB_ID=${job%_*} SLURM_ARRAY_TASK_ID=${job#*_} \
        timeout 60 "$@"
}

# ---- the script ----

# keys LINE...: a sweep file with these lines more.
keys() {
    { printf "%s\n" "name: $1" 'command: "true"' "metric: loss" "space: {x: 1}" \
        "search: {trials: 1}" "schedule: {method: none, max_t: 1}" &&
        shift && printf "%s\n" "$@"; } >"keys.yaml"
}

if command -v shellcheck >/dev/null; then
    test_set_prereq SHELLCHECK
fi
# found_by_sbatch SCRIPT: the options that sbatch finds in it.
found_by_sbatch() {
    printf "%s\n" "ClusterName=none" "SlurmctldHost=none(127.0.0.1)" "SlurmctldPort=1" \
        "AuthType=auth/none" "NodeName=n1" "PartitionName=p Nodes=n1" >slurm.conf &&
    { SLURM_CONF=$PWD/slurm.conf timeout -s KILL 20 sbatch -vvv --test-only "$1" 2>&1 ||
        :; } | sed -n "s/^sbatch: debug2: Found in script, argument \"\(.*\)\"$/\1/p"
}

# Slurm's own: it tells what it finds in a script before it speaks to anybody.
printf "%s\n" "#!/bin/sh" "#SBATCH --hold" >script
case $(found_by_sbatch script) in
--hold) test_set_prereq SBATCH ;;
esac

test_expect_success 'what rung run would refuse is not shown as if it were submitted' '
    keys steps "steps: no" "srun: {mpi: pmix}" && test_expect_code 2 rung render keys.yaml >out 2>err &&
    grep "steps: no: srun.mpi is for attempts that are job steps" err && ! test -s out
'

test_expect_success 'what would be submitted' '
    keys fashion "slots: 6" "slots_per_job: 2" "setup: |" "  module load cuda" \
        "resources: {cpus: 4, gpus: 1, memory: 8G, time: \"4:00:00\"}" \
        "slurm: {partition: gpu, account: lab, constraint: h100}" \
        "controller: {partition: long, memory: 2G}" &&
    cat >expect <<-END &&
	# /sweeps/f1/jobs/controller.sh

	#!/bin/bash
	# The controller of the sweep fashion: hands trials to the slots of its jobs,
	# which it submits. One like it waits behind it (--dependency=singleton) and goes on
	# when this job ends before the sweep does, of its walltime, say. All is ended by
	#
	#     rung stop /sweeps/f1
	#
	#SBATCH --job-name=fashion.rung-5dfb89de
	#SBATCH --chdir="$PWD"
	#SBATCH --output=/sweeps/f1/jobs/controller-%j.log
	#SBATCH --comment="rung stop /sweeps/f1"
	#SBATCH --no-requeue
	#SBATCH --dependency=singleton
	#SBATCH --nodes=1
	#SBATCH --ntasks=1
	#SBATCH --cpus-per-task=1
	#SBATCH --partition=long
	#SBATCH --mem=2048M
	#SBATCH --account=lab

	exec RUNG controller --name fashion /sweeps/f1

	# submitted by

	sbatch --parsable /sweeps/f1/jobs/controller.sh

	# /sweeps/f1/jobs/slots.sh

	#!/bin/bash
	# A job of the sweep fashion, with 2 slots: each runs trials one after another.
	# rung submits arrays of it. Submitted by hand, it joins the sweep while
	# that is served and has fewer slots than it wants, and else ends at once:
	#
	#     sbatch /sweeps/f1/jobs/slots.sh
	#
	# The sweep and all of its jobs are ended by
	#
	#     rung stop /sweeps/f1
	#
	#SBATCH --job-name=fashion
	#SBATCH --chdir="$PWD"
	#SBATCH --output=/sweeps/f1/jobs/%j.log
	#SBATCH --comment="rung stop /sweeps/f1"
	#SBATCH --no-requeue
	#SBATCH --nodes=1
	#SBATCH --ntasks=2
	#SBATCH --cpus-per-task=4
	#SBATCH --mem=16384M
	#SBATCH --time=0-04:00:00
	#SBATCH --partition=gpu
	#SBATCH --account=lab
	#SBATCH --constraint=h100
	#SBATCH --gres=gpu:2

	set -e
	rung_ends=\$((\$(date +%s) + 14400))

	module load cuda

	exec RUNG agent --executor slurm --slots 2 --ends "\$rung_ends" /sweeps/f1

	# submitted by

	sbatch --parsable --array=0-2 --output=/sweeps/f1/jobs/%A_%a.log /sweeps/f1/jobs/slots.sh
	END
    rung render --dir /sweeps/f1 keys.yaml >out &&
    sed "s|^exec [^ ]*/rung |exec RUNG |" out >got && test_cmp expect got &&
    rung render --script --dir /sweeps/f1 keys.yaml >script &&
    sed -n "/slots.sh\$/,\$ p" out | sed -n "3,/^exec/p" >expect && test_cmp expect script
'

test_expect_success 'nothing is created, and Slurm is not asked' '
    mkdir empty bin && printf "#!/bin/sh\necho \"\$0\" >>\"$PWD/asked\"\n" >bin/sbatch &&
    chmod +x bin/sbatch && cp bin/sbatch bin/scontrol && cp bin/sbatch bin/squeue &&
    (cd empty && PATH=$PWD/../bin:$PATH rung render ../keys.yaml >../out) &&
    grep "^# .*/empty/fashion-[0-9]*-[0-9]*/jobs/slots.sh" out &&
    test -z "$(ls -A empty)" && ! test -e asked
'

test_expect_success 'more slots than an array has tasks' '
    rung render --dir /d --slots 2500 keys.yaml >out &&
    grep "^sbatch .*--array" out | cut -d " " -f 3 >got &&
    printf "%s\n" --array=0-1000 --array=0-248 >expect && test_cmp expect got
'

test_expect_success 'what is refused' '
    test_expect_code 2 rung render 2>err && grep "which sweep file" err &&
    test_expect_code 2 rung render keys.yaml keys.yaml 2>err && grep "one sweep file" err &&
    test_expect_code 2 rung render --slots 0 keys.yaml 2>err && grep "slots" err &&
    test_expect_code 2 rung render --dir "a
#SBATCH --uid=0" keys.yaml >out 2>err && test_must_be_empty out && grep U+000A err &&
    test_expect_code 2 rung render --dir "a\\b" keys.yaml >out 2>err &&
    test_must_be_empty out && grep backslash err &&
    keys esc "setup: \"echo \\e[2J\"" &&
    test_expect_code 2 rung render keys.yaml >out 2>err && test_must_be_empty out &&
    grep "setup has the control character U+001B" err
'

# Words that a shell, sbatch or Slurm could take for something else.
evil_dir='/x y/50%j # $(touch broke)`touch broke`'\''"/é'
evil='a # b $(touch broke)`touch broke`;'\''c'

test_expect_success 'hostile values' '
    keys evil "slurm:" "  reservation: \"$(printf %s "$evil" | sed "s/\"/\\\\\"/g")\"" \
        "  licenses: \"q\\\"uo\\\\te\"" "resources: {time: 90s}" "setup: true \\" &&
    rung render --script --dir "$evil_dir" keys.yaml >script && cat script &&
    sh -n script && bash -n script
'

test_expect_success SHELLCHECK 'shellcheck has nothing to say' '
    shellcheck script
'

test_expect_success SBATCH 'sbatch finds what was meant' '
    cat >expect <<-END &&
	--job-name=evil
	--chdir=$PWD
	--output=$(echo "$evil_dir" | sed "s/%/%%/g")/jobs/%j.log
	--comment=rung stop $(echo "$evil_dir" | sed "s/'\''/&\\\\&&/g; s/.*/'\''&'\''/")
	--no-requeue
	--nodes=1
	--ntasks=1
	--cpus-per-task=1
	--time=0-00:01:30
	--reservation=$evil
	--licenses=q"uo\\te
	END
    found_by_sbatch script >got && test_cmp expect got
'

test_expect_success 'a line of setup that fails ends the job' '
    keys fails "setup: |" "  echo before" "  false" "  echo after" &&
    rung render --script --dir "$PWD/none" keys.yaml >script &&
    test_expect_code 1 bash script >out && echo before >expect && test_cmp expect out
'

# ---- the agent ----

test_expect_success 'wrong usage of rung agent' '
    for words in "--executor pbs" "--ends soon" "--ends -1" "--slots 0"; do
        test_expect_code 2 rung agent $words . 2>err && cat err &&
        grep "wants" err || return 1
    done
'

# A sweep that goes on until it is told to end, with its one slot taken.
test_expect_success 'a sweep runs' '
    sweep_file long "/bin/sh -c \"rung log step=1 loss=1; sleep 100\"" <<-\END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 1}
	schedule: {method: none, max_t: 9}
	resources: {time: 1h}
	END
    { run_sweep long & } && until_true "test -n \"\$(events long report)\""
'

test_expect_success 'agents are called as squeue calls their jobs' '
    in_job 52_3 rung agent --executor slurm long >out 2>&1 && cat out &&
    events long job "\"job\":\"52_3\"" &&
    SLURM_JOB_ID=53 timeout 60 rung agent --executor slurm long &&
    events long job "\"job\":\"53\""
'

test_expect_success 'so are those that a batch script becomes' '
    rung render --script --dir long long.yaml >script && grep "^exec .*--ends" script &&
    in_job 55_1 bash script && events long job "\"job\":\"55_1\""
'

test_expect_success 'one of this machine in a job of Slurm is no job of Slurm' '
    in_job 54_1 rung agent long &&
    test_must_fail events long job 54_1 &&
    test_expect_code 2 rung agent --executor slurm long 2>err && grep SLURM_JOB_ID err
'

test_expect_success 'the sweep ends' '
    rung stop long && wait && nobody_left long
'

test_done
