"""Runs a complete experiment on a running server: 1.0.0 against 1.1.0 on the held-out bars.

    python -m examples.eurusd.experiment [--mode mirror] [--url http://localhost:8001]

Every bar is a request, and its outcome is reported one horizon of bars later. A bar takes a
fraction of a second instead of an hour, and the server has only its own clock. Therefore the bars
are replayed at a steady pace, and the experiment states the duration of a horizon in seconds.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol, TypeVar

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from examples.eurusd.data import SYMBOL, DataError, load_bars
from examples.eurusd.dataset import HORIZON_BARS, Samples, make_samples, split_samples
from examples.eurusd.evaluation import BARS_PER_YEAR
from serve_app.cli.tables import analysis_table
from serve_app.client import DEFAULT_SERVER_URL, ModelClient
from serve_app.errors import ClientError, ServerRejectedError, ServerUnreachableError
from serve_app.experiments.definition import ExperimentStatus, Mode

MODEL_NAME = "hybrid_cnn_lstm"
CONTROL_VERSION, TREATMENT_VERSION = "1.0.0", "1.1.0"
CONTROL_SHARE = 0.5
"""An even split, since with so few bars each bar without treatment costs evidence."""

BARS_BETWEEN_ANALYSES = 100
MARGIN_S = 5.0
"""The time from the end of the slowest replay to the planned end, for late outcomes."""

TIMEOUT_S = 2.0
"""Longer than a bot would wait, so that slow responses appear in the figures."""

SLOWEST_PACE = 0.9
"""The share of the stated pace below which a horizon lasts longer than the experiment states."""

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
Analysis = dict[str, Any]
Result = TypeVar("Result")


class ExperimentServer(Protocol):
    """The part of ModelClient that the replay uses; it must raise errors."""

    async def predict(self, symbol: str, features: NDArray[np.float32]) -> Analysis | None:
        """Return the server's response for one window (timesteps, features)."""

    async def record_outcome(self, prediction_id: str, market_return: float) -> bool:
        """Record the outcome of a prediction."""

    async def create_ab_test(
        self,
        experiment_id: str,
        control_model: str,
        control_version: str,
        treatment_model: str,
        treatment_version: str,
        traffic_split: float = ...,
        **settings: object,
    ) -> bool:
        """Create an experiment."""

    async def get_ab_test_analysis(self, experiment_id: str) -> Analysis | None:
        """Return the analysis so far."""

    async def stop_ab_test(self, experiment_id: str) -> Analysis | None:
        """Stop an experiment unless it has ended, and return its final analysis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An experiment on the next `bars`, replayed at `bars_per_s`."""

    experiment_id: str
    mode: Mode
    bars: int
    bars_per_s: float

    @property
    def replay_s(self) -> float:
        """The time until the outcome of the last bar is known."""
        return (self.bars + HORIZON_BARS) / self.bars_per_s

    @property
    def settings(self) -> dict[str, object]:
        """The fields of the experiment beside its variants.

        Adjacent bars share most of their horizon, so they are not independent evidence. `horizon_s`
        makes the blocks of the statistics at least as long as a horizon of the replay. The Sharpe
        ratio is annualised with the year of the market, not of the replay. The dead band is that of
        control's metadata.
        """
        return {
            "mode": self.mode.value,
            "horizon_s": HORIZON_BARS / self.bars_per_s,
            "periods_per_year": BARS_PER_YEAR / HORIZON_BARS,
            "duration_hours": (self.replay_s / SLOWEST_PACE + MARGIN_S) / 3600,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The calls of a replay."""

    served_by: Counter[str]
    """The number of predictions by variant; `none` came after the planned end."""
    failures: Counter[str]
    """The number of failed calls by reason."""
    took_s: float


async def run(
    client: ExperimentServer,
    samples: Samples,
    plan: Plan,
    on_analysis: Callable[[int, Analysis], None],
    sleep: Sleep = asyncio.sleep,
    clock: Clock = time.monotonic,
) -> tuple[Replayed, Analysis]:
    """Create the experiment, replay the bars, and return the calls and the final analysis.

    The experiment is stopped in any case, so that it does not continue without its bot.

    Raises:
        ClientError: the server rejects the experiment, or cannot be reached.
    """
    await client.create_ab_test(
        plan.experiment_id,
        MODEL_NAME,
        CONTROL_VERSION,
        MODEL_NAME,
        TREATMENT_VERSION,
        traffic_split=CONTROL_SHARE,
        **plan.settings,
    )
    overdue_s = clock() + plan.replay_s / SLOWEST_PACE + 2 * MARGIN_S
    try:
        replayed = await replay(client, samples, plan, on_analysis, sleep, clock)
        while clock() < overdue_s:
            analysis = _received(await client.get_ab_test_analysis(plan.experiment_id))
            if analysis["status"] == ExperimentStatus.COMPLETED:
                break
            await sleep(0.5)
    finally:
        # An experiment that has reached its planned end keeps the analysis of that time.
        final = _received(await client.stop_ab_test(plan.experiment_id))
    return replayed, final


async def replay(
    client: ExperimentServer,
    samples: Samples,
    plan: Plan,
    on_analysis: Callable[[int, Analysis], None],
    sleep: Sleep,
    clock: Clock,
) -> Replayed:
    """Request one prediction per bar, and record its outcome HORIZON_BARS later.

    A prediction or an outcome that fails is counted, and the replay continues.

    Raises:
        ServerUnreachableError: the server cannot be reached.
    """
    ids: list[str | None] = []
    served_by: Counter[str] = Counter()
    failures: Counter[str] = Counter()

    async def attempt(what: str, call: Awaitable[Result]) -> Result | None:
        try:
            return await call
        except ServerUnreachableError:
            raise
        except ClientError as error:
            failures[f"{what}: {_reason(error)}"] += 1
            return None

    started_s = clock()
    for bar in range(len(samples) + HORIZON_BARS):
        await sleep(max(0.0, started_s + bar / plan.bars_per_s - clock()))
        known = bar - HORIZON_BARS
        if known >= 0 and (prediction_id := ids[known]) is not None:
            outcome = client.record_outcome(prediction_id, float(samples.returns[known]))
            await attempt("outcome", outcome)
        if bar < len(samples):
            prediction = client.predict(symbol=SYMBOL, features=samples.windows[bar])
            response = await attempt("prediction", prediction)
            ids.append(None if response is None else response["prediction_id"])
            if response is not None:
                served_by[response["variant"] or "none"] += 1
            if (bar + 1) % BARS_BETWEEN_ANALYSES == 0:
                current = client.get_ab_test_analysis(plan.experiment_id)
                if (analysis := await attempt("analysis", current)) is not None:
                    on_analysis(bar + 1, analysis)
    return Replayed(served_by=served_by, failures=failures, took_s=clock() - started_s)


def _reason(error: ClientError) -> str:
    """Return why a call failed, in the same words for every bar."""
    return error.code if isinstance(error, ServerRejectedError) else str(error)


def _received(response: Analysis | None) -> Analysis:
    if response is None:
        raise TypeError(
            "expected a client that raises errors, received None; pass raise_errors=True"
        )
    return response


def interim_line(bar: int, analysis: Analysis) -> str:
    """Return an interim analysis as one line."""
    variants = (analysis[variant] for variant in ("control", "treatment"))
    right = " against ".join(
        f"{variant['accuracy']:.1%} of {variant['labelled']}" for variant in variants
    )
    p_value = analysis["statistical_significance"]["p_value"]
    return f"bar {bar}: {right} right, p {p_value:.2f}: {analysis['recommendation']['action']}"


def conclusion(analysis: Analysis) -> str:
    """Return the interval, the verdict and the reasons of a final analysis."""
    test = analysis["statistical_significance"]
    interval = test["interval"]
    between = "unknown" if interval is None else f"{interval[0]:+.1%} to {interval[1]:+.1%}"
    lines = [
        f"Accuracy, treatment minus control: {test['difference']:+.1%}, "
        f"{test['confidence_level']:.0%} interval {between}, p {test['p_value']:.2f}",
        f"{test['blocks']} blocks of {test['block_s']:g} s; the horizon of the replay is "
        f"{test['horizon_s'] or 0:g} s. {analysis['annualisation']['basis']}.",
        f"Verdict: {analysis['recommendation']['action']}",
        *(f"  {reason}" for reason in analysis["recommendation"]["reasons"]),
    ]
    return "\n".join(lines)


def warnings(replayed: Replayed, plan: Plan) -> list[str]:
    """Return the problems of a replay as sentences."""
    found = [f"{count} calls failed: {reason}" for reason, count in replayed.failures.most_common()]
    if late := replayed.served_by["none"]:
        found.append(f"{late} bars came after the planned end and belong to no variant.")
    if replayed.took_s * SLOWEST_PACE > plan.replay_s:
        reached = (plan.bars + HORIZON_BARS) / replayed.took_s
        found.append(
            f"The replay reached {reached:.1f} instead of {plan.bars_per_s:g} bars per second: a "
            f"horizon lasted longer than the experiment states, so its intervals are too narrow. "
            f"Run it again with a lower --bars-per-s."
        )
    return found


def main(
    url: Annotated[str, typer.Option(help="Address of the model server.")] = DEFAULT_SERVER_URL,
    mode: Annotated[
        Mode, typer.Option(help="Assignment of bars to versions: one version each, or both.")
    ] = Mode.SPLIT,
    bars: Annotated[
        int | None, typer.Option(min=1, help="Number of held-out bars; default: all.")
    ] = None,
    bars_per_s: Annotated[
        float, typer.Option(min=0.1, help="Pace of the replay, in bars per second.")
    ] = 10.0,
) -> None:
    """Compare two versions on held-out EURUSD bars, and print the verdict and its evidence."""
    # Failures are counted and reported by reason instead of one log line each.
    logging.getLogger("serve_app.client").setLevel(logging.ERROR)

    async def compare(samples: Samples, plan: Plan) -> tuple[Replayed, Analysis]:
        def show(bar: int, analysis: Analysis) -> None:
            typer.echo(interim_line(bar, analysis))

        async with ModelClient(url, timeout_s=TIMEOUT_S, raise_errors=True) as client:
            await client.list_models()  # reports an unreachable server before the replay
            return await run(client, samples, plan, show)

    try:
        samples = split_samples(make_samples(load_bars())).test[:bars]
        plan = Plan(
            experiment_id=f"eurusd-{mode}-{datetime.now(UTC):%Y%m%dT%H%M%S}",
            mode=mode,
            bars=len(samples),
            bars_per_s=bars_per_s,
        )
        typer.echo(f"{plan.experiment_id}: {plan.bars} bars in {plan.replay_s:.0f} s")
        replayed, analysis = asyncio.run(compare(samples, plan))
    except (DataError, ClientError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    Console().print(analysis_table(analysis))
    typer.echo(conclusion(analysis))
    for warning in warnings(replayed, plan):
        typer.echo(warning, err=True)
    typer.echo(
        f"For a report with plots: modelctl experiment report {plan.experiment_id} --url {url}"
    )


if __name__ == "__main__":
    typer.run(main)
