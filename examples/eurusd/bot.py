"""Trades the held-out bars through the model server, as a bot would: one prediction per bar.

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
    """The part of ModelClient that the bot uses; it must raise errors."""

    async def predict(self, symbol: str, features: NDArray[np.float32]) -> dict[str, Any] | None:
        """Return the server's response for one window (timesteps, features)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The predictions of consecutive bars."""

    directions: tuple[int | None, ...]
    """0 HOLD, 1 BUY, 2 SELL; None for a failed prediction."""
    failures: Counter[str]
    """The number of failed predictions by reason."""
    served_by: Counter[str]
    """The number of predictions by version."""
    latencies_ms: tuple[float, ...]
    """Latencies of the successful predictions, measured by the client, network included."""


async def replay(client: PredictionSource, samples: Samples) -> Replay:
    """Request one prediction per bar, one after the other.

    A failed prediction is recorded and the replay continues, as a bot would.

    Raises:
        ServerUnreachableError: the server cannot be reached.
    """
    directions: list[int | None] = []
    failures: Counter[str] = Counter()
    served_by: Counter[str] = Counter()
    latencies_ms: list[float] = []
    for window in samples.windows:
        started_s = time.perf_counter()
        try:
            response = await client.predict(symbol=SYMBOL, features=window)
        except ServerUnreachableError:
            raise
        except ClientError as error:
            failures[str(error)] += 1
            directions.append(None)
            continue
        if response is None:
            raise TypeError(
                "expected a client that raises errors, received None; pass raise_errors=True"
            )
        latencies_ms.append((time.perf_counter() - started_s) * 1000)
        directions.append(response["prediction"]["direction"])
        served_by[f"{response['model_name']}:{response['model_version']}"] += 1
    return Replay(
        directions=tuple(directions),
        failures=failures,
        served_by=served_by,
        latencies_ms=tuple(latencies_ms),
    )


def report_table(replayed: Replay, samples: Samples) -> Table:
    """Return a table of the trading result and of the latency of the predictions."""
    result = trade(replayed.directions, samples.returns, HORIZON_BARS)
    successful = [i for i, direction in enumerate(replayed.directions) if direction is not None]
    right = sum(replayed.directions[i] == samples.labels[i] for i in successful)
    table = Table(title=f"{SYMBOL}: {len(samples)} held-out hourly bars", show_header=False)
    table.add_row("served by", ", ".join(f"{v} ({n})" for v, n in replayed.served_by.items()))
    table.add_row("predictions", str(len(successful)))
    table.add_row("failed predictions", str(sum(replayed.failures.values())))
    for name, direction in DIRECTIONS.items():
        table.add_row(f"  {name}", str(replayed.directions.count(direction)))
    table.add_row("accuracy", _share(right / len(successful) if successful else None))
    _add_trading_rows(table, result)
    if successful:
        p50, p95, p99 = np.percentile(replayed.latencies_ms, [50, 95, 99])
        table.add_row("latency p50 / p95 / p99", f"{p50:.2f} / {p95:.2f} / {p99:.2f} ms")
    table.caption = (
        f"A BUY or SELL opens a position if none is open; a position is held {HORIZON_BARS} bars. "
        "A failed prediction opens none. No spread, commission or slippage."
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
    """Replay `samples` against the server at `url`; see `replay`."""
    async with ModelClient(server_url=url, raise_errors=True) as client:
        return await replay(client, samples)


def main(
    url: Annotated[str, typer.Option(help="Address of the model server.")] = DEFAULT_SERVER_URL,
    bars: Annotated[int, typer.Option(min=1, help="Number of held-out bars to trade.")] = 200,
) -> None:
    """Trade held-out EURUSD bars on the server's predictions and report the result."""
    # Failures are counted and reported by reason instead of one log line each.
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
