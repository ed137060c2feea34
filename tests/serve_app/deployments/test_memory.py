"""Freed memory goes back to the system."""

import ctypes

import psutil
import pytest

from serve_app.deployments.memory import return_freed_memory

BLOCK_BYTES = 100_000
BLOCKS = 1000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_is_free_between_used_blocks_is_returned():
    blocks = [b"x" * BLOCK_BYTES for _ in range(BLOCKS)]
    blocks = blocks[::100]  # keeps the heap from shrinking by itself
    kept = psutil.Process().memory_info().rss

    return_freed_memory()

    returned = kept - psutil.Process().memory_info().rss
    assert returned > 0.5 * (BLOCKS - len(blocks)) * BLOCK_BYTES
