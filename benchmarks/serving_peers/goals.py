"""The goals of our server: ratios to its peers, and its own overhead. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.serving_peers.client import ClientCost
from benchmarks.serving_peers.contestants import (
    BENTOML,
    DEFAULT,
    FASTAPI,
    HAND_TUNED,
    LITSERVE,
    RAW,
    ROUTER,
)
from benchmarks.serving_peers.in_process import Bare
from benchmarks.serving_peers.measuring import Sample
from benchmarks.serving_peers.verdicts import (
    ONE_CALLER,
    Bound,
    Rounds,
    Verdict,
    best,
    latency_ratio,
    median_difference,
    percentile_ms,
    throughput_ratio,
)

_AGAINST = (
    (DEFAULT, FASTAPI, (Bound.AT_MOST, 1.0), 1.2),
    (ROUTER, FASTAPI, (Bound.AT_MOST, 0.6), 2.0),
    (RAW, FASTAPI, None, 4.0),
    (ROUTER, HAND_TUNED, (Bound.AT_MOST, 1.3), 1.0),
    (DEFAULT, LITSERVE, (Bound.BELOW, 1.0), 1.5),
    (DEFAULT, BENTOML, (Bound.BELOW, 1.0), 1.5),
)
"""Our contestant, the peer, the highest latency ratio and the lowest throughput ratio."""

MOST_ADDED_MS = {50: 0.5, 95: 1.0}
MOST_CLIENT_MS = 0.15
LEAST_BATCH_RATIO = 6.0
MOST_COLD_START_S = 10.0


def evaluate(
    samples: Sequence[Sample],
    bare: Mapping[int, Bare],
    client: Mapping[int, ClientCost],
    batch: Mapping[str, Rounds],
    cold_start_s: Sequence[float],
) -> list[Verdict]:
    """Return every goal with its measured value, in the order of the table."""
    verdicts = []
    for ours, peer, latency, throughput in _AGAINST:
        if latency is not None:
            verdicts.append(
                Verdict(
                    what=f"{ours} / {peer}: p50 of one caller",
                    value=latency_ratio(samples, ours, peer),
                    unit=" x",
                    bound=latency[0],
                    limit=latency[1],
                )
            )
        verdicts.append(
            Verdict(
                what=f"{ours} / {peer}: requests/s of 32 callers",
                value=throughput_ratio(samples, ours, peer),
                unit=" x",
                bound=Bound.AT_LEAST,
                limit=throughput,
            )
        )
    one = best(samples, RAW, ONE_CALLER)
    for percent, most_ms in MOST_ADDED_MS.items():
        in_process = {
            number: each.p50_ms if percent == 50 else each.p95_ms for number, each in bare.items()
        }
        served = {} if one is None else one.by_round(percentile_ms(percent))
        verdicts.append(
            Verdict(
                what=f"{RAW}: p{percent} added to the model in process",
                value=median_difference(served, in_process),
                unit=" ms",
                bound=Bound.AT_MOST,
                limit=most_ms,
            )
        )
    return [
        *verdicts,
        Verdict(
            what="ModelClient.predict: added to the same request by hand",
            value=_median([timing.added_ms for timing in client.values()]),
            unit=" ms",
            bound=Bound.AT_MOST,
            limit=MOST_CLIENT_MS,
        ),
        *(
            Verdict(
                what=f"{ours}: 32 requests in one body / one by one, windows a second",
                value=_median(list(batch.get(ours, {}).values())),
                unit=" x",
                bound=Bound.AT_LEAST,
                limit=LEAST_BATCH_RATIO,
            )
            for ours in (DEFAULT, ROUTER)
        ),
        Verdict(
            what="cold start: `serve run` to the first answer",
            value=_median(cold_start_s),
            unit=" s",
            bound=Bound.AT_MOST,
            limit=MOST_COLD_START_S,
        ),
    ]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan
