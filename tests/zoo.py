"""What zoo.sh has to say that `rung log` would not say for it.

Lines of no sense must be answered with an error, and what came before and after must
count all the same. usage: zoo.py garbage|long|at_once|halves
"""

import json
import os
import socket
import sys

GARBAGE = [
    "", " ", "what?", "{", "}", "[]", "3", "null", '"step"', "\0", "{}", "{}{}",
    '{"step":1', '{"step":-1,"metrics":{}}', '{"step":1.5,"metrics":{"loss":1}}',
    '{"step":1e99,"metrics":{"loss":1}}', '{"step":99999999999999999999,"metrics":{}}',
    '{"step":"1","metrics":{"loss":1}}', '{"step":1,"metrics":{"loss":"good"}}',
    '{"step":1,"metrics":[1]}', '{"step":1,"metrics":{"loss":{"loss":1}}}',
    '{"step":1,"metrics":{"time":1}}', '{"step":1,"metrics":{"":1}}',
    '{"saved":-1}', '{"saved":"x"}',
    '{"step":1,"metrics":{"' + "n" * 129 + '":1}}',
    '{"step":1,"metrics":{' + ",".join(f'"m{i}":1' for i in range(1001)) + "}}",
    "[" * 100000, '{"step":1,"metrics":{"loss":1' + "0" * 100000 + "}}",
]

agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ["RUNG_SOCKET"])
file = agent.makefile("rw", newline="\n", errors="surrogateescape")


def ask(line):
    file.write(line + "\n")
    file.flush()
    return json.loads(file.readline())


def report(step, **metrics):
    return json.dumps({"step": step, "metrics": metrics})


if sys.argv[1] == "garbage":
    for line in GARBAGE + ["\udcff\udc80", '{"step":1,"metrics":{"\udcff":1}}']:
        if list(ask(line)) != ["error"]:
            sys.exit(f"this was taken: {line[:80]}")
elif sys.argv[1] == "long":
    for n in 1 << 20, 1_500_000, 5_000_000:
        if list(ask("x" * n)) != ["error"]:
            sys.exit(f"{n} bytes were taken")
    # as long as a line may be, and right
    pad = (1 << 20) - len(report(1, other=1))
    print(ask(report(1, other=1) + " " * pad))
elif sys.argv[1] == "halves":
    # a connection for each line, and half of it closed before the answer is read, which
    # ends with the other half
    step, decision = 0, "continue"
    while decision == "continue":
        step += 1
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(os.environ["RUNG_SOCKET"])
            one.sendall(report(step, loss=1).encode())
            one.shutdown(socket.SHUT_WR)
            decision = json.loads(one.makefile().read())["decision"]
elif sys.argv[1] == "at_once":
    # all is said before anything is heard
    file.write("".join(report(step, loss=100) + "\n" for step in range(1, 10)))
    file.flush()
    print([json.loads(file.readline())["decision"] for step in range(1, 10)])
