#!/usr/bin/env bash
# One iterator over a Parquet file keeps memory of every row group that it has passed.
#
# Versions   pyarrow 26.0.1, numpy 2.4.6, Python 3.11
# Behaviour  ParquetFile.iter_batches over all row groups holds on to memory of row groups that have
#            been read until the iterator ends, so that reading a file in batches takes memory in
#            proportion to the file. `buffer_size` does not change that.
# Expected   Memory of one row group and the current batch, as with one iterator per row group.
# Observed   a file of 20 row groups of 262,144 rows: at the end one iterator holds at least 1.5 times
#            what it holds after four row groups; one iterator per row group holds no more.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d /tmp/ts-XXXX)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet pyarrow==26.0.1 numpy==2.4.6
"$work/venv/bin/python" - "$work/file.parquet" <<'PYTHON'
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PATH = sys.argv[1]
GROUP, GROUPS = 1 << 18, 20
random = np.random.default_rng(0)
columns = {f"c{number}": random.random(GROUP * GROUPS) for number in range(5)}
pq.write_table(pa.table(columns), PATH, row_group_size=GROUP)
del columns
start = pa.total_allocated_bytes()


def held(batches):
    """Return the MiB that are allocated after each batch."""
    return [(pa.total_allocated_bytes() - start) >> 20 for _ in batches]


def one_iterator():
    with pq.ParquetFile(PATH) as file:
        return held(file.iter_batches(GROUP))


def iterator_per_group():
    with pq.ParquetFile(PATH) as file:
        groups = range(file.num_row_groups)
        return held(batch for g in groups for batch in file.iter_batches(GROUP, row_groups=[g]))


whole, single = one_iterator(), iterator_per_group()
print("MiB after each row group, one iterator:          ", *whole)
print("MiB after each row group, one iterator per group:", *single)
grows = max(whole[-4:]) >= 1.5 * max(whole[:4])
stays = max(single[-4:]) <= 1.2 * max(single[:4])
sys.exit(not (grows and stays))
PYTHON
echo "as described"
