"""Models and versions that are not served, and changes of what is served."""

from collections.abc import Sequence

from serve_app.errors.base import RequestError, ServingError, UnavailableError


class NotServedError(RequestError):
    """This server does not serve the model or version."""

    code = "not_served"

    def __init__(self, model: str, version: str | None, served: Sequence[str]) -> None:
        super().__init__(model, version, tuple(served))
        self.model, self.version, self.served = model, version, tuple(served)

    def __str__(self) -> str:
        wanted = self.model if self.version is None else f"{self.model}:{self.version}"
        return f"{wanted} is not served here; served: {', '.join(self.served) or 'nothing'}"


class NotRegisteredError(RequestError):
    """The registry has no such model or version, or no version in the stage."""

    code = "not_registered"

    def __init__(self, model: str, version: str | None, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return f"nothing to load: {self.problem}; see `modelctl list` for the registered versions"


class ReloadInProgressError(RequestError):
    """A reload of the model is in flight."""

    code = "reload_in_progress"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(model, version)
        self.model, self.version = model, version

    def __str__(self) -> str:
        return f"{self.model} is being reloaded to {self.version} already; wait for its response"


class UnusableVersionError(RequestError):
    """The version does not load; the served versions are unchanged."""

    code = "unusable_version"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} cannot be loaded, and nothing was changed: {self.problem}"
        )


class VersionLoadingError(UnavailableError):
    """The version has no ready replica."""

    code = "loading"

    def __init__(self, model: str, version: str, problem: str | None = None) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        if self.problem is not None:
            return (
                f"{self.model}:{self.version} is not ready: {self.problem}; "
                f"retry in {self.retry_after_s} s"
            )
        return (
            f"{self.model}:{self.version} has no ready replica: it is loading, or `serve status` "
            f"shows why it does not load; retry in {self.retry_after_s} s"
        )


class TooManyVersionsError(UnavailableError):
    """The limit of versions loaded on demand is reached."""

    code = "too_many_versions"

    def __init__(self, model: str, version: str, limit: int) -> None:
        super().__init__(model, version, limit)
        self.model, self.version, self.limit = model, version, limit

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} is not loaded: at most {self.limit} versions are loaded "
            f"on demand (loading.max_versions); retry when one is idle, or declare this version"
        )


class FleetUnavailableError(UnavailableError):
    """The fleet, which loads and unloads versions, does not respond; predictions continue."""

    code = "loading_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"versions can be neither loaded nor unloaded now, while predictions continue: "
            f"{self.problem}; retry in {self.retry_after_s} s"
        )


class UnconfirmedStateError(UnavailableError):
    """A router may follow an older serving state than the one that was written."""

    code = "unconfirmed_state"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the serving state is not confirmed: {self.problem}; retry in {self.retry_after_s} s"
        )


class ServingStateError(ServingError):
    """The file with the serving state is damaged, or was written by another release."""

    code = "unreadable_serving_state"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"{self.path} is not a readable serving state: {self.problem}; move it away to start "
            f"with the versions of the configuration, or run the release that wrote it"
        )


class ServedElsewhereError(ServingError):
    """Another cluster serves the registry's folder under the same application name."""

    code = "served_elsewhere"

    def __init__(self, application: str, folder: str) -> None:
        super().__init__(application, folder)
        self.application, self.folder = application, folder

    def __str__(self) -> str:
        return (
            f"an application {self.application!r} of another cluster serves {self.folder} already, "
            f"and each would move the other's traffic; stop it, or rename this one "
            f"(applications.name)"
        )
