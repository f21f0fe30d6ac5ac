#!/usr/bin/python3
"""How good the best trial is after the same amount of training, by schedule, against tables
of learning curves: `rung simulate` with 4 slots, many times. (With 16 the first budget is
spent before any slot has trained one configuration to the end.) The regret is how far the
best so far is from the best of all configurations and steps: median and quartiles after as
many steps as 10, 20 and 50 trainings to max_t take.

    tests/quality/curves.py ./rung DIR/*.csv.gz --repeat 100

The grace period is the one that `rung simulate` recommends for the table. '<' stands
before what is worse than random search at the same budget, '-' for a budget that is not
reached."""
import argparse
import csv
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tempfile

SCHEDULES = {
    "random": ("random", "none", "", 60),
    "asha promote": ("random", "asha", "mode: promote", 2000),
    "asha stop": ("random", "asha", "mode: stop", 2000),
    "hyperband": ("random", "hyperband", "", 2000),
    "bohb": ("bohb", "hyperband", "", 1000),
    "tpe + asha": ("tpe", "asha", "mode: promote", 1000),
}
BUDGETS = (10, 20, 50)
SWEEP = """
command: "true"
metric: m
mode: {mode}
space:
{space}
search: {{method: {search}, trials: {trials}}}
schedule: {{method: {method}, grace_period: {grace}, max_t: {max_t}{more}}}
slots: {slots}
"""


def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", newline="") as file:
        rows = list(csv.reader(file))
    return rows[0], rows[1:]


def numbers(column):
    try:
        return [float(v) for v in column]
    except ValueError:
        return None


def distribution(column):
    """What the values of a parameter look as if they had been drawn from; None: constant."""
    found = numbers(column)
    if len(set(column)) < 2:
        return None
    if found is None or (len(set(found)) < 8 and all(v == int(v) for v in found)):
        return f"choice({', '.join(sorted(set(column)))})"
    low, high = min(found), max(found)
    if low > 0 and high / low > 50:
        return f"loguniform({low:g}, {high:g})"
    return f"uniform({low:g}, {high:g})"


def table(path):
    """The sweep file's part that the table decides."""
    header, rows = read(path)
    stems = [re.match(r"(.*?)(\d+)$", name) for name in header]
    prefix = max((m.group(1) for m in stems if m),
                 key=[m.group(1) for m in stems if m].count)
    steps = [int(m.group(2)) for m in stems if m and m.group(1) == prefix]
    # up to the metric; what counts configurations and seeds is no parameter
    first = min(i for i, m in enumerate(stems) if m and m.group(1) == prefix)
    space = {}
    for i, name in enumerate(header[:first]):
        drawn = distribution([row[i] for row in rows if row[i] != ""])
        if drawn and name not in ("config", "seed") and not re.match("time|test", name):
            space[name] = drawn
    at = [i for i, m in enumerate(stems) if m and m.group(1) == prefix]
    last = [numbers([row[i] for i in at[:1] + at[-1:] if row[i] not in ("", "nan", "inf")])
            for row in rows]
    grew = sorted(v[1] - v[0] for v in last if v and len(v) == 2)
    return dict(space="\n".join(f'  {k}: "{v}"' for k, v in space.items()),
                mode="max" if grew[len(grew) // 2] > 0 else "min", max_t=max(steps))


def simulate(rung, path, options, **sweep):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(SWEEP.format(**sweep))
        file.flush()
        done = subprocess.run([rung, "simulate", "--json", "--curves", path, *options,
                               file.name], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def regrets(rung, path, known, grace, name, repeat, slots):
    """{budget: (median, lower quartile, upper quartile)}"""
    search, method, more, trials = SCHEDULES[name]
    space = known["space"] if search != "random" else '  any: "uniform(0, 1)"'
    out = simulate(rung, path, ["--repeat", str(repeat)], slots=slots, search=search, method=method,
                   more=more and ", " + more, trials=trials, grace=grace, mode=known["mode"],
                   max_t=known["max_t"], space=space)
    return {b["trainings"]: tuple(float(b["regret"][q]) for q in ("p50", "p25", "p75"))
            for b in out["budgets"] if b["repeats"] == repeat}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rung")
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--repeat", type=int, default=100)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--schedules", default=",".join(SCHEDULES))
    o = parser.parse_args()
    names = o.schedules.split(",")
    for name in names:
        if name not in SCHEDULES:
            sys.exit(f"{name} is none of {', '.join(SCHEDULES)}")
    print("table\tgrace\tschedule\t" + "\t".join(f"{b} trainings" for b in BUDGETS))
    for path in o.tables:
        known = table(path)
        grace = simulate(o.rung, path, ["--repeat", "1"], slots=1, search="random", method="none",
                         more="", trials=1, grace=1, mode=known["mode"],
                         max_t=known["max_t"], space='  any: "uniform(0, 1)"')["grace_period"] or 1
        chance = None
        for name in names:
            found = regrets(o.rung, path, known, grace, name, o.repeat, o.slots)
            chance = chance or found
            cells = []
            for b in BUDGETS:
                m, low, high = found.get(b, (math.nan,) * 3)
                worse = "<" if b in chance and m > chance[b][0] else ""
                cells.append("-" if math.isnan(m) else f"{worse}{m:.3g} [{low:.3g}, {high:.3g}]")
            label = re.sub(r"\.csv(\.gz)?$", "", os.path.basename(path))
            print(label, grace, name, *cells, sep="\t", flush=True)


if __name__ == "__main__":
    main()
