"""Trade the held-out bars through the model server, as a bot would: one prediction per bar.

python -m examples.eurusd.bot [--url http://localhost:8001] [--bars 200]
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from examples.eurusd.data import SYMBOL, DataError, load_bars
from examples.eurusd.dataset import HORIZON_BARS, Samples, make_samples, split_samples
from examples.eurusd.evaluation import TradingResult, trade
from registry.records import DIRECTIONS
from serve_app.client import DEFAULT_SERVER_URL, ModelClient
from serve_app.errors import ClientError, ServerUnreachableError


class PredictionSource(Protocol):
    """What the bot needs of a ModelClient that raises errors."""

    async def predict(self, symbol: str, features: NDArray[np.float32]) -> dict[str, Any] | None:
        """Return the server's answer for one window (timesteps, features)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came back for each bar, in order."""

    directions: tuple[int | None, ...]
    """0 HOLD, 1 BUY, 2 SELL; None where the prediction failed."""
    failures: Counter[str]
    """How often a prediction failed, by reason."""
    served_by: Counter[str]
    """How many predictions each version made."""
    latencies_ms: tuple[float, ...]
    """Of the answered predictions, measured here: the network's part is in them."""


async def replay(client: PredictionSource, samples: Samples) -> Replay:
    """Ask for one prediction per bar, each after the one before was answered.

    A failed prediction is recorded as such and the replay goes on, as a bot would.

    Raises:
        ServerUnreachableError: nobody listens there (any more).
    """
    directions: list[int | None] = []
    failures: Counter[str] = Counter()
    served_by: Counter[str] = Counter()
    latencies_ms: list[float] = []
    for window in samples.windows:
        started_s = time.perf_counter()
        try:
            answer = await client.predict(symbol=SYMBOL, features=window)
        except ServerUnreachableError:
            raise
        except ClientError as error:
            failures[str(error)] += 1
            directions.append(None)
            continue
        if answer is None:
            raise TypeError("the bot needs a client that raises errors: a None has no reason")
        latencies_ms.append((time.perf_counter() - started_s) * 1000)
        directions.append(answer["prediction"]["direction"])
        served_by[f"{answer['model_name']}:{answer['model_version']}"] += 1
    return Replay(
        directions=tuple(directions),
        failures=failures,
        served_by=served_by,
        latencies_ms=tuple(latencies_ms),
    )


def report_table(replayed: Replay, samples: Samples) -> Table:
    """Lay out the result of trading on `replayed`, and what the predictions cost in time."""
    result = trade(replayed.directions, samples.returns, HORIZON_BARS)
    answered = [i for i, direction in enumerate(replayed.directions) if direction is not None]
    right = sum(replayed.directions[i] == samples.labels[i] for i in answered)
    table = Table(title=f"{SYMBOL}: {len(samples)} held-out hourly bars", show_header=False)
    table.add_row("served by", ", ".join(f"{v} ({n})" for v, n in replayed.served_by.items()))
    table.add_row("predictions", str(len(answered)))
    table.add_row("failed predictions", str(sum(replayed.failures.values())))
    for name, direction in DIRECTIONS.items():
        table.add_row(f"  {name}", str(replayed.directions.count(direction)))
    table.add_row("accuracy", _share(right / len(answered) if answered else None))
    _add_trading_rows(table, result)
    if answered:
        p50, p95, p99 = np.percentile(replayed.latencies_ms, [50, 95, 99])
        table.add_row("latency p50 / p95 / p99", f"{p50:.2f} / {p95:.2f} / {p99:.2f} ms")
    table.caption = (
        f"A BUY or SELL opens a position if none is open; it is held {HORIZON_BARS} bars. "
        "A failed prediction opens nothing. No spread, commission or slippage."
    )
    return table


def _add_trading_rows(table: Table, result: TradingResult) -> None:
    sharpe = result.sharpe_ratio
    table.add_row("positions", str(result.trades))
    table.add_row("hit rate of the positions", _share(result.win_rate))
    table.add_row("P&L, sum of returns", f"{result.total_pnl:+.3%}")
    table.add_row("Sharpe ratio, annualised", "undefined" if sharpe is None else f"{sharpe:+.2f}")


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1%}"


async def run(url: str, samples: Samples) -> Replay:
    """Replay `samples` against the server at `url`; see replay."""
    async with ModelClient(server_url=url, raise_errors=True) as client:
        return await replay(client, samples)


def main(
    url: Annotated[str, typer.Option(help="Where the model server is.")] = DEFAULT_SERVER_URL,
    bars: Annotated[int, typer.Option(min=1, help="How many held-out bars to trade.")] = 200,
) -> None:
    """Trade held-out EURUSD bars on the server's predictions and report how it went."""
    # The client logs every failure; here they are counted and reported by their reason.
    logging.getLogger("serve_app.client").setLevel(logging.ERROR)
    try:
        samples = split_samples(make_samples(load_bars())).test[:bars]
        replayed = asyncio.run(run(url, samples))
    except (DataError, ServerUnreachableError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    Console().print(report_table(replayed, samples))
    for reason, count in replayed.failures.most_common():
        typer.echo(f"{count} predictions failed: {reason}", err=True)
    if not replayed.latencies_ms:
        typer.echo("No prediction succeeded.", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
