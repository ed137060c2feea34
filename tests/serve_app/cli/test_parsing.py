"""Values of options that hold pairs or lists, as an operator mistypes them."""

import pytest
import typer

from serve_app.cli import parsing
from tests.serve_app.cli.commands import error_text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--metric", "accuracy"), "--metric: expected NAME=NUMBER, received accuracy"),
        (("--metric", "a=high"), "--metric: expected NAME=NUMBER, received a=high"),
        (("--metric", "a=1", "--metric", "a=2"), "--metric: expected a once"),
        (("--param", "k=adam"), "received k=adam"),
        (("--artifact", "=x"), "--artifact: expected NAME=PATH"),
        (("--input-shape", "60x110"), "--input-shape: expected TIMESTEPS,FEATURES"),
        (("--label-map", "HOLD,BUY"), "--label-map: expected INDEX=DIRECTION"),
        (("--label-map", "a=HOLD"), "--label-map: expected INDEX=DIRECTION"),
    ],
)
def test_mistyped_option(register, root, options, problem):
    """A mistyped value ends with exit code 2 and changes nothing."""
    done = register("1.0.0", *options)
    assert done.exit_code == 2
    assert problem in error_text(done)
    assert not root.exists()


def test_integers():
    """A list of whole numbers is parsed, and any other list is a usage error."""
    assert parsing.integers("--batches", "1,8,32") == (1, 8, 32)
    with pytest.raises(typer.BadParameter, match=r"--batches: expected whole numbers"):
        parsing.integers("--batches", "1;8")
