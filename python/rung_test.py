"""Tests of the module rung; run by tests/python.t. The agent is played by a thread."""

import contextlib
import io
import json
import math
import os
import socket
import sys
import tempfile
import threading
import unittest
import warnings

import rung

try:
    import h5py
    import numpy
    import pandas
except ImportError:
    h5py = None

ENVIRONMENT = {
    "RUNG_TRIAL": "12", "RUNG_ATTEMPT": "3", "RUNG_START": "1", "RUNG_UNTIL": "3",
    "RUNG_SEED": "18446744073709551615", "RUNG_CHECKPOINT_DIR": "/sweep/trials/000012/a03",
    "RUNG_PARAMS": '{"lr": 0.001, "optimizer": "sgd", "nesterov": true}',
}


class Agent:
    """Answers lines with the answers given, one after another; None closes instead."""

    def __init__(self, answers):
        self.dir = tempfile.TemporaryDirectory(prefix="rung-py-")
        self.path = os.path.join(self.dir.name, "agent")
        self.answers = list(answers)
        self.lines = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.play, daemon=True)
        self.thread.start()

    def play(self):
        while self.answers:
            conn, _ = self.listener.accept()
            with conn, conn.makefile("rb") as lines:
                for line in lines:
                    self.lines.append(json.loads(line.decode()))
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    text = (answer + "\n").encode()
                    conn.sendall(text[:5])  # in pieces, as a stream may come
                    conn.sendall(text[5:])
                    if not self.answers:
                        break

    def stop(self):
        self.thread.join(10)
        self.listener.close()
        self.dir.cleanup()


class InASweep(unittest.TestCase):
    def agent(self, *answers):
        agent = Agent(answers)
        self.addCleanup(agent.stop)
        os.environ["RUNG_SOCKET"] = agent.path
        return agent

    def setUp(self):
        os.environ.update(ENVIRONMENT)
        rung._agent = rung._Agent()
        self.addCleanup(lambda: rung._agent.close())

    def tearDown(self):
        for name in [n for n in os.environ if n.startswith("RUNG_")]:
            del os.environ[name]

    def test_nobody_there(self):
        os.environ["RUNG_SOCKET"] = "/nonexistent/agent"
        with self.assertRaisesRegex(rung.Error, "cannot reach the agent"):
            rung.report(1, loss=1)

    def test_refused(self):
        agent = self.agent('{"error":"\'step\' is no name for a metric"}',
                           '{"decision":"continue"}')
        with self.assertRaisesRegex(rung.Error, "no name for a metric"):
            rung.report(1, {"rung": 1})
        self.assertEqual(rung.report(1, loss=1), "continue")
        self.assertEqual(len(agent.lines), 2)

    def test_wrong_values(self):
        os.environ["RUNG_SOCKET"] = "/nonexistent/agent"
        for wrong in ("a word", None, [1, 2]):
            with self.assertRaises((TypeError, ValueError)):
                rung.report(1, loss=wrong)

    def test_environment(self):
        os.environ["RUNG_SOCKET"] = "/nonexistent/agent"
        self.assertTrue(rung.active())
        self.assertEqual(rung.params(lr=1, batch_size=32),
                         {"lr": 0.001, "optimizer": "sgd", "nesterov": True,
                          "batch_size": 32})
        self.assertEqual(rung.trial(), 12)
        self.assertEqual(rung.attempt(), 3)
        self.assertEqual(rung.start(), 1)
        self.assertEqual(rung.until(), 3)
        self.assertEqual(rung.seed(), 2**64 - 1)
        self.assertEqual(rung.checkpoint_dir(), "/sweep/trials/000012/a03")

    def test_answers(self):
        agent = self.agent('{"decision":"continue","until":9}',
                           '{"decision":"continue","save":true}',
                           '{"decision":"continue","until":9}',
                           '{"decision":"pause"}', '{"decision":"stop"}')
        answer = rung.report(1, val_loss=0.21)
        self.assertEqual((answer, answer.save, rung.until()), ("continue", False, 9))
        answer = rung.report(2, {"val/loss": 1}, acc=True)
        self.assertEqual((answer, answer.save, rung.until()), ("continue", True, 9))
        self.assertIsNone(rung.saved(2))
        answer = rung.report(9, a=math.nan, b=math.inf, c=-math.inf)
        self.assertEqual((answer, answer.save), ("pause", True))
        answer = rung.report(10)
        self.assertEqual((answer, answer.save), ("stop", False))
        self.assertEqual(agent.lines[:3], [
            {"step": 1, "metrics": {"val_loss": 0.21}},
            {"step": 2, "metrics": {"val/loss": 1.0, "acc": 1.0}},
            {"saved": 2}])
        self.assertTrue(math.isnan(agent.lines[3]["metrics"]["a"]))
        self.assertEqual(agent.lines[3]["metrics"]["c"], -math.inf)
        self.assertEqual(agent.lines[4], {"step": 10, "metrics": {}})

    def test_reconnects_once(self):
        agent = self.agent('{"decision":"continue"}', None, '{"decision":"pause"}', None,
                           None)
        self.assertEqual(rung.report(1, loss=1), "continue")
        self.assertEqual(rung.report(2, loss=1), "pause")
        with self.assertRaises(rung.Error):
            rung.report(3, loss=1)
        self.assertEqual([line["step"] for line in agent.lines], [1, 2, 2, 3, 3])

    def test_fork_connects_anew(self):
        agent = self.agent('{"decision":"continue"}', None, '{"decision":"stop"}')
        self.assertEqual(rung.report(1, loss=1), "continue")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads beside a fork
            pid = os.fork()
        if pid == 0:
            kept = rung._agent.socket
            try:
                rung._agent.connect()
            finally:
                os._exit(0 if rung._agent.socket is not kept else 1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(rung.report(2, loss=1), "stop")
        self.assertEqual([line["step"] for line in agent.lines], [1, 2, 2])


class ByHand(unittest.TestCase):
    def test_by_hand(self):
        self.assertFalse(rung.active())
        self.assertEqual(rung.params(lr=0.1), {"lr": 0.1})
        self.assertEqual((rung.trial(), rung.attempt(), rung.start(), rung.seed()),
                         (-1, 0, 0, 0))
        self.assertEqual(rung.until(), sys.maxsize)
        self.assertEqual(rung.checkpoint_dir(), ".")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            answer = rung.report(3, val_loss=0.21, n=2, bad=math.nan)
            rung.report(4, sum=0.1 + 0.2, low=-math.inf)
            self.assertIsNone(rung.saved(4))
        self.assertEqual(printed.getvalue(), "step=3 val_loss=0.21 n=2 bad=nan\n"
                         "step=4 sum=0.30000000000000004 low=-inf\n")
        self.assertEqual((answer, answer.save), ("continue", False))


@unittest.skipUnless(h5py, "no pandas and h5py")
class Load(unittest.TestCase):
    """A file as rung writes it: flat compounds, fixed-length strings, units."""

    def test_load(self):
        trials = numpy.array([(0, b"paused", 0.5), (1, b"stopped", math.nan)],
                             dtype=[("trial", "i4"), ("state", "S10"), ("metric", "f8")])
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "sweep.h5")
            with self.assertRaises(OSError):
                rung.load(directory)
            with h5py.File(path, "w") as f:
                for name in ("trials", "metrics", "rungs", "decisions", "attempts"):
                    f[name] = trials
                f["trials"].attrs["units"] = numpy.array([b"", b"", b"loss"])
                f["trials"].attrs["other"] = 3
                f["sweep_yaml"] = numpy.bytes_("name: x\n".encode())
                f.attrs["schema"] = 1
                f.attrs["name"] = numpy.bytes_(b"x")
            for where in (directory, path):
                sweep = rung.load(where)
                self.assertEqual(list(sweep.trials["state"]), ["paused", "stopped"])
                self.assertEqual(list(sweep.trials["trial"]), [0, 1])
                self.assertTrue(pandas.isna(sweep.trials["metric"][1]))
                self.assertEqual(sweep.trials.attrs["units"],
                                 {"trial": "", "state": "", "metric": "loss"})
                self.assertEqual(sweep.trials.attrs.get("other"), None)
                self.assertEqual(len(sweep.attempts), 2)
                self.assertEqual(sweep.sweep_yaml, "name: x\n")
                self.assertEqual((sweep.attributes["schema"], sweep.attributes["name"]),
                                 (1, "x"))


if __name__ == "__main__":
    unittest.main()
