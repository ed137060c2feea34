"""The smallest application that the launcher can wait for, and one that cannot be built."""

from ray import serve
from ray.serve import Application


class Healthy:
    """Answers every request with 200."""

    async def __call__(self, _request: object) -> str:
        """Answer a request."""
        return "healthy"


def build(_args: dict[str, object]) -> Application:
    """Return an application that comes up at once."""
    return serve.deployment(name="Healthy")(Healthy).bind()


def build_nothing(_args: dict[str, object]) -> Application:
    """Fail as a builder does whose models are not there."""
    raise LookupError("no model here")
