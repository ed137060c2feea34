#!/usr/bin/env bash
# purgedcv keeps a training sample whose label ends at the moment at which the test begins.
#
# Versions   purgedcv 0.1.11, numpy 2.4.6, pandas 3.1.1, Python 3.11
# Behaviour  WalkForwardSplit(purge_horizon=0) with the times of predictions and of their evaluations:
#            hourly samples, predicted at the close of a bar and evaluated at the close 4 bars later.
#            The last training sample is evaluated at the very close at which the first test sample is
#            predicted, so that its label contains a price which is the newest input of the test. Moving
#            all evaluations by 1 ms removes this sample.
# Expected   An overlap includes its end: a label that is known at the same time as an input of the test
#            shares a price with it. skfolio's WalkForward(purged_size=4) leaves 4 samples between the
#            two.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet \
    "purgedcv==0.1.11" "numpy==2.4.6" "pandas==3.1.1"
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import pandas
import purgedcv

HORIZON = 4
closes = pandas.Series(pandas.date_range("2026-01-05", periods=100, freq="h"))


def gap(delay):
    """Return how many samples lie between the training and the test of the only fold."""
    split = purgedcv.WalkForwardSplit(
        1,
        20,
        window="expanding",
        prediction_times=closes,
        evaluation_times=closes + pandas.Timedelta(hours=HORIZON) + delay,
        purge_horizon=pandas.Timedelta(0),
    )
    ((train, test),) = split.split(np.zeros((len(closes), 1)))
    return int(test[0] - train[-1] - 1)


found = gap(pandas.Timedelta(0)), gap(pandas.Timedelta(milliseconds=1))
print(f"samples between training and test: {found[0]}, and {found[1]} with labels 1 ms later")
if found != (HORIZON - 1, HORIZON):
    sys.exit("the behaviour has changed")
PYTHON
