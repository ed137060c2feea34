"""The links of a page that lead out of docs/ become text on the site, and no others."""

import pytest

from tools.site_hooks import without_outer_links


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[settings](../../serve_app/settings.py)", "settings"),
        ("[readme](../../README.md#start)", "readme"),
        ("[client](client.md)", "[client](client.md)"),
        ("[overview](../index.md)", "[overview](../index.md)"),
        ("[below](#ports)", "[below](#ports)"),
        ("[Ray](https://docs.ray.io/)", "[Ray](https://docs.ray.io/)"),
    ],
)
def test_outer_links(link, expected):
    """A page in docs/guides/ keeps its links within docs/ and to other sites."""
    assert without_outer_links(link, "guides/operations.md") == expected
