"""What whole sweeps cost: `rung run` with real processes, on this machine's disk.

Prints lines of figure, target, method. Rates are from the journal's own times, between
the first start and the last end. usage: sweep_bench.py RUNG TRIAL
"""

import json
import os
import subprocess
import sys
import tempfile
import time

SWEEP = """
name: bench
command: {trial} {{x}}
metric: loss
space: {{x: "uniform(0, 1)"}}
search: {{trials: {trials}}}
schedule: {schedule}
slots: 8
"""


def run(rung, trial, trials, schedule):
    """The events of one sweep's journal, and when it was begun."""
    with tempfile.TemporaryDirectory(dir=".") as home:
        path = os.path.join(home, "bench.yaml")
        with open(path, "w") as file:
            file.write(SWEEP.format(trial=trial, trials=trials, schedule=schedule))
        begun = time.time()
        subprocess.run([rung, "run", "-q", "--dir", f"{home}/sweep", path], check=True,
                       stdout=subprocess.DEVNULL)
        with open(f"{home}/sweep/journal/000001.jsonl") as file:
            return [json.loads(line) for line in file], begun


def span(events):
    starts = [e["t"] for e in events if e["e"] == "start"]
    return max(e["t"] for e in events if e["e"] == "end") - min(starts)


def line(figure, target, method):
    print(f"{figure}\t{target}\t{method}", flush=True)


def main():
    rung, trial = map(os.path.abspath, sys.argv[1:3])
    cores = os.cpu_count()

    events, begun = run(rung, trial, 5000, "{method: none, max_t: 1}")
    line(f"{5000 / span(events):.0f}/s", ">= 1000/s",
         f"trials that report once, 8 slots, {cores} cores, all durable")
    first = min(e["started"] for e in events if e["e"] == "end")
    line(f"{(first - begun) * 1e3:.0f} ms", "< 50 ms", "from `rung run` to the first trial")

    events, _ = run(rung, trial, 8, "{method: none, max_t: 50000}")
    n = sum(e["e"] == "report" for e in events)
    line(f"{n / span(events):.0f}/s", ">= 50000/s",
         "reports below a milestone, 8 trials, each answered by its agent, all durable")

    events, _ = run(rung, trial, 64,
                    "{mode: stop, max_t: 400, reduction_factor: 1.01, grace_period: 100}")
    waited = [e for e in events if e["e"] == "report" and "rung" in e]
    line(f"{len(waited) / span(events):.0f}/s", ">= 10000/s",
         "reports at a milestone, 8 trials, each waits for its durable decision")


if __name__ == "__main__":
    main()
