"""Encodes bars and reports on pushes as JSON. Pure: no IO."""

from collections.abc import Sequence
from typing import Any

import orjson

from features.bars import COLUMNS, KnownBars
from features.times import iso
from serve_app.api.rest.bar_parsing import InvalidPush, ParsedPushes
from serve_app.api.rest.slices import Steps
from serve_app.bars.pushes import MAX_LISTED, PushReport, RejectedBar
from serve_app.bars.queries import BarPage, SeriesStatus

_BARS_PER_STEP = 256


def push_document(report: PushReport, parsed: ParsedPushes | None = None) -> dict[str, Any]:
    """Return the body of the response to a push.

    Args:
        report: what became of the valid pushes.
        parsed: the body in JSON; None for a stream, in which bars have one position.
    """
    is_list = parsed is not None and parsed.is_list
    rejected, total = list(report.rejected), report.rejected_total
    if parsed is not None and is_list:
        numbers = [n for n, item in enumerate(parsed.items) if not isinstance(item, InvalidPush)]
        rejected = [RejectedBar(numbers[bar.push], bar.index, bar.reason) for bar in rejected]
        for number, item in enumerate(parsed.items):
            if isinstance(item, InvalidPush):
                rejected += [RejectedBar(number, i, item.reason) for i in range(item.bars)]
                total += item.bars
        rejected.sort(key=lambda bar: (bar.push, bar.index))
    document: dict[str, Any] = {
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "revised": report.revised,
        "rejected": [
            {"push": bar.push, "index": bar.index, "reason": bar.reason}
            if is_list
            else {"index": bar.index, "reason": bar.reason}
            for bar in rejected[:MAX_LISTED]
        ],
    }
    if total > len(document["rejected"]):
        document["rejected_total"] = total
    return document


def encode_page(page: BarPage) -> Steps[bytes]:
    """Return the body of the response to a query of bars."""
    head = orjson.dumps({"symbol": page.symbol, "timeframe": page.timeframe.name})
    parts = []
    for start in range(0, len(page.bars), _BARS_PER_STEP):
        rows = page.bars.take(slice(start, start + _BARS_PER_STEP))
        parts.append(orjson.dumps(_bar_documents(rows))[1:-1])
        yield
    latest = _bar_documents(page.provisional)
    gaps = [
        {"from": iso(gap.first_ms), "to": iso(gap.last_ms), "bars": gap.bars} for gap in page.gaps
    ]
    rest = {
        "gaps": gaps,
        "next": None if page.following_ms is None else iso(page.following_ms),
        "provisional": latest[0] if latest else None,
    }
    bars = b",".join(parts)
    return b"".join([head[:-1], b',"bars":[', bars, b"],", orjson.dumps(rest)[1:]])


def symbols_document(statuses: Sequence[SeriesStatus]) -> list[dict[str, Any]]:
    """Return the body of the response to a query of symbols."""
    return [
        {
            "symbol": status.summary.symbol,
            "timeframe": status.summary.timeframe,
            "first": iso(status.summary.first_ms),
            "last": iso(status.summary.last_ms),
            "count": status.summary.bars,
            "gaps": status.summary.gaps,
            "missing": status.summary.missing,
            "age_s": status.age_ms / 1e3,
        }
        for status in statuses
    ]


def _bar_documents(rows: KnownBars) -> list[dict[str, Any]]:
    columns = rows.time.tolist(), rows.known_at.tolist(), *rows.values.tolist()
    return [
        {"time": iso(time), **dict(zip(COLUMNS, values, strict=True)), "known_at": iso(known_at)}
        for time, known_at, *values in zip(*columns, strict=True)
    ]
