"""Timing claims, measured: `make bench`, or `make bench QUICK=1` for a shorter run."""
