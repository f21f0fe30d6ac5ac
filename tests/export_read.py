"""export_read.py DIR OUT: compares what `rung export -o OUT` wrote of the sweep DIR, as CSV,
JSON lines and TensorBoard's event files, with what DIR/journal says, read here on its own."""

import csv
import glob
import json
import math
import os
import struct
import sys

sweep, out = sys.argv[1:3]
events = []
for path in sorted(glob.glob(sweep + "/journal/*.jsonl")):
    with open(path, encoding="utf-8") as journal:
        events += [json.loads(line) for line in journal]
TABLES = ["trials", "metrics", "rungs", "decisions", "attempts"]


def of_kind(kind):
    return [event for event in events if event["e"] == kind]


def read_csv(name):
    with open(f"{out}/{name}.csv", encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, strict=True))


def read_jsonl(name):
    with open(f"{out}/{name}.jsonl", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def as_csv(value):
    """A value of JSON lines as CSV has it; an absent one is None."""
    if value is None or value == "NaN":
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return {"Infinity": "Inf", "-Infinity": "-Inf"}.get(value, str(value))


def check_tables():
    for name in TABLES:
        rows, objects = read_csv(name), read_jsonl(name)
        assert len(rows) == len(objects), name
        for row, obj in zip(rows, objects):
            assert set(obj) <= set(row), name
            for column, cell in row.items():
                want = as_csv(obj.get(column))
                assert cell == want or float(cell) == float(want), (name, column, cell, want)
    assert len(read_csv("attempts")) == len(of_kind("start"))
    assert [a["outcome"] for a in read_csv("attempts") if a["outcome"]] == [
        e["outcome"] for e in of_kind("end")]


def check_trials():
    rows = read_csv("trials")
    assert len(rows) == len(of_kind("trial"))
    for row, event in zip(rows, of_kind("trial")):
        params = {k[3:]: v for k, v in row.items() if k.startswith("hp_")}
        assert set(event["params"]) <= set(params)
        for name, cell in params.items():
            assert cell == as_csv(event["params"].get(name)), (row["trial"], name, cell)


def check_metrics():
    rows = read_csv("metrics")
    assert len(rows) == len(of_kind("report"))
    for row, event in zip(rows, of_kind("report")):
        for key in ("trial", "attempt", "step"):
            assert int(row[key]) == event[key]
        metrics = {k.replace("/", "."): as_csv(v) for k, v in event["metrics"].items()}
        for name, cell in list(row.items())[6:]:
            assert cell == metrics.get(name, ""), (name, cell)


# ---- event files ----

def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    return table


TABLE = crc32c_table()


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    while data:
        size, crc = struct.unpack("<QI", data[:12])
        assert crc == masked_crc(data[:8])
        body, (crc,) = data[12:12 + size], struct.unpack("<I", data[12 + size:16 + size])
        assert crc == masked_crc(body)
        yield body
        data = data[16 + size:]


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of a message of protocol buffers."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            n, at = {1: (8, at), 5: (4, at)}.get(key & 7) or varint(data, at)
            value, at = data[at:at + n], at + n
        yield key >> 3, value


def scalars(path):
    """[(time, step, {tag: value})], after the version of the file."""
    with open(path, "rb") as f:
        first, *others = (dict(fields(record)) for record in records(f.read()))
    assert first[3] == b"brain.Event:2"
    for event in others:
        values = {}
        for number, value in fields(event[5]):
            assert number == 1
            value = dict(fields(value))
            values[value[1].decode()] = struct.unpack("<f", value[2])[0]
        yield struct.unpack("<d", event[1])[0], event[2], values


def narrow(value):
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def check_tensorboard():
    assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    reported = {}
    for e in of_kind("report"):
        reported.setdefault(e["trial"], []).append(
            (e["t"], e["step"], {k: narrow(v) for k, v in e["metrics"].items()}))
    assert sorted(os.listdir(out + "/tensorboard")) == ["%06d" % t for t in sorted(reported)]
    for trial, want in reported.items():
        (path,) = glob.glob(f"{out}/tensorboard/{trial:06d}/*tfevents*")
        have = list(scalars(path))
        for (t, step, values), (t2, step2, values2) in zip(have, want):
            assert (t, step, set(values)) == (t2, step2, set(values2))
            for tag, v in values.items():
                assert v == values2[tag] or math.isnan(v) and math.isnan(values2[tag]), tag
        assert len(have) == len(want)


check_tables()
check_trials()
check_metrics()
check_tensorboard()
