"""What whole sweeps cost: `rung run` with real processes, on this machine's disk.

Prints lines of figure, target, method. Rates are from the journal's own times. What the
machine itself takes for a process or an fsync stands beside the figures that depend on
it. usage: sweep_bench.py RUNG TRIAL
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

SWEEP = """
name: bench
command: {trial} {{x}} {extra}
metric: loss
space: {{x: "choice(0.5)"}}
search: {{trials: {trials}}}
schedule: {schedule}
slots: {slots}
"""
# every step is a milestone, and of equal values none is below the cutoff
MILESTONES = "{{mode: stop, grace_period: 1, max_t: {steps}, reduction_factor: 1.002}}"


class Sweep:
    """A sweep in a directory of its own below `home`."""

    def __init__(self, home, rung, trial, trials, schedule, slots=8, extra="", more=""):
        self.dir = os.path.join(home, f"sweep-{trials}-{slots}")
        self.command = [rung, "run", "-q", "-x", "local", "--dir", self.dir, self.dir + ".yaml"]
        with open(self.dir + ".yaml", "w") as file:
            file.write(SWEEP.format(trial=trial, trials=trials, schedule=schedule,
                                    slots=slots, extra=extra) + more)

    def start(self):
        self.begun = time.time()
        return subprocess.Popen(self.command, stdout=subprocess.DEVNULL)

    def run(self):
        if self.start().wait() != 0:
            sys.exit(f"{self.command} failed")
        return self

    def events(self, kind):
        found = []
        with contextlib.suppress(FileNotFoundError), \
                open(f"{self.dir}/journal/000001.jsonl") as file:
            for line in file:
                if line.startswith(f'{{"e":"{kind}"') and line.endswith("\n"):
                    found.append(json.loads(line))
        return found

    def span(self):
        """Seconds from the first start to the last end."""
        return self.events("end")[-1]["t"] - self.events("start")[0]["t"]


def line(figure, target, method):
    print(f"{figure}\t{target}\t{method}", flush=True)


def spawn_rate(program, at_once, n=1000):
    """How many processes of a program a second, `at_once` at a time, and nothing else."""
    env = {k: v for k, v in os.environ.items() if k != "RUNG_SOCKET"}
    begun = time.monotonic()
    for i in range(n):
        if i >= at_once:
            os.wait()
        os.posix_spawn(program, [program], env)
    for _ in range(min(n, at_once)):
        os.wait()
    return n / (time.monotonic() - begun)


def sync_ms(home, n=101):
    """The median of writing a report's line and an fsync."""
    took = []
    with open(os.path.join(home, "sync"), "ab", buffering=0) as file:
        for _ in range(n):
            begun = time.monotonic()
            file.write(b"x" * 200)
            os.fsync(file.fileno())
            took.append(time.monotonic() - begun)
    return statistics.median(took) * 1e3


def short_trials(home, rung, trial):
    cores = os.cpu_count()
    sweep = Sweep(home, rung, trial, 5000, "{method: none, max_t: 1}").run()
    alone = spawn_rate(trial, cores)
    line(f"{5000 / sweep.span():.0f}/s", ">= 1000/s",
         f"trials that report once, 8 slots, {cores} cores, all durable; "
         f"their processes alone, {cores} at a time: {alone:.0f}/s")
    first = min(e["started"] for e in sweep.events("end"))
    line(f"{(first - sweep.begun) * 1e3:.0f} ms", "< 50 ms",
         "from `rung run` to the first trial")


def reports_ahead(home, rung, trial):
    sweep = Sweep(home, rung, trial, 8, "{method: none, max_t: 50000}").run()
    line(f"{len(sweep.events('report')) / sweep.span():.0f}/s", ">= 50000/s",
         "reports below a milestone, 8 trials, each answered by its agent, all durable")
    return sweep.dir


def reports_waiting(home, rung, trial):
    sweep = Sweep(home, rung, trial, 40, MILESTONES.format(steps=500)).run()
    reports = sweep.events("report")
    commits = sum("c" in e for e in reports)
    line(f"{len(reports) / sweep.span():.0f}/s", ">= 10000/s",
         "reports at a milestone, 8 trials, each waits for its durable decision; "
         f"{len(reports) / commits:.1f} a commit, an fsync alone takes {sync_ms(home):.2f} ms")


def one_waits(home, rung, trial, big):
    """One trial, which waits at every step: quietly, and beside a writer of HDF5."""
    for beside in (False, True):
        sweep = Sweep(home, rung, trial, 1, MILESTONES.format(steps=500),
                      slots=1 + beside)
        process = sweep.start()
        exports = 0
        while process.poll() is None:
            if beside:
                subprocess.run([rung, "export", "--hdf5", big], check=True)
                exports += 1
            else:
                time.sleep(0.01)
        times = [e["t"] for e in sweep.events("report")]
        between = statistics.median(b - a for a, b in zip(times, times[1:])) * 1e3
        line(f"{between:.2f} ms", "< 2 ms",
             "from one report at a milestone to the next, one trial, median of "
             f"{len(times) - 1}" +
             (f"; beside `rung export --hdf5` of 400,000 reports, {exports} times"
              if beside else ""))


def resident_mb(pid):
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/status") as file:
        for text in file:
            if text.startswith("VmHWM:"):
                return int(text.split()[1]) / 1024
    return 0


def many_agents(home, rung, trial, agents=1000, steps=50):
    go = os.path.abspath(os.path.join(home, "go"))
    sweep = Sweep(home, rung, trial, agents, MILESTONES.format(steps=steps), slots=agents,
                  extra=go, more="slots_per_job: 1\n")
    process = sweep.start()
    while (len(sweep.events("start")) < agents and process.poll() is None and
           time.time() < sweep.begun + 120):
        time.sleep(0.2)
    with open(go, "w"):
        pass
    most = 0
    while process.poll() is None:
        most = max(most, resident_mb(process.pid))
        time.sleep(0.05)
    reports = sweep.events("report")
    seconds = reports[-1]["t"] - reports[0]["t"]
    wanted = sorted((t, s) for t in range(agents) for s in range(1, steps + 1))
    lost = len(set(wanted) - {(e["trial"], e["step"]) for e in reports})
    line(f"{len(reports) / seconds:.0f}/s", "-",
         f"reports of {agents} agents at once, each a process with a trial that waits for "
         f"{steps} decisions; begun within {reports[0]['t'] - sweep.begun:.0f} s")
    line(f"{lost + len(reports) - len(wanted)}", "0",
         f"of these {len(wanted)} reports lost or taken twice, exit status "
         f"{process.returncode}")
    line(f"{most:.0f} MB", "< 200 MB", "most memory of their controller")


def main():
    rung, trial = map(os.path.abspath, sys.argv[1:3])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(dir=".") as home:
        short_trials(home, rung, trial)
        big = reports_ahead(home, rung, trial)
        reports_waiting(home, rung, trial)
        one_waits(home, rung, trial, big)
        many_agents(home, rung, trial)


if __name__ == "__main__":
    main()
