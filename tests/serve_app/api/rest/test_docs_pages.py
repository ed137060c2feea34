"""The pages that describe the endpoints."""

import re

import pytest

PAGES = ["/docs", "/redoc"]


@pytest.mark.parametrize("path", PAGES)
def test_no_foreign_files(http, path):
    """A page names no other server, and its policy permits scripts of this one only."""
    response = http.get(path)
    assert response.status_code == 200
    assert "//" not in response.text
    policy = response.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize("path", PAGES)
def test_every_file_is_served(http, path):
    """Each file that a page names is served with its type."""
    names = re.findall(r'(?:src|href|spec-url)="([^"]+)"', http.get(path).text)
    assert names
    for name in names:
        response = http.get(f"/{name}")
        assert response.status_code == 200
        kind = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
        expected = kind.get(name.rpartition(".")[2], "application/json")
        assert response.headers["content-type"].startswith(expected)


def test_no_inline_scripts(http):
    """Scripts are files, since the policy forbids others."""
    for path in PAGES:
        assert re.findall(r"<script[^>]*>(.+?)</script>", http.get(path).text) == []


@pytest.mark.parametrize("name", ["other.js", "..%2f__init__.py", "%2e%2e"])
def test_no_other_files(http, name):
    """Other files of the package are not served."""
    assert http.get(f"/docs/{name}").status_code == 404
