"""The smallest application that can become healthy, and one that cannot be built."""

from ray import serve
from ray.serve import Application


class Healthy:
    """Responds to every request with 200."""

    async def __call__(self, _request: object) -> str:
        """Respond to a request."""
        return "healthy"


def build(_args: dict[str, object]) -> Application:
    """Return an application that starts at once."""
    return serve.deployment(name="Healthy")(Healthy).bind()


def build_nothing(_args: dict[str, object]) -> Application:
    """Fail like a builder that cannot find its models."""
    raise LookupError("no model here")
