"""torture.py kill N SEED | cut N SEED | lie | fail | clock: what a sweep promises, with
real processes and a real disk.

kill  kill -9 of controllers, agents, shims, programs and writers of sweep.h5, N times, at
      instants that SEED tells; after each death of a controller `rung resume`.
cut   power cuts: processes die in the middle of a change to the disk, and it forgets what
      was not synced (tests/forget.c), or keeps some of it, or tears it.
lie   the same on disks that lie about one kind of sync: each must be found out.
fail  disks whose n-th fsync or write fails.
clock  that is set back by an hour.

Every sweep then has to end, and is looked at by `rung replay --verify`, by `rung fsck`,
and here, independently: by the journal as its lines stand there, by what was in it before
each kill, and by the account that its programs kept (tests/witness.c).

Run in an empty directory, with $top_builddir; what is left there of a failure says why."""

import fcntl
import json
import os
import random
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
import h5py

BUILD = os.environ["top_builddir"]
RUNG = os.environ.get("RUNG", BUILD + "/rung")
WITNESS = BUILD + "/tests/witness"
FORGET = BUILD + "/tests/forget.so"
PATIENCE = 60  # seconds
TRIALS = 10

# Short ones, but agents never decide alone, nor leave while a controller is to come back.
TIMERS = ("KILL=0.5,BEAT=0.2,RESEND=0.3,CONTROLLER_SILENT=1,CONTROLLER_LOOK=0.05,LAST_WORDS=0.2,"
          "FAREWELL=2,LOOK=0.1,LAUNCH_RETRY=0.1,REQUESTS=0.05,VIEW=0.05,DECISION=300,ORPHAN=300")

# LeakSanitizer looks from a process of its own, waits for it without end, and we would kill it.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"

TABLES = ("trials", "metrics", "rungs", "decisions", "attempts")
LINE = re.compile(rb'^\{.*,"x":"[0-9a-f]{16}"\}$')


class Broken(Exception):
    """A promise."""


def until(what, true, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise Broken(f"waited {seconds} s for: {what}")
        time.sleep(0.001)


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


# ---- processes ----


def gone(pid):
    """No process, or one that only waits to be waited for."""
    line = read(f"/proc/{pid}/stat") if os.path.exists(f"/proc/{pid}") else None
    return not line or line.rsplit(b")", 1)[1].split()[0] in (b"Z", b"X")


def family(directory):
    """The processes of the sweep there, but its controllers: {pid: (kind, parent)}."""
    mark, variable = directory.encode(), b"RUNG_SWEEP_DIR=" + directory.encode()
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = read(f"/proc/{pid}/cmdline").split(b"\0")
            if mark not in words and variable not in read(f"/proc/{pid}/environ").split(b"\0"):
                continue
            parent = int(read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()[1])
        except (OSError, AttributeError, IndexError):
            continue
        kind = ("agent" if b"agent" in words[1:2] else "writer" if b"export" in words[1:2]
                else None if words[1:2] in ([b"run"], [b"resume"]) else "program")
        if kind and not gone(pid):
            found[int(pid)] = (kind, parent)
    for pid, (kind, parent) in found.items():
        if kind == "agent" and found.get(parent, ("",))[0] in ("agent", "shim"):
            found[pid] = ("shim", parent)
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


# ---- journals ----


class Journal:
    """Read here on its own, without checksums: fsck has these."""

    def __init__(self, sweep):
        self.files = {}
        directory = sweep + "/journal"
        for name in sorted(os.listdir(directory) if os.path.isdir(directory) else []):
            data = read(f"{directory}/{name}") or b""
            whole = data.rfind(b"\n") + 1
            self.files[int(name[:6])] = data[:whole]
        self.accepted = {}  # epoch: its accepted bytes
        self.events = []
        epoch, limit = max((e for e in self.files if self.first(e)), default=0), None
        while epoch:
            if not self.first(epoch):
                raise Broken(f"epoch {epoch} is accepted, and its file has not begun")
            data = self.files[epoch]
            if limit is not None and len(data) < limit:
                raise Broken(f"epoch {epoch}: {len(data)} bytes are left of {limit} accepted")
            self.accepted[epoch] = data if limit is None else data[:limit]
            epoch, limit = self.first(epoch).get("after", 0), self.first(epoch).get("bytes", 0)
        for epoch in sorted(self.accepted):
            for line in self.accepted[epoch].splitlines():
                if not LINE.match(line):
                    if max(self.accepted) == epoch:
                        break  # torn
                    raise Broken(f"epoch {epoch}: accepted a line that is not whole: {line!r}")
                self.events.append(json.loads(line))

    def first(self, epoch):
        line = self.files.get(epoch, b"").split(b"\n")[0]
        return json.loads(line) if LINE.match(line) else None

    def of(self, kind):
        return [e for e in self.events if e["e"] == kind]

    def holds(self, before):
        """Is all of an earlier reading in it?"""
        for epoch, data in before.accepted.items():
            if not self.accepted.get(epoch, b"").startswith(data):
                raise Broken(f"epoch {epoch}: {len(data)} bytes were there before the kill, and "
                             f"{len(self.accepted.get(epoch, b''))} count now")

    def check(self):
        """Attempts of a trial come one after another, and what is not of an open one is void."""
        open_attempt, last = {}, {}
        for e in self.events:
            t = e.get("trial", -1)
            if e["e"] == "start":
                if t in open_attempt:
                    raise Broken(f"trial {t}: attempt {e['attempt']} begins in attempt "
                                 f"{open_attempt[t]}")
                if e["attempt"] <= last.get(t, 0):
                    raise Broken(f"trial {t}: attempt {e['attempt']} begins again")
                open_attempt[t] = last[t] = e["attempt"]
            elif e["e"] in ("report", "saved", "end") and open_attempt.get(t) != e["attempt"]:
                raise Broken(f"trial {t}: {e['e']} of attempt {e['attempt']}, not the open one")
            if e["e"] == "end":
                del open_attempt[t]
        numbers = [(e["trial"], e["attempt"], e["number"]) for e in self.of("report")]
        if len(set(numbers)) != len(numbers):
            raise Broken("a report is there twice")


# ---- a sweep ----


class Sweep:
    all = []  # that were not removed

    def __init__(self, name, mode, pause_ms=4, trials=TRIALS, extra=""):
        self.tree = os.path.realpath(name)
        os.makedirs(self.tree)
        self.yaml, self.dir = self.tree + ".yaml", self.tree + "/s"
        self.witness = self.tree + ".witness"
        os.makedirs(self.witness)
        with open(self.yaml, "w", encoding="utf-8") as f:
            f.write(f"""name: {os.path.basename(name)}
command: "'{WITNESS}' '{self.witness}' {pause_ms}"
metric: loss
space: {{x: "uniform(0, 1)"}}
search: {{trials: {trials}}}
schedule: {{mode: {mode}, grace_period: 3, max_t: 9}}
slots: 3
retry: {{failures: 100}}
{extra}
""")
        self.trials = trials
        self.env = dict(os.environ, RUNG_TIMERS=TIMERS)
        self.controller, self.before, self.n = None, [], 0
        Sweep.all.append(self)

    def start(self, **env):
        if os.path.exists(self.dir + "/sweep.yaml"):
            command = [RUNG, "resume", "--quiet", self.dir]
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
            command = [RUNG, "run", "--quiet", "--executor", "local", "--dir", self.dir, self.yaml]
        self.n += 1
        with open(f"{self.tree}.err-{self.n}", "wb") as err:
            self.controller = subprocess.Popen(command, stderr=err, env=dict(self.env, **env),
                                               stdout=subprocess.DEVNULL)
        return time.monotonic()

    def said(self):
        return read(f"{self.tree}.err-{self.n}").decode(errors="replace")

    def alive(self):
        return self.controller.poll() is None

    def ended(self, status=0):
        until("the sweep's end", lambda: not self.alive())
        if self.controller.returncode != status:
            raise Broken(f"exit status {self.controller.returncode}: {self.said()}")

    def kill_controller(self):
        kill(self.controller.pid)
        self.controller.wait()

    def kill_all(self):
        """As one: also what is started meanwhile."""
        self.kill_controller()
        while True:
            left = family(self.dir)
            if not left:
                break
            for pid in left:
                kill(pid)

    def account(self, word):
        """What the programs wrote down."""
        lines = (read(self.witness + "/account") or b"").decode().splitlines()
        return [line.split(" ", 1)[1] for line in lines if line.split(" ")[0] == word]

    def check_told(self, journal):
        reports = {(e["trial"], e["attempt"], e["step"]): e["decision"]
                   for e in journal.of("report")}
        for line in self.account("told"):
            trial, attempt, step, decision = line.split()
            key = int(trial), int(attempt), int(step)
            if reports.get(key) != decision:
                raise Broken(f"trial {trial}, attempt {attempt} was told {decision} at step "
                             f"{step}; the journal says {reports.get(key)}")
        if self.account("lost"):
            raise Broken("checkpoints said to be saved are lost; trial, attempt and step: "
                         + self.account("lost")[0])

    def check_h5(self, events=None):
        """It can be read, and says how many events it reflects; None: there is none."""
        try:
            with h5py.File(self.dir + "/sweep.h5", "r") as f:
                for table in TABLES:
                    f[table][()]
                reflects = int(f.attrs["journal_events"])
        except FileNotFoundError:
            reflects = None
        except (OSError, KeyError) as e:
            raise Broken(f"sweep.h5 cannot be read: {e}") from e
        if events is not None and reflects != events:
            raise Broken(f"sweep.h5 reflects {reflects} events of {events}")
        return reflects

    def check_files(self):
        """What is there is whole."""
        for name in os.listdir(self.dir + "/keys"):
            if ".tmp-" not in name and len(read(f"{self.dir}/keys/{name}")) != 41:
                raise Broken(f"keys/{name} is not whole")
        if not {"agent.key", "agent.pub"} <= set(os.listdir(self.dir + "/keys")):
            raise Broken("sweep.yaml is there, and a key is missing")
        if read(self.dir + "/sweep.yaml") != read(self.yaml):
            raise Broken("sweep.yaml is not whole")
        text = read(self.dir + "/controller.json")
        try:
            if text is not None and json.loads(text)["epoch"] < 1:
                raise ValueError(text)
        except (ValueError, KeyError) as e:
            raise Broken(f"controller.json is not whole: {text!r}") from e
        self.check_h5()

    def check_finished(self):
        """The sweep has said that it is over, and so it is."""
        journal = Journal(self.dir)
        journal.check()
        for before in self.before:
            journal.holds(before)
        self.check_told(journal)
        if len(journal.of("trial")) != self.trials or not journal.of("finish"):
            raise Broken(f"{len(journal.of('trial'))} trials; finished: {journal.of('finish')}")
        if json.loads(read(self.dir + "/controller.json"))["state"] != "finished":
            raise Broken("controller.json does not say that the sweep is finished")
        self.check_h5(len(journal.events))
        for command in (["replay", "--verify"], ["fsck"]):
            done = subprocess.run([RUNG, *command, self.dir], capture_output=True, text=True,
                                  env=dict(os.environ), check=False)
            if done.returncode != 0:
                raise Broken(f"rung {command[0]}: {done.stdout}{done.stderr}")

    def check_nobody(self):
        try:
            until("its processes to end", lambda: not family(self.dir))
        except Broken as e:
            raise Broken(f"{e}; left are {family(self.dir)}") from e

    def remove(self):
        Sweep.all.remove(self)
        base = os.path.dirname(self.tree)
        for name in os.listdir(base):
            if name == os.path.basename(self.tree) or name.startswith(
                    os.path.basename(self.tree) + "."):
                path = os.path.join(base, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


# ---- kill ----


class Reader(threading.Thread):
    """Reads sweep.h5 all the time."""

    def __init__(self, sweep):
        super().__init__(daemon=True)
        self.sweep, self.over, self.broken, self.reads = sweep, threading.Event(), None, 0
        self.start()

    def run(self):
        while not self.over.wait(0.003):
            try:
                self.reads += self.sweep.check_h5() is not None
            except Broken as e:
                self.broken = e
                return

    def stop(self):
        self.over.set()
        self.join()
        if self.broken:
            raise self.broken


def seen(directory, begins):
    try:
        return any(name.startswith(begins) for name in os.listdir(directory))
    except FileNotFoundError:
        return False


# Instants: after how long, or what is waited for first.
def instant(rng, sweep):
    kind = rng.choice(("start", "start", "run", "run", "run", "epoch", "json", "h5", "finish"))
    if kind == "start":
        return kind, lambda: True, rng.uniform(0, 0.06)
    if kind == "run":
        return kind, lambda: True, rng.uniform(0.02, 0.5)
    if kind == "epoch":
        n = len(Journal(sweep.dir).files)
        return kind, lambda: len(Journal(sweep.dir).files) > n, rng.uniform(0, 0.004)
    if kind == "json":
        return kind, lambda: seen(sweep.dir, "controller.json.tmp-"), 0
    if kind == "h5":
        return kind, lambda: seen(sweep.dir, "sweep.h5.tmp-"), rng.uniform(0, 0.002)
    return (kind, lambda: any(b'{"e":"finish"' in data for data in
                              Journal(sweep.dir).files.values()), rng.uniform(0, 0.04))


def strike(rng, sweep, kinds, killed_agents):
    """Waits for the next instant, and kills; what died, or None when the sweep was over."""
    target = rng.choice(("controller",) * 3 + ("agent", "shim", "program") * 2 + ("writer",))
    kind, true, delay = instant(rng, sweep)
    waits = time.monotonic() + 2  # not every instant comes once more
    while not true():
        if not sweep.alive() or time.monotonic() > waits:
            return None
        time.sleep(0.0002)
    end = time.monotonic() + delay
    while time.monotonic() < end:
        time.sleep(0.0005)
    if not sweep.alive():
        return None
    if target == "controller":
        sweep.kill_controller()
        if sweep.controller.returncode != -signal.SIGKILL:
            return None
        sweep.before.append(Journal(sweep.dir))
    else:
        pids = sorted(pid for pid, (is_kind, _) in family(sweep.dir).items() if is_kind == target)
        if not pids:
            return None
        kill(rng.choice(pids))
        if target == "agent":
            killed_agents.append(True)
    kinds[target, kind] = kinds.get((target, kind), 0) + 1
    return target


def check_tmp(homes):
    """What killed agents left in /tmp: once it is old, the next agent removes it."""
    left = [home for home in homes if os.path.exists(home)]
    for home in left:
        fd = os.open(home, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody's
        os.close(fd)
        os.utime(home, (time.time() - 600,) * 2)
    sweep = Sweep("tidy", "stop", trials=2)
    sweep.start()
    sweep.ended()
    sweep.check_nobody()
    sweep.check_finished()
    for home in left:
        if os.path.exists(home):
            raise Broken(f"{home} is left behind")
    sweep.remove()
    return len(left)


def torture_kill(n, seed):
    rng = random.Random(seed)
    kinds, homes, done, sweeps, reads = {}, set(), 0, 0, 0
    while done < n:
        sweep = Sweep(f"kill-{sweeps}", rng.choice(("promote", "stop")))
        reader, killed_agents, here = Reader(sweep), [], 0
        sweep.start()
        while True:
            if done < n and here < 12 and sweep.alive():
                died = strike(rng, sweep, kinds, killed_agents)
                done += died is not None
                here += died is not None
                if died == "controller":
                    sweep.start()
                if died is not None:
                    continue
            if not sweep.alive() or done >= n or here >= 12:
                break
        sweep.ended()
        sweep.check_nobody()
        reader.stop()
        reads += reader.reads
        sweep.check_finished()
        here = {os.path.dirname(home) for home in sweep.account("home")}
        if not killed_agents and any(map(os.path.exists, here)):
            raise Broken(f"left in /tmp, though no agent was killed: {here}")
        homes |= here
        sweep.remove()
        sweeps += 1
    left = check_tmp(homes)
    by = {}
    for (target, _), count in kinds.items():
        by[target] = by.get(target, 0) + count
    print(f"{done} kills in {sweeps} sweeps:", ", ".join(f"{k} {v}" for k, v in sorted(by.items())))
    print("instants:", ", ".join(f"{k[0]}/{k[1]} {v}" for k, v in sorted(kinds.items())))
    print(f"sweep.h5 was read {reads} times; {left} directories in /tmp were removed later")


# ---- the disk that forgets ----


class Disk:
    """What tests/forget.c has noted of a tree; see there."""

    def __init__(self, tree):
        self.tree, self.store = tree, tree + ".store"
        for room in ("i", "d", "pin"):
            os.makedirs(f"{self.store}/{room}", exist_ok=True)
        self.env = {"LD_PRELOAD": FORGET, "FORGET_TREE": tree, "FORGET_STORE": self.store}

    def log(self):
        return (read(self.store + "/log") or b"").decode().splitlines()

    def content(self, inode, rng):
        """What is left of a file: what was synced, and with luck some more."""
        durable = read(f"{self.store}/i/{inode}") or b""
        live = read(f"{self.store}/pin/{inode}")
        if live is None:
            live = read(self.live.get(inode, "/nowhere")) or b""
        if rng is None or not live.startswith(durable):
            return durable
        more = live[len(durable):]
        how = rng.choice(("lost", "torn", "zeros", "kept"))
        if how == "kept":
            return live
        kept = rng.randrange(len(more) + 1) if more and how != "lost" else 0
        return durable + more[:kept] + (bytes(len(more) - kept) if how == "zeros" else b"")

    def lay(self, inode, to, rng):
        """Makes directory `to` of what is left of the directory with that inode."""
        os.makedirs(to)
        noted = (read(f"{self.store}/d/{inode}") or b"").decode().splitlines()
        entries = [line.split(" ", 2) for line in noted]
        path = self.live.get(inode)
        if rng and path and rng.random() < 0.3:  # its names had reached the disk, too
            entries = [("d" if os.path.isdir(f"{path}/{name}") else "f",
                        os.lstat(f"{path}/{name}").st_ino, name) for name in os.listdir(path)]
        for kind, number, name in sorted(entries, key=lambda e: e[2]):
            number, below = int(number), f"{to}/{name}"
            source = self.live.get(number) or f"{self.store}/pin/{number}"
            if kind == "d":
                self.lay(number, below, rng)
            else:
                with open(below, "wb") as f:
                    f.write(self.content(number, rng))
            if os.path.exists(source):
                os.chmod(below, stat.S_IMODE(os.stat(source).st_mode))

    def cut(self, rng):
        """The power is gone, and back: the tree is what is left. rng None: the least."""
        self.live = {os.stat(self.tree).st_ino: self.tree}
        for at, directories, files in os.walk(self.tree):
            for name in directories + files:
                self.live[os.lstat(f"{at}/{name}").st_ino] = f"{at}/{name}"
        after = self.tree + ".after"
        shutil.rmtree(after, ignore_errors=True)
        self.lay(os.stat(self.tree).st_ino, after, rng)
        shutil.rmtree(self.tree)
        os.rename(after, self.tree)
        log = self.log()
        shutil.rmtree(self.store)
        self.__init__(self.tree)
        for at, directories, files in os.walk(self.tree):
            lines = []
            for name in directories + files:
                inode = os.lstat(f"{at}/{name}").st_ino
                lines.append(f"{'d' if name in directories else 'f'} {inode} {name}\n")
                if name in files:
                    shutil.copyfile(f"{at}/{name}", f"{self.store}/i/{inode}")
                    os.link(f"{at}/{name}", f"{self.store}/pin/{inode}")
            with open(f"{self.store}/d/{os.stat(at).st_ino}", "w", encoding="utf-8") as f:
                f.writelines(lines)
        return log


def power_cut(sweep, disk, rng):
    """And what was acted on is there."""
    sweep.kill_all()
    started = bool(sweep.account("home"))
    log = disk.cut(rng)
    if any("cannot be noted" in line for line in log):
        raise Broken(f"not the sweep, its test is broken: {log}")
    if not os.path.exists(sweep.dir + "/sweep.yaml"):
        if started:
            raise Broken("trials ran, and after a power cut there is no sweep")
        return
    sweep.check_files()
    journal = Journal(sweep.dir)
    sweep.check_told(journal)
    if started and not journal.events:
        raise Broken("trials ran, and after a power cut no epoch has begun")


def write_h5(sweep, disk):
    """As a sweep says at its end where all that wrote sweep.h5 were killed, the last, too."""
    said = [read(f"{sweep.tree}.err-{i}") or b"" for i in range(1, sweep.n + 1)]
    if any(b"`rung export --hdf5` writes it later" in text for text in said):
        subprocess.run([RUNG, "export", "--hdf5", sweep.dir], check=True,
                       env=dict(sweep.env, **disk.env))


def torture_cut(n, seed):
    rng = random.Random(seed)
    cuts, sweeps, where = 0, 0, {}
    while cuts < n:
        sweep = Sweep(f"cut-{sweeps}", rng.choice(("promote", "stop")), pause_ms=2)
        disk = Disk(sweep.tree)
        for _ in range(4):
            word = rng.choice(("controller",) * 3 + ("agent", WITNESS, "export"))
            most = {"controller": 120, "agent": 40, WITNESS: 60, "export": 6}[word]
            at = int(most ** rng.random()) if word == "controller" else rng.randrange(1, most)
            begun = os.path.exists(sweep.dir + "/sweep.yaml")
            mind = ("resume" if begun else "run") if word == "controller" else word
            sweep.start(**disk.env, FORGET_CUT=f"{mind}:{at}")
            until("a cut", lambda: any(line.endswith(" cut ") for line in disk.log())
                  or not sweep.alive())
            if word != "controller":
                time.sleep(rng.uniform(0, 0.05))
            if sweep.controller.poll() not in (None, 0, -signal.SIGKILL):
                raise Broken(f"exit status {sweep.controller.returncode}: {sweep.said()}")
            over = sweep.controller.poll() == 0
            name = os.path.basename(word) if not over else "finished"
            power_cut(sweep, disk, rng if rng.random() < 0.6 else None)
            where[name] = where.get(name, 0) + 1
            cuts += 1
            if over:
                write_h5(sweep, disk)
                sweep.check_finished()
                break
        sweep.start(**disk.env)
        sweep.ended()
        sweep.check_nobody()
        write_h5(sweep, disk)
        power_cut(sweep, disk, None)
        sweep.check_finished()
        tidy(sweep)
        sweeps += 1
    print(f"{cuts} power cuts in {sweeps} sweeps:",
          ", ".join(f"{k} {v}" for k, v in sorted(where.items())))


def tidy(sweep):
    """Agents died with their directories in /tmp: torture_kill() has looked who removes these."""
    for home in {os.path.dirname(home) for home in sweep.account("home")}:
        shutil.rmtree(home, ignore_errors=True)
    sweep.remove()


# ---- disks that lie ----

LIES = (  # what is not synced, and what must be found missing
    ("the journal", "*:*/journal/*.jsonl", "(was told|no epoch has begun)"),
    ("the journal's directory", "*:*/journal", "(was told|no epoch has begun)"),
    ("the sweep's directory", "*:*/lie-*/s", "there is no sweep"),
    ("the directory above it", "*:*/lie-?", "there is no sweep"),
    ("sweep.yaml", "*:*/sweep.yaml.tmp-*", "sweep.yaml is not whole"),
    ("the keys", "*:*/agent.key.tmp-*", "is not whole"),
    ("the keys' directory", "*:*/keys", "a key is missing"),
    ("controller.json", "*:*/controller.json.tmp-*", "controller.json is not whole"),
    ("sweep.h5", "export:*/sweep.h5.tmp-*", "sweep.h5 cannot be read"),
    ("the name of sweep.h5", "export:*/s", "sweep.h5 reflects .* events of"),
    ("the directories of trials", "agent:*/trials*", "checkpoints said to be saved are lost"),
)


def lie_found(number, lie):
    """Runs a sweep with power cuts while it runs and when it is over; what is found broken."""
    sweep = Sweep(f"lie-{number}", "promote", pause_ms=2)
    disk = Disk(sweep.tree)
    env = dict(disk.env, FORGET_LIE=lie) if lie else disk.env
    try:
        sweep.start(**env)
        until("reports", lambda: len(sweep.account("told")) >= 4 or not sweep.alive())
        power_cut(sweep, disk, None)
        subprocess.run([RUNG, "export", "--hdf5", sweep.dir], env=dict(sweep.env, **env),
                       check=True)
        power_cut(sweep, disk, None)
        sweep.check_h5(len(Journal(sweep.dir).events))
        sweep.start(**env)
        sweep.ended()
        power_cut(sweep, disk, None)
        sweep.check_finished()
    except Broken as e:
        return str(e)
    finally:
        if sweep.controller:
            sweep.kill_all()
        tidy(sweep)
    return ""


def torture_lie():
    found = lie_found("x", None)
    if found:
        raise Broken(f"without a lie: {found}")
    for number, (what, lie, want) in enumerate(LIES):
        found = lie_found(chr(ord("a") + number), lie)
        if not re.search(want, found):
            raise Broken(f"{what} is not synced, and what is found is: {found or 'nothing'}")
        print(f"{what} is not synced: {found.splitlines()[0]}")


# ---- disks that fail ----

FAILS = (  # CALL:N:ERRNO:PATTERN in the controller, and what it must say
    ("fsync:1:EIO:*/journal/*.jsonl", "journal/000001.jsonl: fsync: Input/output error"),
    ("fsync:5:EIO:*/journal/*.jsonl", "journal/000001.jsonl: fsync: Input/output error"),
    ("fsync:1:EIO:*/journal", "/journal: fsync: Input/output error"),
    ("write:4:EIO:*/journal/*.jsonl", "journal/000001.jsonl: write: Input/output error"),
    ("write:1:ENOSPC:*/journal/*.jsonl", "journal/000001.jsonl: write: No space left on device"),
    ("write:6:ENOSPC:*/journal/*.jsonl", "journal/000001.jsonl: write: No space left on device"),
    ("write:6:EDQUOT:*/journal/*.jsonl", "journal/000001.jsonl: write: Disk quota exceeded"),
    ("open:1:ENOSPC:*/journal/*.jsonl", "journal/000001.jsonl: No space left on device"),
    ("write:1:ENOSPC:*/controller.json*", "controller.json: write: No space left on device"),
    ("fsync:1:EIO:*/controller.json*", "controller.json.*: fsync: Input/output error"),
    ("write:1:ENOSPC:*/sweep.yaml*", "sweep.yaml: write: No space left on device"),
    ("write:1:ENOSPC:*/keys/*", "agent.pub: write: No space left on device"),
    ("mkdir:3:ENOSPC:*", "No space left on device"),
)


def check_failure(sweep, disk, plan, says):
    errno_name = plan.split(":")[2]
    sweep.start(**disk.env, FORGET_FAIL="run:" + plan)
    sweep.ended(1)
    if not re.search("rung( run)?: .*" + says, sweep.said()):
        raise Broken(f"{plan}: it says: {sweep.said()}")
    begun = os.path.exists(sweep.dir + "/sweep.yaml")
    if begun and f"rung resume {shlex.quote(sweep.dir)}" not in sweep.said():
        raise Broken(f"{plan}: it does not say how to go on: {sweep.said()}")
    if not begun and os.path.exists(sweep.dir):
        raise Broken(f"{plan}: it leaves a directory that is no sweep")
    log = disk.log()
    failed = [line.split(" ", 2) for line in log if f" {errno_name} " in line]
    if not failed:
        raise Broken(f"{plan}: nothing failed")
    pid, _, path = failed[0]
    if "fsync" in plan and any(line == f"{pid} fsync {path}" for line in
                               log[log.index(f"{pid} {errno_name} {path}") + 1:]):
        raise Broken(f"{plan}: fsync is tried again")
    if any(line.startswith(f"{pid} fsync") and "/journal" in line for line in log):
        raise Broken(f"{plan}: the journal goes on after that")


def torture_fail():
    for number, (plan, says) in enumerate(FAILS):
        sweep = Sweep(f"fail-{number}", "promote", pause_ms=2, trials=4)
        disk = Disk(sweep.tree)
        check_failure(sweep, disk, plan, says)
        # nothing was sent that was not durable
        power_cut(sweep, disk, None)
        sweep.start(**disk.env)
        sweep.ended()
        sweep.check_nobody()
        sweep.check_finished()
        tidy(sweep)
        print(f"{plan}: said, and it went on")
    # what only writes the view stops nothing
    for plan in ("export:fsync:1:EIO:*/sweep.h5*", "export:write:1:ENOSPC:*/sweep.h5*"):
        sweep = Sweep("view", "promote", trials=4)
        disk = Disk(sweep.tree)
        sweep.start(**disk.env, FORGET_FAIL=plan)
        sweep.ended()
        if "sweep.h5 cannot be written" not in sweep.said():
            raise Broken(f"{plan}: it says: {sweep.said()}")
        if seen(sweep.dir, "sweep.h5.tmp-"):
            raise Broken(f"{plan}: half a file is left")
        subprocess.run([RUNG, "export", "--hdf5", sweep.dir], check=True)
        sweep.check_nobody()
        sweep.check_finished()
        sweep.remove()
        print(f"{plan}: said, and the sweep ended")


# ---- a clock that is set ----


def torture_clock():
    """Back by an hour while it runs, and forth again: stop.time counts as if it were not."""
    sweep = Sweep("clock", "promote", extra="stop: {time: 30m}")
    disk, behind = Disk(sweep.tree), sweep.tree + ".behind"
    sweep.start(**disk.env, FORGET_CLOCK=behind)
    until("reports", lambda: len(sweep.account("told")) >= 3)
    with open(behind, "wb"):
        pass
    until("more of them", lambda: len(sweep.account("told")) >= 8)
    os.remove(behind)
    sweep.ended()
    sweep.check_nobody()
    sweep.check_finished()
    journal = Journal(sweep.dir)
    times = [e["t"] for e in journal.events]
    if not any(b < a - 3000 for a, b in zip(times, times[1:])):
        raise Broken("the clock was not set back")
    if journal.of("pause"):
        raise Broken(f"it paused: {journal.of('pause')}")
    # and the next epoch begins before the last one did
    with open(behind, "wb"):
        pass
    env = dict(sweep.env, **disk.env, FORGET_CLOCK=behind)
    done = subprocess.run([RUNG, "resume", "--quiet", "--set", f"search.trials={TRIALS + 2}",
                           sweep.dir], env=env, check=False)
    if done.returncode != 0:
        raise Broken(f"exit status {done.returncode} after the clock was set back")
    sweep.trials += 2
    sweep.check_nobody()
    sweep.check_finished()
    sweep.remove()
    print("the clock was set back by an hour, forth, and back before the next epoch")


def main():
    what, numbers = sys.argv[1], [int(word) for word in sys.argv[2:]]
    try:
        {"kill": torture_kill, "cut": torture_cut, "lie": torture_lie,
         "fail": torture_fail, "clock": torture_clock}[what](*numbers)
    except Broken as e:
        print(f"{' '.join(sys.argv)}: {e}", file=sys.stderr, flush=True)
        for sweep in Sweep.all:
            if sweep.controller:
                sweep.kill_all()
        os._exit(1)  # readers may still read


main()
