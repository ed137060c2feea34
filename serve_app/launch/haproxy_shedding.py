"""Rules with which HAProxy rejects predictions that would be late. Pure: no IO.

A rejection in HAProxy costs a hundredth of a prediction, so that the routers keep their throughput
however many requests arrive. The wait of a request is estimated from the predictions that HAProxy
has passed on without a response so far, and from the routers' mean time per response, which their
responses carry. The limit on it is

- the deadline of the request, for a burst after a quiet time: all bots may act at the close of a
  bar, and all are to be served;
- a tenth of it, once the burst has lasted longer than BURST_MS: then more requests arrive than can
  be served, and a long queue would delay every one of them and serve no more.

This is controlled delay as in B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015.
"""

import re

PREDICTIONS = "/api/ml/predict"
"""The start of the paths of predictions; commands, outcomes and health are never rejected here."""

DEFAULT_DEADLINE_MS = 1000
"""The deadline of a request without X-Deadline-Ms."""

STANDING_DIVISOR = 10
"""The part of a deadline that the wait may take while requests arrive faster than they are served:
100 ms of the default deadline."""

BURST_MS = 200
"""The time for which requests may arrive faster and all wait."""

BUSY_MS = 50
"""The estimated wait from which on the routers are busy."""

QUIET_MS = 500
"""The time without busy routers after which the next busy time is a burst."""

ALWAYS_PASSED = 32
"""Predictions in flight per router up to which none is rejected: as many as may share one run, so
that a slow model receives full batches."""

BODY_WAIT_S = 30
"""The longest wait for a body that fits into HAProxy's buffer. Until it is complete the request is
not passed on, so that slow clients do not count as load."""

LARGE_BODY_BYTES = 200_000
"""The announced size from which on a body is not waited for: it may not fit into HAProxy's buffer,
and a router rejects one that is too large before it is sent."""


def shedding_rules(config: str, overloaded: str) -> str:
    """Return the rules of the frontend; none if no application serves at the root.

    Args:
        config: the configuration that Ray Serve wrote.
        overloaded: the parameters of `http-request return` for a rejected request.
    """
    found = re.search(r"^ +acl is_(\S+) path_beg /$", config, flags=re.MULTILINE)
    if found is None:
        return ""
    backend = found[1]
    rules = (
        # The clocks of this machine: a router compares the arrival with its own.
        "http-request set-header X-Request-Start %[date(0,us)] if ts_predict",
        f"http-request wait-for-body time {BODY_WAIT_S}s if ts_predict"
        f" !{{ req.hdr_val(content-length) gt {LARGE_BODY_BYTES} }}",
        "http-request set-var(txn.ts_now) date(0,ms) if ts_predict",
        f"http-request set-var(txn.ts_routers) nbsrv({backend}) if ts_predict",
        f"http-request set-var(txn.ts_wait) be_conn({backend}),mul(proc.ts_pace_us)"
        f",div(txn.ts_routers),div(1000) if ts_predict",
        "http-request set-var(proc.ts_burst) date(0,ms) if ts_predict ts_busy !ts_was_busy",
        "http-request set-var(proc.ts_busy) date(0,ms) if ts_predict ts_busy",
        f"http-request set-var(txn.ts_limit) int({DEFAULT_DEADLINE_MS}) if ts_predict",
        "http-request set-var(txn.ts_limit) req.hdr(x-deadline-ms),add(0) if ts_predict"
        " { req.hdr(x-deadline-ms) -m found }",
        f"http-request set-var(txn.ts_limit) var(txn.ts_limit),div({STANDING_DIVISOR})"
        f" if ts_predict !ts_burst",
        # Without a router the response is another one; a division by 0 gives the largest number.
        f"http-request return {overloaded} if ts_predict {{ nbsrv({backend}) gt 0 }}"
        f" {{ be_conn({backend}),div(txn.ts_routers) ge {ALWAYS_PASSED} }}"
        f" {{ var(txn.ts_wait),sub(txn.ts_limit) gt 0 }}",
        "http-response set-var(proc.ts_pace_us) res.hdr(x-pace-us),add(0)"
        " if { res.hdr(x-pace-us) -m found }",
        "http-response del-header X-Pace-Us",
    )
    conditions = (
        f"acl ts_predict path_beg {PREDICTIONS}",
        f"acl ts_busy var(txn.ts_wait) -m int ge {BUSY_MS}",
        f"acl ts_was_busy var(txn.ts_now),sub(proc.ts_busy) lt {QUIET_MS}",
        f"acl ts_burst var(txn.ts_now),sub(proc.ts_burst) lt {BURST_MS}",
    )
    return "".join(f"    {line}\n" for line in (*conditions, *rules))
