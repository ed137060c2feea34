"""The commands on tokens, with their exit codes."""

import datetime
import functools

import pytest
import typer

from serve_app.access.token_file import TokenFile
from serve_app.access.tokens import digest_of
from serve_app.cli.tokens import parse_lifetime
from tests.serve_app.cli import commands
from tests.serve_app.cli.commands import cells, error_text, printed


@pytest.fixture
def root(tmp_path):
    return tmp_path


@pytest.fixture
def token(root):
    """Return a function that runs `modelctl token` on the registry in `root`."""
    return functools.partial(commands.modelctl, "token", MODELCTL_REGISTRY=str(root))


@pytest.fixture
def file(root):
    return TokenFile(root / ".tokens.json")


def test_create_prints_the_secret_alone(token, file):
    """`create` prints the secret alone, so that a script can read it."""
    done = token("create", "bot", "--role", "predict", "--role", "OBSERVE", "--expires", "90d")
    assert done.exit_code == 0
    (created,) = file.tokens()
    assert digest_of(done.stdout.removesuffix("\n").encode()) == created.digest
    assert created.roles == {"predict", "observe"}
    assert created.expires_at - created.created_at == datetime.timedelta(days=90)


def test_first_token_is_announced(token):
    """The command states that the first token closes the server."""
    first = token("create", "bot", "--role", "predict")
    second = token("create", "other", "--role", "operate")
    assert first.stderr == "from now on the server requires a token for every request\n"
    assert second.stderr == ""


def test_list(token):
    """`list` shows revoked tokens too, and no secrets or digests."""
    assert "requests need none" in token("list").stdout
    secret = printed(token("create", "bot", "--role", "predict", "--json"))["token"]
    token("create", "other", "--role", "operate", "--role", "observe")
    token("revoke", "bot")
    listed = token("list")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert cells(listed) == [
        ["token", "roles", "state", "created", "expires"],
        ["bot", "predict", "revoked", today, "never"],
        ["other", "observe, operate", "usable", today, "never"],
    ]
    document = printed(token("list", "--json"))
    assert [entry["state"] for entry in document] == ["revoked", "usable"]
    for text in (listed.stdout, str(document)):
        assert secret not in text
        assert digest_of(secret.encode()) not in text


def test_revoke(token, file):
    """`revoke` states when no usable token is left; an unknown name is an error."""
    token("create", "bot", "--role", "predict")
    done = token("revoke", "bot")
    assert (done.exit_code, done.stdout) == (0, "bot is revoked\n")
    assert "still requires one" in done.stderr
    again = token("revoke", "bot")
    assert again.exit_code == 1
    assert again.stderr == "error: no usable token is named 'bot'; usable: none\n"


def test_existing_name(token):
    """A usable token is not replaced."""
    token("create", "bot", "--role", "predict")
    done = token("create", "bot", "--role", "operate")
    assert done.exit_code == 1
    assert "token revoke bot" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("bot",), "Missing option '--role'"),
        (("bot", "--role", "admin"), "'admin' is not one of"),
        (("a b", "--role", "predict"), "name of a token: expected 1 to 64 letters"),
        (("bot", "--role", "predict", "--expires", "soon"), "expected a number with m, h or d"),
    ],
)
def test_wrong_usage(token, file, arguments, problem):
    """Wrong usage ends with exit code 2 and creates nothing."""
    done = token("create", *arguments)
    assert done.exit_code == 2
    assert problem in error_text(done)
    assert file.tokens() == ()


def test_other_file(token, tmp_path):
    """The file that the settings name is reached by an option."""
    path = tmp_path / "elsewhere.json"
    assert token("create", "bot", "--role", "predict", "--token-file", path).exit_code == 0
    assert [entry.name for entry in TokenFile(path).tokens()] == ["bot"]


def test_missing_registry(token, tmp_path):
    """A registry that does not exist is an error, and is not created."""
    done = token("create", "bot", "--role", "predict", "--registry", tmp_path / "no")
    assert done.exit_code == 1
    assert "its folder does not exist" in done.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1w", "d", "1.5h", "9999999d"])
def test_invalid_lifetimes(text):
    """A lifetime is a whole number of minutes, hours or days."""
    with pytest.raises(typer.BadParameter, match="--expires"):
        parse_lifetime(text)
