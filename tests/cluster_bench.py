"""What sweeps cost on a real Slurm: on clusters of tests/cluster, as root.

Prints lines of figure, target, method; beside each stands what Slurm itself takes for it.
With fewer trials, slots or seconds than is asked for there is no target.
usage: cluster_bench.py RUNG TRIAL [--trials N] [--many N] [--seconds N] [--only PART]
"""

import argparse
import contextlib
import glob
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from sweep_bench import line, resident_mb  # noqa: E402

CLUSTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cluster")
SLOTS = 16
SWEEP = """
name: bench
command: {trial} {{x}} - {seconds} {times}/{{trial}}
metric: loss
space: {{x: "choice(0.5)"}}
search: {{trials: {trials}}}
schedule: {schedule}
slots: {slots}
steps: {steps}
"""
# every step is a milestone, and of equal values none is below the cutoff
MILESTONES = "{mode: stop, grace_period: 1, max_t: 60, reduction_factor: 1.01}"
# As rung starts a step, but for what it puts between srun and the program.
STEP = ("srun --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=1000M --gres=none --exact "
        "--export=ALL --input=none --kill-on-bad-exit=1 --mpi=none")


class Cluster:
    """A cluster that ends with this process, at the latest."""

    def __init__(self, *options):
        self.dir = subprocess.run(
            [CLUSTER, "up", "--for", str(os.getpid()), "--share", os.getcwd(), *options],
            check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run([CLUSTER, "down", self.dir], check=True)

    def command(self, *argv):
        return [CLUSTER, "run", self.dir, *argv]

    def run(self, *argv):
        return subprocess.run(self.command(*argv), check=True, stdout=subprocess.PIPE,
                              text=True).stdout


class Sweep:
    """A sweep below `home`, whose trials write their times there, too."""

    def __init__(self, cluster, o, home, name, schedule, steps, trials, slots, seconds):
        self.cluster, self.rung = cluster, o.rung
        self.dir, self.times = f"{home}/{name}", new_dir(f"{home}/{name}.times")
        with open(self.dir + ".yaml", "w") as file:
            file.write(SWEEP.format(trial=o.trial, seconds=seconds, times=self.times,
                                    trials=trials, schedule=schedule, slots=slots,
                                    steps=steps))

    def start(self):
        self.begun = time.time()
        return subprocess.Popen(
            self.cluster.command(self.rung, "run", "-q", "--executor", "slurm", "--dir",
                                 self.dir, self.dir + ".yaml"), stdout=subprocess.DEVNULL)

    def run(self):
        if self.start().wait() != 0:
            sys.exit(f"{self.dir} failed")
        return self.times

    def events(self, kind):
        with contextlib.suppress(FileNotFoundError), \
                open(f"{self.dir}/journal/000001.jsonl") as file:
            return [json.loads(text) for text in file
                    if text.startswith(f'{{"e":"{kind}"') and text.endswith("\n")]
        return []

    def calls(self):
        """What the controller says about those of Slurm's commands."""
        for path in glob.glob(f"{self.dir}/jobs/controller-*.log"):
            with open(path) as file:
                for text in file:
                    if "Slurm was called" in text:
                        return text.strip().removeprefix("rung: ")
        return "it did not say how often Slurm was called"


def new_dir(path):
    os.mkdir(path)
    return path


def program(times):
    """What programs wrote: of each step, when it began, was reported, and answered."""
    steps = []
    for path in glob.glob(f"{times}/*"):
        with open(path) as file:
            steps += [tuple(map(float, text.split())) for text in file
                      if text.endswith("\n")]
    return steps


# --- Slots that are busy -----------------------------------------------------------------

def busy(times, o, target, what):
    steps = program(times)
    if len(steps) != o.trials:
        sys.exit(f"{what}: {len(steps)} programs of {o.trials} have run")
    span = max(s[2] for s in steps) - min(s[0] for s in steps)
    share = sum(s[1] - s[0] for s in steps) / SLOTS / span
    waves = -(-o.trials // SLOTS)
    gap = (SLOTS * span - o.trials) / o.trials
    line(f"{100 * share:.1f} %", target if o.trials >= 1000 else "-",
         f"of {SLOTS} slots busy from the first start to the last end, by the clocks of "
         f"{o.trials} programs of 1 s, {what}: {span:.1f} s in all, {1e3 * gap:.0f} ms "
         f"idle a program; {100 * o.trials / SLOTS / waves:.1f} % if there were no gaps")


def batch_script(home, name, words):
    path = f"{home}/{name}.sh"
    with open(path, "w") as file:
        file.write("#!/bin/sh\n#SBATCH --ntasks=1 --cpus-per-task=1 --mem=1000M "
                   f"--output=/dev/null\n{words}\n")
    return path


def by_srun(cluster, o, home):
    """One job a slot, in which a shell starts one step after another."""
    times = new_dir(f"{home}/srun.times")
    each, more = divmod(o.trials, SLOTS)
    trial = f"{STEP} {shlex.quote(o.trial)} 0.5 - 1 {shlex.quote(times)}/$job.$i"
    script = batch_script(
        home, "srun", f"job=$SLURM_ARRAY_TASK_ID i=0 n=$(({each} + (job < {more})))\n"
        f"while [ $i -lt $n ]; do {trial}; i=$((i + 1)); done")
    cluster.run("sbatch", "--wait", f"--array=0-{SLOTS - 1}", script)
    return times


def job_of(o, home, name, seconds):
    """The script of a job that is one trial, and where this writes its times."""
    times = new_dir(f"{home}/{name}.times")
    return times, batch_script(home, name, f"exec {shlex.quote(o.trial)} 0.5 - {seconds} "
                               f"{shlex.quote(times)}/$SLURM_JOB_ID")


def by_sbatch(cluster, o, home):
    """One job a trial; Slurm itself lets no more run at a time."""
    times, script = job_of(o, home, "sbatch", 1)
    cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", f"MaxJobs={SLOTS}")
    begun = time.time()
    subprocess.run(cluster.command("sh", "-c", f"for i in $(seq {o.trials}); do "
                                   f"sbatch {shlex.quote(script)} || exit; done"),
                   check=True, stdout=subprocess.DEVNULL)
    while len(program(times)) < o.trials and time.time() < begun + 60 + 2 * o.trials:
        time.sleep(1)
    return times


def by_rung(cluster, o, home, name, steps, target, what):
    sweep = Sweep(cluster, o, home, name, "{method: none, max_t: 1}", steps, o.trials,
                  SLOTS, 1)
    busy(sweep.run(), o, target, what)


def busy_steps(o, home):
    """Slurm follows a step's processes by their parents here: what it takes for a step by
    control groups is as much again, and more than there is to lose. And it looks at what
    they use as often as Slurm does by itself, not each second as tests want it."""
    with Cluster("--cpus", "8", "--set", "ProctrackType=proctrack/linuxproc",
                 "--set", "JobAcctGatherFrequency=30") as cluster:
        by_rung(cluster, o, home, "linuxproc", "yes", ">= 95 %", "as job steps")


def busy_slots(o, home):
    busy_steps(o, home)
    with Cluster("--cpus", "8") as cluster:
        by_rung(cluster, o, home, "cgroup", "yes", "-",
                "as job steps, each in a control group")
        by_rung(cluster, o, home, "no", "no", ">= 98 %", "forked")
        busy(by_srun(cluster, o, home), o, "-",
             "steps by srun in loops of a shell, without rung, each in a control group")
        busy(by_sbatch(cluster, o, home), o, "-", f"each by an sbatch, {SLOTS} at once")


# --- Many slots at once ------------------------------------------------------------------

def controller_pid(sweep):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            words = file.read().split(b"\0")
            if b"controller" in words[1:2] and sweep.dir.encode() in words:
                return int(path.split("/")[2])
    sys.exit(f"{sweep.dir}: its controller does not run")


def cpu_seconds(pid):
    """Of a process, and of its children that have ended."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, \
           (int(fields[13]) + int(fields[14])) / ticks


def wait_for_starts(sweep, process, n):
    while len(sweep.events("start")) < n:
        if process.poll() is not None or time.time() > sweep.begun + 300:
            sys.exit(f"{sweep.dir}: {len(sweep.events('start'))} of {n} trials run")
        time.sleep(1)


def all_there(cluster, o, home):
    """Seconds until Slurm has started that many jobs, without rung."""
    times, script = job_of(o, home, "array", 60)
    begun = time.time()
    cluster.run("sbatch", "--wait", f"--array=0-{o.many - 1}", script)
    return max(s[0] for s in program(times)) - begun


def many_slots(o, home, every=10):
    whole = o.many >= 1000 and o.seconds >= 120
    with Cluster("--big") as cluster:
        alone = all_there(cluster, o, home)
        sweep = Sweep(cluster, o, home, "many", MILESTONES, "no", o.many, o.many, every)
        process = sweep.start()
        wait_for_starts(sweep, process, o.many)
        pid, here = controller_pid(sweep), time.time()
        before, from_time = cpu_seconds(pid), time.monotonic()
        time.sleep(o.seconds)
        seconds = time.monotonic() - from_time
        own, others = (b - a for a, b in zip(before, cpu_seconds(pid)))
        memory = resident_mb(pid)
        cluster.run(o.rung, "stop", sweep.dir)
        process.wait()
        starts = [e["t"] for e in sweep.events("start")]
        waits = sorted(s[2] - s[1] for s in program(sweep.times)
                       if here <= s[1] < here + o.seconds)
    line(f"{max(starts) - sweep.begun:.1f} s", "-",
         f"from `rung run` until {o.many} jobs had joined and begun a trial, forked, one "
         f"a job, on 4 nodes of 256 CPUs; from sbatch until as many jobs that do not speak "
         f"to anybody: {alone:.1f} s")
    line(f"{100 * (own + others) / seconds:.1f} %", "< 25 %" if whole else "-",
         f"of one core by their controller, in {seconds:.0f} s, each reporting every "
         f"{every} s: {100 * own / seconds:.1f} % itself, the rest its children, who write "
         f"sweep.h5 and call Slurm; {sweep.calls()}")
    line(f"{memory:.0f} MB", "< 200 MB" if whole else "-", "most memory of that controller")
    line(f"{1e3 * waits[len(waits) * 99 // 100]:.1f} ms", "< 20 ms" if whole else "-",
         f"from a report at a milestone to its answer, measured by the trials, 99th "
         f"percentile of {len(waits)}; median {1e3 * statistics.median(waits):.1f} ms, "
         f"longest {1e3 * waits[-1]:.0f} ms")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("rung", type=os.path.abspath)
    p.add_argument("trial", type=os.path.abspath)
    p.add_argument("--trials", type=int, default=1000)
    p.add_argument("--many", type=int, default=1000)
    p.add_argument("--seconds", type=int, default=120)
    p.add_argument("--only", choices=["steps", "busy", "many"])
    o = p.parse_args()
    with tempfile.TemporaryDirectory(dir=os.path.abspath(".")) as home:
        if o.only == "steps":
            busy_steps(o, home)
        if o.only in (None, "busy"):
            busy_slots(o, home)
        if o.only in (None, "many"):
            many_slots(o, home)


if __name__ == "__main__":
    main()
