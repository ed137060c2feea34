"""The access control of one process: the current tokens, and the use of the quota of each."""

import logging
import time
from collections.abc import Callable

from serve_app.access.callers import Caller, Callers
from serve_app.access.quotas import Limits, Quota
from serve_app.access.tokens import TokenTable

logger = logging.getLogger(__name__)


class AccessControl:
    """Identifies callers and counts their requests.

    Args:
        table: the tokens at the start.
        limits: the limits of each token.
        anonymous: accept requests without a token although tokens exist.
        now: returns seconds since the epoch.
        clock: returns seconds for rates.
    """

    def __init__(
        self,
        table: TokenTable,
        limits: Limits,
        *,
        anonymous: bool = False,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._anonymous = anonymous
        self._now, self._clock = now, clock
        self._requires_token = False
        self._quotas: dict[str, Quota] = {}
        self.adopt(table)

    def adopt(self, table: TokenTable) -> None:
        """Follow other tokens from the next request on.

        A file of tokens that disappears does not open a server that required them.
        """
        if self._requires_token and not table.requires_token:
            logger.error(
                "token file missing: every created token is rejected; restore the file from a "
                "backup, or restart the server to serve without tokens"
            )
        self._requires_token = table.requires_token or self._requires_token
        requires_token = self._requires_token and not self._anonymous
        self._callers = Callers(table, requires_token=requires_token)

    def identify(self, secret: bytes | None, *, is_browser: bool) -> Caller:
        """Return the caller of a request; see `Callers.identify` for the errors."""
        return self._callers.identify(secret, is_browser=is_browser, now=self._now())

    def quota(self, caller: Caller) -> Quota | None:
        """Return the quota that a caller's requests count towards, None without limits."""
        if not caller.is_limited:
            return None
        quota = self._quotas.get(caller.name)
        if quota is None:
            quota = self._quotas[caller.name] = Quota(caller.name, self.limits, self._clock)
        return quota
