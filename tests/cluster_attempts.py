"""cluster_attempts.py DIR COLUMN...: these columns of /attempts in DIR/sweep.h5, a line an
attempt; what is empty is `-`."""

import os
import sys

os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
import h5py

with h5py.File(sys.argv[1] + "/sweep.h5") as f:
    for row in f["attempts"][:]:
        values = [row[column] for column in sys.argv[2:]]
        print(*(v.decode() or "-" if isinstance(v, bytes) else v for v in values))
