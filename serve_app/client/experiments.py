"""The calls of ModelClient on experiments and outcomes."""

import math
from collections.abc import Iterable
from typing import Any, SupportsFloat
from urllib.parse import quote

from serve_app.client.calls import Calls
from serve_app.client.responses import (
    check_analysis,
    check_evidence,
    check_list,
    check_outcomes,
    check_success,
)
from serve_app.errors import InvalidRequestError


class ExperimentCalls(Calls):
    """Calls on experiments and outcomes."""

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
        """Create an experiment, which splits a model's traffic between two versions.

        Args:
            experiment_id: a unique name, which cannot be reused.
            control_model: the model whose requests are split.
            control_version: the version that serves these requests now.
            treatment_model: usually the same model.
            treatment_version: the version to compare with control.
            traffic_split: control's share, from 0 to 1.
            settings: additional fields of the experiment, see docs/guides/experiments.md.

        Returns:
            Whether the experiment runs. If not, the log contains the reason.

        Raises:
            ClientError: the experiment does not run; only with `raise_errors`.
        """
        with self._report_failure(f"create_ab_test {experiment_id}"):
            fields = {
                "experiment_id": experiment_id,
                "control_model_name": control_model,
                "control_model_version": control_version,
                "treatment_model_name": treatment_model,
                "treatment_model_version": treatment_version,
                "control_traffic": traffic_split,
                "treatment_traffic": _complement_of(traffic_split),
                **settings,
            }
            response = await self._command("/api/ml/ab-test/create", fields)
            check_success(self.server_url, response)
            return True
        return False

    async def list_ab_tests(self) -> list[dict[str, Any]]:
        """Return every experiment, oldest first; an empty list also if the call fails.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure("list_ab_tests"):
            response = await self._get("/api/ml/ab-test")
            return check_list(self.server_url, response, "experiments")
        return []

    async def get_ab_test_analysis(self, experiment_id: str) -> dict[str, Any] | None:
        """Return the analysis of an experiment so far; None if the call fails.

        The analysis is valid at any time: calling it often does not bias the verdict.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure(f"get_ab_test_analysis {experiment_id}"):
            response = await self._get(f"/api/ml/ab-test/{_in_path(experiment_id)}/analyze")
            return check_analysis(self.server_url, response)
        return None

    async def get_ab_test_evidence(self, experiment_id: str) -> dict[str, Any] | None:
        """Return the evidence for the report of an experiment; None if the call fails.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure(f"get_ab_test_evidence {experiment_id}"):
            response = await self._get(f"/api/ml/ab-test/{_in_path(experiment_id)}/evidence")
            return check_evidence(self.server_url, response)
        return None

    async def stop_ab_test(self, experiment_id: str) -> dict[str, Any] | None:
        """Stop an experiment and return its final analysis; None if the call fails.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure(f"stop_ab_test {experiment_id}"):
            response = await self._command(f"/api/ml/ab-test/{_in_path(experiment_id)}/stop", {})
            return check_analysis(self.server_url, response)
        return None

    async def record_outcome(self, prediction_id: str, market_return: float) -> bool:
        """Record the outcome of a prediction.

        Args:
            prediction_id: the field of that name in the response of `predict`.
            market_return: the market's return over the model's horizon, as a fraction, with the
                sign of the market move and not of the trade.

        Returns:
            Whether the outcome is stored, by this call or an earlier one. If not, the log contains
            the reason.

        Raises:
            ClientError: the outcome is not stored; only with `raise_errors`.
        """
        with self._report_failure(f"record_outcome {prediction_id}"):
            fields = {"prediction_id": prediction_id, "market_return": _finite(market_return)}
            response = await self._record("/api/ml/outcomes", fields)
            check_outcomes(self.server_url, response)
            return True
        return False

    async def record_outcomes(self, outcomes: Iterable[tuple[str, float]]) -> dict[str, Any] | None:
        """Record several outcomes, given as (prediction_id, market_return).

        Returns:
            The number of outcomes that were `accepted` and of `duplicates`, the ids of predictions
            that were served but are not recorded (`unrecorded`) and of none that was served
            (`unknown`), and the `conflicts` with recorded outcomes; None if the call fails.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        with self._report_failure("record_outcomes"):
            items = [
                {"prediction_id": prediction_id, "market_return": _finite(market_return)}
                for prediction_id, market_return in outcomes
            ]
            response = await self._record("/api/ml/outcomes", {"outcomes": items})
            return check_outcomes(self.server_url, response)
        return None


def _complement_of(share: object) -> float:
    """Return treatment's share, the complement of control's."""
    if not isinstance(share, int | float) or isinstance(share, bool):
        raise InvalidRequestError("traffic_split", "a number from 0 to 1", repr(share)[:40])
    return 1.0 - share


def _finite(value: object) -> float:
    """Return a number that JSON can represent, which excludes NaN and infinity."""
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
        raise InvalidRequestError("experiment_id", "text", repr(experiment_id)[:40])
    return quote(experiment_id, safe="")
