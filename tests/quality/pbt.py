#!/usr/bin/python3
"""What population based training is worth where a parameter should change while a trial
trains: the best value after a quarter, a half and all of a budget of steps minus the
optimum where that is known, as the median over seeds with a 95 % bootstrap interval; beside
it random search and ASHA (promote), whose trials keep their parameters. A budget is what the
population takes from begin to end. All run through `rung asktell`, which says who goes on
from whose checkpoint; as many trials at once as the population has, whose steps take 0.8 to
1.2 units of time each.

    tests/quality/pbt.py ./rung --seeds 100

One line for each problem and schedule; less is better.

toy         Jaderberg et al., "Population based training of neural networks",
            arXiv:1711.09846, 2017, section 4.1: gradient ascent of 1.2 - h0 x^2 - h1 y^2
            from (0.9, 0.9), where 1.2 - x^2 - y^2 counts, and the first four trials have
            h of (1, 0) and (0, 1), twice: the whole population, and all of random search
toy-drawn   the same, and h is drawn from the unit square
quadratic   SGD with noisy gradients on a quadratic in 20 dimensions, with curvatures from
            0.001 to 1; the expected loss is known in closed form, and so is that after each
            step for any learning rate. The best one falls with time
network     a network of one hidden layer that learns a noisy function of 6 variables by
            SGD with momentum: validation loss, of which the optimum is not known"""
import argparse
import concurrent.futures
import heapq
import json
import math
import os
import random
import subprocess
import sys
import tempfile

from regret import interval, median

AT = (0.25, 0.5, 1)
SCHEDULES = {
    "random": "{method: none, max_t: %(max_t)d}",
    "asha": "{method: asha, max_t: %(max_t)d, grace_period: %(interval)d}",
    "pbt": "{method: pbt, max_t: %(max_t)d, interval: %(interval)d}",
}


class Toy:
    """States are (x, y)."""

    population, interval, max_t, optimum = 4, 4, 100, -1.2
    start = "start: [{h0: 1, h1: 0}, {h0: 0, h1: 1}, {h0: 1, h1: 0}, {h0: 0, h1: 1}]\n"
    space = "  h0: uniform(0, 1)\n  h1: uniform(0, 1)\n"

    def __init__(self, seed):
        del seed

    def begin(self, p):
        del p
        return 0.9, 0.9

    def step(self, state, p):
        return state[0] * (1 - 0.02 * p["h0"]), state[1] * (1 - 0.02 * p["h1"])

    def loss(self, state):
        return state[0] ** 2 + state[1] ** 2 - 1.2


class ToyDrawn(Toy):
    start = ""


class Quadratic:
    """The state is E x^2 in each dimension (that of SGD is a linear map of it): loss
    sum h x^2 / 2, gradients h x plus noise of variance h, 10 updates a step."""

    population, interval, max_t, optimum = 20, 5, 100, 0
    start = ""
    space = "  lr: loguniform(1e-3, 1)\n"
    curvature = [10 ** (-3 * i / 19) for i in range(20)]

    def __init__(self, seed):
        del seed

    def begin(self, p):
        del p
        return [10 / h for h in self.curvature]

    def step(self, state, p):
        for _ in range(10):
            state = [
                m * (1 - p["lr"] * h) ** 2 + p["lr"] ** 2 * h
                for m, h in zip(state, self.curvature)
            ]
        return state

    def loss(self, state):
        return sum(h * m for h, m in zip(self.curvature, state)) / 2


class Network:
    """The state is the weights and their velocities."""

    population, interval, max_t, optimum = 20, 2, 40, 0
    start = ""
    space = "  lr: loguniform(1e-3, 1)\n  momentum: uniform(0, 0.99)\n  batch: 2 ** randint(2, 8)\n"

    def __init__(self, seed):
        import numpy

        self.np, self.rng = numpy, numpy.random.default_rng(seed)
        self.x, self.y = self.sample(256, 0.3)
        self.valid_x, self.valid_y = self.sample(512, 0)

    def sample(self, n, noise):
        np = self.np
        x = self.rng.uniform(-1, 1, (n, 6))
        y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + 0.3 * x[:, 4]
        return x, (y + noise * self.rng.standard_normal(n))[:, None]

    def begin(self, p):
        del p
        shapes = ((6, 32), (1, 32), (32, 1), (1, 1))
        w = [self.rng.standard_normal(s) / math.sqrt(s[0]) for s in shapes]
        return w, [0 * v for v in w]

    def step(self, state, p):
        np = self.np
        w, v = [a.copy() for a in state[0]], [a.copy() for a in state[1]]
        order = self.rng.permutation(len(self.x))
        for at in range(0, len(order), p["batch"]):
            x, y = self.x[order[at : at + p["batch"]]], self.y[order[at : at + p["batch"]]]
            hidden = np.tanh(x @ w[0] + w[1])
            out = 2 * (hidden @ w[2] + w[3] - y) / len(x)
            back = (out @ w[2].T) * (1 - hidden**2)
            grads = (x.T @ back, back.sum(0), hidden.T @ out, out.sum(0))
            for i, grad in enumerate(grads):
                v[i] = p["momentum"] * v[i] - p["lr"] * np.clip(grad, -10, 10)
                w[i] += v[i]
        return w, v

    def loss(self, state):
        w, np = state[0], self.np
        out = np.tanh(self.valid_x @ w[0] + w[1]) @ w[2] + w[3]
        return float(((out - self.valid_y) ** 2).mean())


PROBLEMS = {"toy": Toy, "toy-drawn": ToyDrawn, "quadratic": Quadratic, "network": Network}


class Sweep:
    """A sweep that is asked and told."""

    def __init__(self, rung, problem, schedule, seed, place):
        path = os.path.join(place, "sweep.yaml")
        trials = problem.population if schedule == "pbt" else 1000
        with open(path, "w", encoding="utf-8") as file:
            file.write("command: 'true'\nmetric: loss\nseed: %d\nspace:\n" % seed)
            file.write(problem.space + problem.start)
            file.write("search: {method: random, trials: %d}\nschedule: " % trials)
            file.write(SCHEDULES[schedule] % vars_of(problem) + "\n")
        self.engine = subprocess.Popen(
            [rung, "asktell", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            bufsize=1,
        )

    def say(self, **line):
        self.engine.stdin.write(json.dumps(line) + "\n")
        self.engine.stdin.flush()
        answer = json.loads(self.engine.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self):
        self.engine.stdin.close()
        if self.engine.wait() != 0:
            raise RuntimeError("rung asktell: status %d" % self.engine.returncode)


def vars_of(problem):
    return {"max_t": problem.max_t, "interval": problem.interval}


class Run:
    """Trials side by side: `values` has the loss of each step, in the order of time."""

    def __init__(self, sweep, problem, slots, seed):
        self.sweep, self.problem, self.slots = sweep, problem, slots
        self.rng = random.Random(seed)
        self.saved = {}  # of (trial, step)
        self.busy = []  # when, and in which order, who has made its next step
        self.values, self.order = [], 0

    def push(self, now, trial, step, state, p):
        then = now + self.rng.uniform(0.8, 1.2)
        heapq.heappush(self.busy, (then, self.order, trial, step, state, p))
        self.order += 1

    def ask(self, now):
        """False: there is no work now."""
        work = self.sweep.say(op="ask")
        if work["trial"] is None:
            return False
        step, p = work["start"], work["params"]
        of = work.get("parent", work["trial"])
        state = self.saved[of, step] if step > 0 else self.problem.begin(p)
        self.push(now, work["trial"], step, state, p)
        return True

    def go(self, budget):
        now = 0
        while len(self.values) < budget:
            while len(self.busy) < self.slots and self.ask(now):
                pass
            if not self.busy:
                break
            now, _, trial, step, state, p = heapq.heappop(self.busy)
            state, step = self.problem.step(state, p), step + 1
            loss = self.problem.loss(state)
            self.values.append(loss)
            answer = self.sweep.say(
                op="report",
                trial=trial,
                step=step,
                metrics={"loss": loss if math.isfinite(loss) else str(loss)},
            )["decision"]
            if answer == "continue":
                self.push(now, trial, step, state, p)
            elif answer == "pause":
                self.saved[trial, step] = state
        return self.values


def bests(job):
    rung, name, schedule, slots, seed = job
    problem = PROBLEMS[name](seed)
    budget = problem.population * problem.max_t
    with tempfile.TemporaryDirectory() as place:
        sweep = Sweep(rung, problem, schedule, seed, place)
        values = Run(sweep, problem, slots or problem.population, seed).go(budget)
        sweep.close()
    return [
        min(v for v in values[: int(budget * at)] if math.isfinite(v)) - problem.optimum
        for at in AT
    ]


def line(name, schedule, table, rng):
    cells = [
        "%.3g [%.3g, %.3g]" % ((median(at),) + interval(at, rng)) for at in zip(*table)
    ]
    return "%-10s %-8s " % (name, schedule) + " ".join("%-26s" % c for c in cells)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rung", help="the program")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--schedules", default=",".join(SCHEDULES))
    parser.add_argument("--slots", type=int, help="trials at once, if not as many as the population has")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    problems, schedules = args.problems.split(","), args.schedules.split(",")
    for known, given in ((PROBLEMS, problems), (SCHEDULES, schedules)):
        for name in given:
            if name not in known:
                parser.error("%s is none of %s" % (name, ", ".join(known)))
    if args.seeds < 1:
        parser.error("at least one seed")
    print("%d seeds: median [95 %% interval] of the best value minus the optimum" % args.seeds)
    print(
        "%-10s %-8s " % ("problem", "schedule")
        + " ".join("%-26s" % ("after %d %%" % (100 * at)) for at in AT).rstrip()
    )
    rng = random.Random(1)
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        for name in problems:
            for schedule in schedules:
                jobs = [(args.rung, name, schedule, args.slots, seed) for seed in range(args.seeds)]
                table = list(pool.map(bests, jobs))
                print(line(name, schedule, table, rng).rstrip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
