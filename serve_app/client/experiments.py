"""What a client does about experiments and outcomes; part of ModelClient."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, SupportsFloat
from urllib.parse import quote

from serve_app.client.responses import (
    check_analysis,
    check_evidence,
    check_models,
    check_outcomes,
    check_success,
)
from serve_app.errors import InvalidRequestError


class ExperimentCalls(ABC):
    """The calls about experiments, for a class that can send them."""

    _timeout_s: float

    @property
    @abstractmethod
    def server_url(self) -> str:
        """Where the server is."""

    @abstractmethod
    def _report_failure(self, call: str) -> AbstractContextManager[None]:
        """Log why `call` failed; swallow it unless errors are to be raised."""

    @abstractmethod
    async def _command(
        self, path: str, fields: Mapping[str, object], timeout_s: float | None = None
    ) -> object:
        """Return the answer to a POST of `fields`."""

    @abstractmethod
    async def _get(self, path: str) -> object:
        """Return the answer to a GET."""

    async def create_ab_test(
        self,
        experiment_id: str,
        control_model: str,
        control_version: str,
        treatment_model: str,
        treatment_version: str,
        traffic_split: float = 0.9,
        **settings: object,
    ) -> bool:
        """Have the server divide a model's traffic between two versions.

        Args:
            experiment_id: a name of its own, not used again.
            control_model: the model whose requests are divided.
            control_version: what answers them at present.
            treatment_model: usually the same model.
            treatment_version: what is tried.
            traffic_split: control's share, from 0 to 1.
            settings: further fields of the experiment, see docs/guides/experiments.md.

        Returns:
            Whether it runs now. If not, the log says why.

        Raises:
            ClientError: it does not; only with `raise_errors`.
        """
        with self._report_failure(f"create_ab_test {experiment_id}"):
            fields = {
                "experiment_id": experiment_id,
                "control_model_name": control_model,
                "control_model_version": control_version,
                "treatment_model_name": treatment_model,
                "treatment_model_version": treatment_version,
                "control_traffic": traffic_split,
                "treatment_traffic": _rest_of(traffic_split),
                **settings,
            }
            answer = await self._command("/api/ml/ab-test/create", fields)
            check_success(self.server_url, answer)
            return True
        return False

    async def list_ab_tests(self) -> list[dict[str, Any]]:
        """Return every experiment, the oldest first; empty also if there is no answer.

        Raises:
            ClientError: no answer; only with `raise_errors`.
        """
        with self._report_failure("list_ab_tests"):
            answer = await self._get("/api/ml/ab-test")
            return check_models(self.server_url, answer)
        return []

    async def get_ab_test_analysis(self, experiment_id: str) -> dict[str, Any] | None:
        """Return what is known of an experiment by now; None if there is no answer.

        Looking at any time, however often, does no harm to the verdict.

        Raises:
            ClientError: no answer; only with `raise_errors`.
        """
        with self._report_failure(f"get_ab_test_analysis {experiment_id}"):
            answer = await self._get(f"/api/ml/ab-test/{_in_path(experiment_id)}/analyze")
            return check_analysis(self.server_url, answer)
        return None

    async def get_ab_test_evidence(self, experiment_id: str) -> dict[str, Any] | None:
        """Return what a report of an experiment is made of; None if there is no answer.

        Raises:
            ClientError: no answer; only with `raise_errors`.
        """
        with self._report_failure(f"get_ab_test_evidence {experiment_id}"):
            answer = await self._get(f"/api/ml/ab-test/{_in_path(experiment_id)}/evidence")
            return check_evidence(self.server_url, answer)
        return None

    async def stop_ab_test(self, experiment_id: str) -> dict[str, Any] | None:
        """End an experiment and return its final analysis; None if there is no answer.

        Raises:
            ClientError: no answer; only with `raise_errors`.
        """
        with self._report_failure(f"stop_ab_test {experiment_id}"):
            answer = await self._command(f"/api/ml/ab-test/{_in_path(experiment_id)}/stop", {})
            return check_analysis(self.server_url, answer)
        return None

    async def record_outcome(self, prediction_id: str, market_return: float) -> bool:
        """Tell the server what the market did after a prediction.

        Args:
            prediction_id: of the answer.
            market_return: over the model's horizon, as a fraction, signed by the market and not by
                the trade.

        Returns:
            Whether it is on the server's disk, now or since an earlier call. If not, the log says
            why.

        Raises:
            ClientError: it is not; only with `raise_errors`.
        """
        with self._report_failure(f"record_outcome {prediction_id}"):
            fields = {"prediction_id": prediction_id, "market_return": _finite(market_return)}
            answer = await self._command("/api/ml/outcomes", fields)
            check_outcomes(self.server_url, answer)
            return True
        return False

    async def record_outcomes(self, outcomes: Iterable[tuple[str, float]]) -> dict[str, Any] | None:
        """Tell of several outcomes, (prediction_id, market_return) each; None if none was taken.

        Returns:
            How many were `accepted` and how many were `duplicates`, the `unknown` ids, and the
            `conflicts` with what is recorded.

        Raises:
            ClientError: no answer; only with `raise_errors`.
        """
        with self._report_failure("record_outcomes"):
            items = [
                {"prediction_id": prediction_id, "market_return": _finite(market_return)}
                for prediction_id, market_return in outcomes
            ]
            answer = await self._command("/api/ml/outcomes", {"outcomes": items})
            return check_outcomes(self.server_url, answer)
        return None


def _rest_of(share: object) -> float:
    """Return treatment's share, which is what control leaves."""
    if not isinstance(share, int | float) or isinstance(share, bool):
        raise InvalidRequestError("traffic_split", "a number from 0 to 1", repr(share)[:40])
    return 1.0 - share


def _finite(value: object) -> float:
    """Return a number that JSON can hold; it has no NaN and no infinity."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        raise InvalidRequestError("market_return", "a finite number", repr(value)[:40])
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidRequestError("market_return", "a finite number", repr(value)[:40])
    return number


def _in_path(experiment_id: object) -> str:
    if not isinstance(experiment_id, str) or not experiment_id:
        raise InvalidRequestError("experiment_id", "a text", repr(experiment_id)[:40])
    return quote(experiment_id, safe="")
