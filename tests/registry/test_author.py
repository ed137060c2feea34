"""The author of a change that names none."""

import os
import pwd

import pytest

from registry.author import default_author

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture(autouse=True)
def no_names(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_user_of_environment(monkeypatch):
    """The environment's name is used, spaces included."""
    monkeypatch.setenv("USER", "Jane Doe")
    assert default_author().startswith("Jane Doe@")


@pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
def test_unknown_user(monkeypatch, error):
    """A user that the system does not know is recorded by its number."""

    def unknown(_):
        raise error("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert default_author().startswith(f"uid-{os.getuid()}@")


def test_name_that_is_not_text(monkeypatch):
    """A name in another encoding can be written to the history."""
    monkeypatch.setenv("USER", "m\udce9")
    assert default_author().encode().startswith(b"m\\udce9@")
