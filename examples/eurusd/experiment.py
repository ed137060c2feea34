"""Run one whole experiment against a running server: 1.0.0 against 1.1.0 on the held-out bars.

    python -m examples.eurusd.experiment [--mode mirror] [--url http://localhost:8001]

Every bar is a request, and its outcome is reported one horizon of bars later. A bar takes a
fraction of a second here instead of an hour, and the server knows only its own clock: so the bars
are paced, and the experiment is told how many of the server's seconds a horizon lasts.
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
"""Half and half: with so few bars every one that treatment does not get costs evidence."""

BARS_BETWEEN_LOOKS = 100
MARGIN_S = 5.0
"""From the end of the slowest replay to the planned end, so that a late outcome still counts."""

TIMEOUT_S = 2.0
"""Longer than a bot would wait: here a slow answer is to be seen in the figures."""

SLOWEST_PACE = 0.9
"""Share of the stated pace below which a horizon lasted longer than the experiment was told."""

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
Analysis = dict[str, Any]
Result = TypeVar("Result")


class ExperimentServer(Protocol):
    """What the replay needs of a ModelClient that raises errors."""

    async def predict(self, symbol: str, features: NDArray[np.float32]) -> Analysis | None:
        """Return the server's answer for one window (timesteps, features)."""

    async def record_outcome(self, prediction_id: str, market_return: float) -> bool:
        """Tell what the market did after a prediction."""

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
        """Begin an experiment."""

    async def get_ab_test_analysis(self, experiment_id: str) -> Analysis | None:
        """Return what is known by now."""

    async def stop_ab_test(self, experiment_id: str) -> Analysis | None:
        """End an experiment that has not ended yet; return its final analysis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An experiment on the next `bars`, replayed at `bars_per_s`."""

    experiment_id: str
    mode: Mode
    bars: int
    bars_per_s: float

    @property
    def replay_s(self) -> float:
        """How long it takes until the last bar's outcome is known."""
        return (self.bars + HORIZON_BARS) / self.bars_per_s

    @property
    def settings(self) -> dict[str, object]:
        """Fields of the experiment beside its variants.

        Neighbouring bars share most of their horizon, so they are no independent evidence. What
        `horizon_s` states makes the blocks of the statistics at least as long in the server's
        time as a horizon is in the replay's. The Sharpe ratio is about the market's year and not
        the replay's. The dead band is control's own, from its metadata.
        """
        return {
            "mode": self.mode.value,
            "horizon_s": HORIZON_BARS / self.bars_per_s,
            "periods_per_year": BARS_PER_YEAR / HORIZON_BARS,
            "duration_hours": (self.replay_s / SLOWEST_PACE + MARGIN_S) / 3600,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What the bot saw."""

    answered_by: Counter[str]
    """Predictions by the variant that answered; `none` came after the planned end."""
    failures: Counter[str]
    """Calls that failed, by reason."""
    took_s: float


async def run(
    client: ExperimentServer,
    samples: Samples,
    plan: Plan,
    on_look: Callable[[int, Analysis], None],
    sleep: Sleep = asyncio.sleep,
    clock: Clock = time.monotonic,
) -> tuple[Replayed, Analysis]:
    """Create the experiment, replay the bars, and return what was seen and the final analysis.

    Whatever happens on the way, the experiment does not go on without its bot.

    Raises:
        ClientError: the server refuses the experiment, or cannot be reached any more.
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
        replayed = await replay(client, samples, plan, on_look, sleep, clock)
        while clock() < overdue_s:
            analysis = _given(await client.get_ab_test_analysis(plan.experiment_id))
            if analysis["status"] == ExperimentStatus.COMPLETED:
                break
            await sleep(0.5)
    finally:
        # One that ended at its planned end keeps the analysis that was made then.
        final = _given(await client.stop_ab_test(plan.experiment_id))
    return replayed, final


async def replay(
    client: ExperimentServer,
    samples: Samples,
    plan: Plan,
    on_look: Callable[[int, Analysis], None],
    sleep: Sleep,
    clock: Clock,
) -> Replayed:
    """Ask once a bar, and tell each outcome HORIZON_BARS later, when the bot would know it.

    A prediction or an outcome that fails is counted, and the replay goes on.

    Raises:
        ServerUnreachableError: nobody listens there (any more).
    """
    ids: list[str | None] = []
    answered_by: Counter[str] = Counter()
    failures: Counter[str] = Counter()

    async def attempt(what: str, call: Awaitable[Result]) -> Result | None:
        try:
            return await call
        except ServerUnreachableError:
            raise
        except ClientError as error:
            failures[f"{what}: {_reason(error)}"] += 1
            return None

    began_s = clock()
    for bar in range(len(samples) + HORIZON_BARS):
        await sleep(max(0.0, began_s + bar / plan.bars_per_s - clock()))
        known = bar - HORIZON_BARS
        if known >= 0 and (prediction_id := ids[known]) is not None:
            outcome = client.record_outcome(prediction_id, float(samples.returns[known]))
            await attempt("outcome", outcome)
        if bar < len(samples):
            asked = client.predict(symbol=SYMBOL, features=samples.windows[bar])
            answer = await attempt("prediction", asked)
            ids.append(None if answer is None else answer["prediction_id"])
            if answer is not None:
                answered_by[answer["variant"] or "none"] += 1
            if (bar + 1) % BARS_BETWEEN_LOOKS == 0:
                looked = client.get_ab_test_analysis(plan.experiment_id)
                if (analysis := await attempt("look", looked)) is not None:
                    on_look(bar + 1, analysis)
    return Replayed(answered_by=answered_by, failures=failures, took_s=clock() - began_s)


def _reason(error: ClientError) -> str:
    """Return why a call failed, the same words for every bar."""
    return error.code if isinstance(error, ServerRejectedError) else str(error)


def _given(answer: Analysis | None) -> Analysis:
    if answer is None:
        raise TypeError("the example needs a client that raises errors: a None has no reason")
    return answer


def look_line(bar: int, analysis: Analysis) -> str:
    """Return a look at a running experiment in one line."""
    variants = (analysis[variant] for variant in ("control", "treatment"))
    right = " against ".join(
        f"{variant['accuracy']:.1%} of {variant['labelled']}" for variant in variants
    )
    p_value = analysis["statistical_significance"]["p_value"]
    return f"bar {bar}: {right} right, p {p_value:.2f}: {analysis['recommendation']['action']}"


def conclusion(analysis: Analysis) -> str:
    """Return the verdict of a final analysis, its interval, and the reasons in its own words."""
    test = analysis["statistical_significance"]
    interval = test["interval"]
    between = "unknown" if interval is None else f"{interval[0]:+.1%} to {interval[1]:+.1%}"
    lines = [
        f"Accuracy, treatment minus control: {test['difference']:+.1%}, "
        f"{test['confidence_level']:.0%} interval {between}, p {test['p_value']:.2f}",
        f"Over {test['blocks']} blocks of {test['block_s']:g} s; a horizon lasts "
        f"{test['horizon_s'] or 0:g} s here. {analysis['annualisation']['basis']}.",
        f"Verdict: {analysis['recommendation']['action']}",
        *(f"  {reason}" for reason in analysis["recommendation"]["reasons"]),
    ]
    return "\n".join(lines)


def warnings(replayed: Replayed, plan: Plan) -> list[str]:
    """Return what went wrong on the way, in sentences."""
    found = [f"{count} times {reason}" for reason, count in replayed.failures.most_common()]
    if late := replayed.answered_by["none"]:
        found.append(f"{late} bars came after the planned end and belong to no variant.")
    if replayed.took_s * SLOWEST_PACE > plan.replay_s:
        reached = (plan.bars + HORIZON_BARS) / replayed.took_s
        found.append(
            f"The bars came at {reached:.1f} a second and not at {plan.bars_per_s:g}: a horizon "
            f"lasted longer than the experiment was told, and its intervals are too narrow. "
            f"Run it again with a lower --bars-per-s."
        )
    return found


def main(
    url: Annotated[str, typer.Option(help="Where the model server is.")] = DEFAULT_SERVER_URL,
    mode: Annotated[Mode, typer.Option(help="Who answers a bar.")] = Mode.SPLIT,
    bars: Annotated[
        int | None, typer.Option(min=1, help="How many held-out bars; all by default.")
    ] = None,
    bars_per_s: Annotated[float, typer.Option(min=0.1, help="How fast they are replayed.")] = 10.0,
) -> None:
    """Compare two versions on held-out EURUSD bars, and print the verdict and what it rests on."""
    # The client logs every failure; here they are counted and reported by their reason.
    logging.getLogger("serve_app.client").setLevel(logging.ERROR)

    async def compare(samples: Samples, plan: Plan) -> tuple[Replayed, Analysis]:
        def show(bar: int, analysis: Analysis) -> None:
            typer.echo(look_line(bar, analysis))

        async with ModelClient(url, timeout_s=TIMEOUT_S, raise_errors=True) as client:
            await client.list_models()  # a server that is not there is known before the long wait
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
    for each in warnings(replayed, plan):
        typer.echo(each, err=True)
    typer.echo(f"With plots: modelctl experiment report {plan.experiment_id} --url {url}")


if __name__ == "__main__":
    typer.run(main)
