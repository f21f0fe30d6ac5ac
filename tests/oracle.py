"""Holds `rung asktell` against naive implementations of its rules, decision by decision.

The oracles below are written from doc/scheduling.md alone: lists, sorting, and numpy's
percentile; nothing incremental. usage: oracle.py RUNG [RUNS]
"""

import json
import math
import random
import subprocess
import sys
import tempfile
from decimal import Decimal
from fractions import Fraction


class Engine:
    """A running `rung asktell`."""

    def __init__(self, rung, sweep):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        self.file.write(sweep)
        self.file.flush()
        self.process = subprocess.Popen(
            [rung, "asktell", self.file.name], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def __call__(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise AssertionError(f"{request}: {answer}")
        return answer

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise AssertionError("asktell failed")


def levels(r, eta, max_t):
    out, product = [], Fraction(r)
    while True:
        step = math.floor(product + Fraction(1, 2))
        if step >= max_t:
            return out + [max_t]
        if not out or step > out[-1]:
            out.append(step)
        product *= Fraction(Decimal(eta))


def finite(score):
    return all(math.isfinite(v) for v in score)


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b)) and a != b


def ordered(records):
    """NSGA-II's order of records, in the order they came, whose third item is a score."""
    left, out = list(records), []
    while left:
        front = [r for r in left if not any(dominates(o[2], r[2]) for o in left)]
        left = [r for r in left if r not in front]
        distance = dict.fromkeys(range(len(front)), 0)
        for m in range(len(front[0][2])):
            by = sorted(range(len(front)), key=lambda i: front[i][2][m])
            extent = front[by[-1]][2][m] - front[by[0]][2][m]
            if extent == 0:
                continue
            for before, i, after in zip(by, by[1:], by[2:]):
                distance[i] += (front[after][2][m] - front[before][2][m]) / extent
            distance[by[0]] = distance[by[-1]] = math.inf
        out += [front[i] for i in sorted(distance, key=lambda i: -distance[i])]
    return out


class Promote:
    """Algorithm 2 of the ASHA paper, with retries first and finalists last."""

    def __init__(self, config):
        self.c = config
        self.levels = levels(config["r"], config["eta"], config["max_t"])
        self.trials = []
        self.records = []  # (bracket, rung, score, trial), in order

    def brackets(self):
        return self.c["brackets"]

    def first(self, s):
        return s

    def rungs(self, s):
        return range(len(self.levels) - 1 - self.first(s))

    def milestone(self, s, k):
        return self.levels[self.first(s) + k]

    def seats(self, s, k):
        at = [r for r in self.records if r[:2] == (s, k)]
        return math.floor(len(at) / Fraction(Decimal(self.c["eta"])))

    def candidates(self, s, k, n):
        at = [r for r in self.records if r[:2] == (s, k)]
        good = [r for r in ordered([r for r in at if finite(r[2])]) if not
                (self.trials[r[3]]["state"] in ("failed", "stopped") and
                 self.trials[r[3]]["promoted"] < k)]
        return [r[3] for r in good[:n]]

    def standing(self, record):
        """In its rung: of one objective the value, as in all rungs."""
        at = [r for r in self.records if r[:2] == record[:2] and finite(r[2])]
        return record[2][0] if len(record[2]) == 1 else ordered(at).index(record)

    def next(self):
        waiting = [t for t in self.trials if t["state"] == "waiting"]
        if waiting:
            return min(waiting, key=lambda t: (
                -self.milestone(t["bracket"], t["promoted"]) if t["promoted"] >= 0 else 0,
                t["id"])), "again"
        places = sorted(((-self.milestone(s, k), s, k) for s in range(self.brackets())
                         for k in self.rungs(s)))
        for _, s, k in places:
            for i in self.candidates(s, k, self.seats(s, k)):
                t = self.trials[i]
                if t["promoted"] < k and t["state"] == "paused" and t["rung"] == k:
                    return t, "promote"
        if len(self.trials) < self.c["trials"]:
            return None, "new"
        done = sum(t["complete"] for t in self.trials)
        opened = sum(t["finalist"] and t["state"] in ("running", "waiting")
                     for t in self.trials)
        others = any(t["state"] == "running" and not t["finalist"] for t in self.trials)
        if not others and done + opened < self.c["finalists"]:
            paused = [r for r in self.records
                      if self.trials[r[3]]["state"] == "paused" and finite(r[2])
                      and self.trials[r[3]]["rung"] == r[1]]
            if paused:
                top = max(self.milestone(r[0], r[1]) for r in paused)
                best = min((r for r in paused if self.milestone(r[0], r[1]) == top),
                           key=self.standing)
                return self.trials[best[3]], "final"
        running = any(t["state"] == "running" for t in self.trials)
        return None, "wait" if running else "done"

    def start(self, t, why):
        if why in ("promote", "final"):
            t["promoted"] = t["rung"]
            t["until"] = self.milestone(t["bracket"], t["rung"] + 1)
        if why == "final":
            t["finalist"] = True
            t["until"] = self.c["max_t"]
        t["state"] = "running"

    def add(self, bracket):
        t = dict(id=len(self.trials), bracket=bracket, rung=-1, promoted=-1, state="waiting",
                 complete=False, finalist=False, failures=0, step=0, saved=0,
                 until=self.milestone(bracket, 0))
        self.trials.append(t)
        return t

    def report(self, t, step, value):
        if step <= t["step"]:
            return "continue"
        t["step"] = step
        if value is None:
            return "continue"
        if step >= self.c["max_t"]:
            t["complete"] = True
            t["state"] = "completed"
            return "stop"
        reached = [k for k in self.rungs(t["bracket"])
                   if t["rung"] < k and self.milestone(t["bracket"], k) <= step]
        if not reached:
            return "continue"
        k = t["rung"] = reached[-1]
        self.records.append((t["bracket"], k, value, t["id"]))
        if t["finalist"]:
            t["promoted"] = k
            return "continue"
        t["state"] = "paused"
        if self.c["in_place"]:
            who, why = self.next()
            if who is t:
                self.start(t, why)
                return "continue"
        t["saved"] = step
        return "pause"

    def fail(self, t):
        t["failures"] += 1
        t["state"] = "failed" if t["failures"] > self.c["retries"] else "waiting"
        return t["state"] != "failed"


class Halving(Promote):
    """Successive halving, in one bracket or in Hyperband's, with the same exceptions."""

    def __init__(self, config):
        super().__init__(config)
        self.hyperband = config["method"] == "hyperband"
        self.eta = Fraction(Decimal(config["eta"]))
        if self.hyperband:
            product, steps = Fraction(config["r"]), []
            while math.floor(product + Fraction(1, 2)) <= config["max_t"]:
                steps.append(math.floor(product + Fraction(1, 2)))
                product *= self.eta
            self.levels = sorted(set(steps))
            self.levels[-1] = config["max_t"]

    def brackets(self):
        return 1 + max((t["bracket"] for t in self.trials), default=-1)

    def first(self, s):
        return s % len(self.levels) if self.hyperband else 0

    def size(self, s):
        if not self.hyperband:
            return math.inf
        n, halvings = len(self.levels), len(self.levels) - 1 - self.first(s)
        return math.ceil(Fraction(n, halvings + 1) * self.eta ** halvings)

    def members(self, s):
        return [t for t in self.trials if t["bracket"] == s]

    def takes_more(self, s):
        here = self.members(s)
        return len(here) < self.size(s) and all(t["promoted"] < 0 for t in here)

    def open_bracket(self):
        last = self.brackets() - 1
        return last if last >= 0 and self.takes_more(last) else last + 1

    def comes(self, t, k):
        return (t["state"] in ("waiting", "running") and t["rung"] == k - 1 and
                t["promoted"] == t["rung"])

    def due(self, s, k):
        if self.takes_more(s) and len(self.trials) < self.c["trials"]:
            return False
        if any(self.comes(t, j) for t in self.members(s) for j in range(k + 1)):
            return False
        return all(self.sent_on(s, j) for j in range(k))

    def sent_on(self, s, k):
        chosen = self.candidates(s, k, self.wanted(s, k))
        return sum(t["promoted"] >= k for t in self.members(s)) >= len(chosen)

    def wanted(self, s, k):
        return max(1, math.floor(len(self.members(s)) / self.eta ** (k + 1)))

    def seats(self, s, k):
        return self.wanted(s, k) if self.due(s, k) else 0


class Population(Promote):
    """Population based training: truncation selection at a trial's turn to go on."""

    def __init__(self, config):
        super().__init__(config)
        self.levels = list(range(config["interval"], config["max_t"], config["interval"]))
        self.levels.append(config["max_t"])
        self.holders = []  # of the places: trials
        self.values = []  # of the places: {rung: (value, trial)}

    def add(self, bracket):
        t = super().add(bracket)
        t.update(place=len(self.holders), kept=None, recorded=0)
        self.holders.append(t)
        self.values.append({})
        return t

    def up_to(self, rung):
        """(value, place, trial) of those that count there, the best first."""
        out = []
        for place, (holder, values) in enumerate(zip(self.holders, self.values)):
            known = [k for k in values if k <= rung]
            if known and holder["state"] not in ("failed", "stopped"):
                value, trial = values[max(known)]
                out.append((value if math.isfinite(value) else math.inf, place, trial))
        return sorted(out, key=lambda v: v[:2])

    def parents(self, t):
        """From whom its place may be taken over; empty: it goes on."""
        order = self.up_to(t["rung"])
        quarter = len(order) // 4
        worst = [v[1] for v in order[len(order) - quarter:]]
        value = self.values[t["place"]][t["rung"]][0]
        if not quarter or (math.isfinite(value) and t["place"] not in worst):
            return []
        return [p["id"] for v, _, p in order
                if v <= order[quarter - 1][0] and math.isfinite(v) and p is not t
                and p["state"] in ("paused", "running", "waiting")
                and p["kept"] and p["kept"][0] >= t["rung"]]

    def next(self):
        waiting = [t for t in self.trials if t["state"] == "waiting"]
        if waiting:
            return min(waiting, key=lambda t: (
                -self.milestone(0, t["promoted"]) if t["promoted"] >= 0 else 0,
                t["id"])), "again"
        if len(self.holders) < self.c["trials"]:
            return None, "new"
        paused = [t for t in self.trials if t["state"] == "paused"]
        t = min(paused, key=lambda t: (t["rung"], t["recorded"]), default=None)
        if t and self.most_have_come(t["rung"]):
            return t, "replace" if self.parents(t) else "promote"
        running = any(t["state"] == "running" for t in self.trials)
        return None, "wait" if running else "done"

    def most_have_come(self, rung):
        places = [t for t in self.holders if t["state"] not in ("failed", "stopped")]
        away = [t for t in places if t["state"] in ("running", "waiting") and t["rung"] < rung]
        return len(places) < 4 or len(away) < len(places) // 4

    def replace(self, t, parent):
        p = self.trials[parent]
        same("parent", parent in self.parents(t), True, (t, parent, self.parents(t)))
        rung, step = p["kept"]
        t["state"] = "stopped"
        child = dict(p, id=len(self.trials), place=t["place"], rung=rung, promoted=rung,
                     state="waiting", complete=False, failures=0, step=step, saved=step, born=step,
                     until=self.milestone(0, rung + 1), kept=None)
        self.trials.append(child)
        self.holders[t["place"]] = child
        for k in range(t["rung"] + 1, rung + 1):
            if k in self.values[p["place"]]:
                self.values[t["place"]][k] = self.values[p["place"]][k]
        return child

    def report(self, t, step, value):
        before = t["rung"]
        decision = super().report(t, step, value)
        if t["rung"] > before:
            self.values[t["place"]][t["rung"]] = (value, t)
            t["recorded"] = len(self.records)
            t["kept"] = (t["rung"], step)
        return decision


class Stop:
    """Ray Tune's ASHAScheduler, with numpy."""

    def __init__(self, config):
        import numpy
        self.np = numpy
        self.c = config
        self.levels = levels(config["r"], config["eta"], config["max_t"])
        self.rung = {}

    def report(self, t, step, value):
        if step <= t["step"]:
            return "continue"
        t["step"] = step
        if value is None:
            return "continue"
        if step >= self.c["max_t"]:
            return "stop"
        s = t["bracket"]
        reached = [m for m in self.levels[s:-1] if t["at"] < m <= step]
        if not reached:
            return "continue"
        t["at"] = reached[-1]
        before = self.rung.setdefault((s, t["at"]), [])
        finite = [-v for v in before if math.isfinite(v)]
        before.append(value)
        if not math.isfinite(value):
            return "stop"
        if not finite:
            return "continue"
        cutoff = self.np.nanpercentile(finite, (1 - 1 / float(self.c["eta"])) * 100)
        return "stop" if -value < cutoff else "continue"


class Median:
    """Vizier's median stopping rule, with numpy."""

    def __init__(self, config):
        import numpy
        self.np = numpy
        self.c = config
        self.courses = {}  # trial -> [(step, value)], from the grace period on

    def mean(self, course, step):
        values = [v if math.isfinite(v) else math.inf for s, v in course if s <= step]
        return math.fsum(values) / len(values)

    def report(self, t, step, value):
        if step <= t["step"]:
            return "continue"
        t["step"] = step
        if value is None:
            return "continue"
        if math.isfinite(value):
            t["best"] = min(t.get("best", math.inf), value)
        course = self.courses.setdefault(t["id"], [])
        if step >= self.c["r"]:
            course.append((step, value))
        if step >= self.c["max_t"]:
            return "stop"
        if step < self.c["r"]:
            return "continue"
        if not math.isfinite(value):
            return "stop"
        means = [self.mean(other, step) for i, other in self.courses.items()
                 if i != t["id"] and other and other[0][0] <= step <= other[-1][0]]
        if len(means) < self.c["min_trials"]:
            return "continue"
        return "stop" if t["best"] > self.np.median(means) else "continue"


SWEEP = """
name: oracle
command: "true"
metric: loss
mode: {sign}
seed: {seed}
space: {{x: "uniform(0, 1)"}}
search: {{method: random, trials: {trials}}}
schedule: {{method: {method}, mode: {mode}, grace_period: {r}, max_t: {max_t},
           reduction_factor: {eta}, brackets: {brackets}, finalists: {finalists},
           min_trials: {min_trials}{interval_said}}}
retry: {{failures: {retries}}}
{extra}
"""
USUAL = dict(method="asha", seed=0, min_trials=3, interval_said="", retries=0, extra="")


def sweep_file(**given):
    return SWEEP.format(**{**USUAL, **given})


def choose(rng, mode, method="asha"):
    c = dict(method=method, mode=mode, min_trials=rng.choice([1, 2, 3, 8]), r=rng.choice([1, 1, 2, 5]), eta=rng.choice(["2", "3", "4", "1.5", "2.5"]),
             trials=rng.choice([1, 5, 27, 60]), retries=rng.choice([0, 2]), seed=rng.randrange(99),
             sign=rng.choice(["min", "max"]), finalists=rng.choice([0, 1, 3]))
    c["max_t"] = c["r"] * rng.choice([1, 3, 16, 27])
    c["brackets"] = 1
    c["interval_said"] = ""
    if method == "asha":
        c["brackets"] = rng.randint(1, len(levels(c["r"], c["eta"], c["max_t"])))
    c["in_place"] = mode == "promote" and rng.random() < .5
    c["extra"] = "" if c["in_place"] or mode == "stop" else "trials_per_job: 1"
    if mode == "stop":
        c["finalists"] = 1
    return c


def value_of(rng):
    kind = rng.random()
    if kind < .05:
        return rng.choice([math.nan, math.inf, -math.inf])
    return rng.choice([0.1, 0.2, 0.3]) if kind < .2 else rng.random()


def same(what, ours, theirs, context):
    if ours != theirs:
        raise AssertionError(f"{what}: rung says {ours}, the oracle {theirs}; {context}")


def send(score, modes):
    """With what is missing left out."""
    return {name: value if mode == "min" else -value
            for (name, mode), value in zip(modes.items(), score) if value is not None}


def run_promote(rung, rng, rules=Promote, method="asha", objectives=1):
    c = choose(rng, "promote", method)
    modes, sweep = {"loss": c["sign"]}, sweep_file(**c)
    if objectives > 1:
        modes = {f"m{i}": rng.choice(["min", "max"]) for i in range(objectives)}
        sweep = sweep.replace("metric: loss", "metrics: " + json.dumps(modes).replace('"', ""))
        sweep = sweep.replace("\nmode: " + c["sign"], "")
    engine, oracle, running = Engine(rung, sweep), rules(c), []
    workers = rng.choice([1, 4, 16])
    decisions = 0
    for _ in range(3000):
        if len(running) < workers and rng.random() < .7:
            answer, (t, why) = engine(op="ask"), oracle.next()
            if why in ("wait", "done"):
                same("ask", answer, {"trial": None, why: True}, c)
                if why == "done":
                    break
                if not running:
                    raise AssertionError("nothing runs, and it waits")
            else:
                if not t and method != "asha":
                    same("bracket", answer["bracket"], oracle.open_bracket(), c)
                t = t or oracle.add(answer["bracket"])
                oracle.start(t, why)
                same("ask", (answer["trial"], answer["start"], answer["until"]),
                     (t["id"], t["saved"], t["until"]), c)
                t["now"] = t["saved"]
                running.append(t)
            decisions += 1
        elif running:
            t = rng.choice(running)
            if rng.random() < .03:
                same("fail", engine(op="fail", trial=t["id"])["retry"], oracle.fail(t), c)
                running.remove(t)
                continue
            t["now"] += rng.choice([1, 1, 1, 2, 7])
            score = [None if rng.random() < .03 else value_of(rng) for _ in modes]
            theirs = oracle.report(t, t["now"], None if None in score else tuple(score))
            ours = engine(op="report", trial=t["id"], step=t["now"],
                          metrics=send(score, modes))
            same("report", ours["decision"], theirs, (c, t))
            decisions += 1
            if theirs != "continue":
                running.remove(t)
    engine.close()
    return decisions


def run_stop(rung, rng, rules=Stop, method="asha"):
    c = choose(rng, "stop", method)
    engine, oracle, trials = Engine(rung, sweep_file(**c)), rules(c), []
    running, waiting = [], []
    decisions = 0
    for _ in range(c["trials"] * 10):
        if len(running) < 8:
            answer = engine(op="ask")
            if waiting:  # what failed goes first, from the beginning: nothing is saved
                t = min(waiting, key=lambda t: t["id"])
                waiting.remove(t)
                t["now"] = 0
                running.append(t)
                same("ask", (answer["trial"], answer["start"]), (t["id"], 0), c)
            elif len(trials) < c["trials"]:
                same("ask", answer["trial"], len(trials), c)
                trials.append(dict(id=len(trials), bracket=answer["bracket"], at=-1, step=0,
                                   now=0, failures=0))
                running.append(trials[-1])
            else:
                same("ask", answer, {"trial": None, "wait" if running else "done": True}, c)
                if not running:
                    break
            decisions += 1
        if running:
            t = rng.choice(running)
            if rng.random() < .03:
                t["failures"] += 1
                again = t["failures"] <= c["retries"]
                same("fail", engine(op="fail", trial=t["id"])["retry"], again, c)
                running.remove(t)
                if again:
                    waiting.append(t)
                continue
            t["now"] += rng.choice([1, 1, 2])
            value = None if rng.random() < .03 else value_of(rng)
            theirs = oracle.report(t, t["now"], value)
            ours = engine(op="report", trial=t["id"], step=t["now"],
                          metrics=send([value], {"loss": c["sign"]}))
            same("report", ours["decision"], theirs, (c, t))
            decisions += 1
            if theirs == "stop":
                running.remove(t)
    engine.close()
    return decisions


def run_two(rung, rng):
    return run_promote(rung, rng, objectives=2)


def run_three(rung, rng):
    return run_promote(rung, rng, objectives=3)


def run_hyperband_two(rung, rng):
    return run_promote(rung, rng, Halving, "hyperband", 2)


def run_hyperband(rung, rng):
    return run_promote(rung, rng, Halving, "hyperband")


def run_pbt(rung, rng):
    c = choose(rng, "promote", "pbt")
    c.update(trials=rng.choice([4, 5, 9, 27]), interval=rng.choice([1, 2, 5]),
             in_place=False, extra="")
    c["max_t"] = c["interval"] * rng.choice([2, 3, 8]) + rng.choice([0, 1])
    c["interval_said"] = f", interval: {c['interval']}"
    engine, oracle, running = Engine(rung, sweep_file(**c)), Population(c), []
    workers, trend = rng.choice([1, 4, 16]), rng.choice([0, 0.3, -0.3])
    decisions = 0
    for _ in range(5000):
        if len(running) < workers and rng.random() < .7:
            answer, (t, why) = engine(op="ask"), oracle.next()
            if why in ("wait", "done"):
                same("ask", answer, {"trial": None, why: True}, c)
                if why == "done":
                    break
            else:
                t = t or oracle.add(0)
                if why == "replace":
                    t = oracle.replace(t, answer["parent"])
                oracle.start(t, why)
                same("ask", (answer["trial"], answer["start"], answer["until"]),
                     (t["id"], t["saved"], t["until"]), c)
                same("whose checkpoint", "parent" in answer, t["saved"] == t.get("born"), c)
                t["now"] = t["saved"]
                running.append(t)
            decisions += 1
        elif running:
            t = rng.choice(running)
            if rng.random() < .02:
                same("fail", engine(op="fail", trial=t["id"])["retry"], oracle.fail(t), c)
                running.remove(t)
                continue
            t["now"] += rng.choice([1, 1, 1, 2, 7])
            value = None if rng.random() < .03 else value_of(rng) + trend * t["now"]
            theirs = oracle.report(t, t["now"], value)
            ours = engine(op="report", trial=t["id"], step=t["now"],
                          metrics=send([value], {"loss": c["sign"]}))
            same("report", ours["decision"], theirs, (c, t))
            decisions += 1
            if theirs != "continue":
                running.remove(t)
    else:
        raise AssertionError(f"it does not end: {c}")
    engine.close()
    return decisions


def run_sha(rung, rng):
    return run_promote(rung, rng, Halving, "sha")


def run_median(rung, rng):
    return run_stop(rung, rng, Median, "median")


def main():
    rung, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40
    for run, name in ((run_promote, "promote"), (run_stop, "stop"), (run_median, "median"),
                      (run_hyperband, "hyperband"), (run_sha, "sha"), (run_pbt, "pbt"),
                      (run_two, "promote, 2 metrics"), (run_three, "promote, 3 metrics"),
                      (run_hyperband_two, "hyperband, 2 metrics")):
        total = sum(run(rung, random.Random(seed)) for seed in range(runs))
        print(f"{name}: {runs} sweeps, {total} decisions agree")


if __name__ == "__main__":
    main()
