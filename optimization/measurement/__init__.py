"""Measurements: latency, parity, batch dependence, and the windows and machine they used."""
