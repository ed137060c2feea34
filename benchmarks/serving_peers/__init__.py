"""Our server beside what a user would write or take instead, in one run on one machine.

All serve the same ONNX file on ONNX Runtime, one thread, no spinning, and are asked by wrk, one
thread, with connections kept alive. Each is tried with one process and with two, and its best way
counts: for one caller that of the lowest p50, for 32 callers that of the most answers a second.
Before anything is measured all must give the same answers; an error status or a broken connection
ends the run. Our server runs with its default settings, experiments recorded.

`servers/` has the peers as they would be written, `requirements/` the packages of each one's own
environment. `post.lua` is wrk's part.
"""
