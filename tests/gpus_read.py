"""gpus_read.py SWEEP: the attempts of tests/gpus.t's first sweep, as h5py reads them."""

import sys

import h5py

sweep = sys.argv[1]
# "TRIAL GPU" lines, as the programs had them: 1 is the second, GPU-a the first.
had = dict(line.split() for line in open(sweep + "/had"))
with h5py.File(sweep + "/sweep.h5") as f:
    rows = f["attempts"][:]
    units = dict(zip(f["attempts"].dtype.names, f["attempts"].attrs["units"]))
assert (units["gpu_seconds"], units["gpu_util"], units["gpu_mem_peak"]) == (b"s", b"", b"bytes")
assert units["gpu_energy_joules"] == b"J"
assert sorted(had.values()) == ["1", "1", "GPU-a", "GPU-a"], had
for row in rows:
    seconds = row["ended"] - row["started"]
    watts = {"1": 65, "GPU-a": 412}[had[str(row["trial"])]]
    assert abs(row["gpu_seconds"] - seconds) < 1e-6, row  # one GPU each
    assert row["energy_joules"] != row["energy_joules"], row  # Slurm's, of whole nodes
    assert 0.3 * watts * seconds < row["gpu_energy_joules"] <= watts * seconds + 1, row
    if watts == 65:
        assert abs(row["gpu_util"] - 0.07) < 1e-9 and row["gpu_mem_peak"] == 1 << 30, row
    elif row["trial"] < 2:  # it was busy first, and then less
        assert 0.53 < row["gpu_util"] < 0.93 and row["gpu_mem_peak"] == 60 << 30, row
    else:
        assert abs(row["gpu_util"] - 0.53) < 1e-9 and row["gpu_mem_peak"] == 20 << 30, row
