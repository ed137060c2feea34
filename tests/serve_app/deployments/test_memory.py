"""Freed memory is returned to the operating system."""

import ctypes

import psutil
import pytest

from serve_app.deployments.memory import return_freed_memory

BLOCK_BYTES = 100_000
BLOCKS = 1000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_free_pages_between_used_blocks_are_returned():
    blocks = [b"x" * BLOCK_BYTES for _ in range(BLOCKS)]
    blocks = blocks[::100]  # the last block keeps the heap from shrinking without the call
    kept = psutil.Process().memory_info().rss

    return_freed_memory()

    returned = kept - psutil.Process().memory_info().rss
    assert returned > 0.5 * (BLOCKS - len(blocks)) * BLOCK_BYTES
