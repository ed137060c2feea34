"""Our server beside its alternatives, handwritten and off the shelf, in one run on one machine.

All serve the same ONNX file on ONNX Runtime, one thread, no spinning, and are loaded by wrk, one
thread, with keep-alive connections. Each is tried with one process and with two, and its best entry
counts: for one caller the lowest p50, for 32 callers the most requests per second. Before anything
is measured, all must return the same outputs; an error status or a broken connection ends the run.
Our server runs with its default settings, experiments recorded.

`servers/` holds the peers as a user would write them, `requirements/` the packages of each peer's
own environment. `post.lua` is wrk's script.
"""
