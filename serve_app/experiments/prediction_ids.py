"""Ids of predictions, which show that this software issued them, and when.

An id is a UUID of version 8 (RFC 9562, section 5.8): 48 bits of milliseconds since 1970, a checksum
of 12 bits, and 62 bits of chance. The checksum protects against nothing; it tells an outcome whose
prediction was not recorded from one with a foreign or mistyped id.
"""

import os
import re
import zlib
from datetime import UTC, datetime

_FORM = re.compile("[0-9a-f]{12}8[0-9a-f]{3}[89ab][0-9a-f]{15}")
_RANDOM = (1 << 62) - 1


def new_prediction_id(now: datetime) -> str:
    """Return an id that no other prediction has, as 32 hexadecimal digits."""
    time_ms = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    chance = int.from_bytes(os.urandom(8)) & _RANDOM
    high = time_ms << 16 | 8 << 12 | _checksum(time_ms, chance)
    return f"{high << 64 | 0b10 << 62 | chance:032x}"


def issue_time(prediction_id: str) -> datetime | None:
    """Return when an id was issued, None if it has not the form of one.

    >>> issue_time(new_prediction_id(datetime(2026, 1, 5, 9, tzinfo=UTC)))
    datetime.datetime(2026, 1, 5, 9, 0, tzinfo=datetime.timezone.utc)
    >>> issue_time("order-42") is None
    True
    """
    if _FORM.fullmatch(prediction_id) is None:
        return None
    time_ms, chance = int(prediction_id[:12], 16), int(prediction_id[16:], 16) & _RANDOM
    if int(prediction_id[13:16], 16) != _checksum(time_ms, chance):
        return None
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _checksum(time_ms: int, chance: int) -> int:
    return zlib.crc32((time_ms << 64 | chance).to_bytes(14)) & 0xFFF
