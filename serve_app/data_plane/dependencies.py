"""Watches the components that predictions do not need, but the rest of the service does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from serve_app.errors import ServingError
from serve_app.timeouts import DEPENDENCY_PERIOD_S, DEPENDENCY_S

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""Returns the problem of a component, None if there is none; may raise a ServingError instead."""


class Dependencies:
    """The problems of this router's dependencies, at most DEPENDENCY_PERIOD_S + DEPENDENCY_S old.

    Args:
        checks: the check of each component, by its name.
        timeout_s: the time within which a component must respond.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        timeout_s: float = DEPENDENCY_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._checks = checks
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """Return the problem of each component that has one, by its name."""
        return self._problems

    async def watch_forever(self) -> None:
        """Check every component once per period; one that hangs delays no other."""
        await asyncio.gather(*map(self._watch, self._checks))

    async def _watch(self, name: str) -> None:
        while True:
            self._note(name, await self._problem_of(name))
            await self._sleep(DEPENDENCY_PERIOD_S)

    async def _problem_of(self, name: str) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._checks[name]()
        except TimeoutError:
            return f"it did not respond within {self._timeout_s:g} s"
        except ServingError as error:
            return str(error)
        # The watch survives any error; without it the health would never change again.
        except Exception as error:  # noqa: BLE001
            return repr(error)

    def _note(self, name: str, problem: str | None) -> None:
        if problem is None:
            if self._problems.pop(name, None) is not None:
                logger.warning("%s recovered", name)
            return
        if name not in self._problems:
            logger.error("%s has a problem: %s", name, problem)
        self._problems[name] = problem
