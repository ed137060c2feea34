"""The experiment of the example against scripted servers."""

import asyncio
import logging
import socket

import pytest
import typer

from examples.eurusd.dataset import HORIZON_BARS
from examples.eurusd.experiment import (
    Plan,
    conclusion,
    interim_line,
    main,
    replay,
    run,
    warnings,
)
from serve_app.client import ModelClient
from serve_app.errors import (
    DeadlineExceededError,
    ServerRejectedError,
    ServerUnreachableError,
)
from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.definition import ExperimentDefinition, Mode
from serve_app.experiments.table import tabulate
from testkit.fake_server import CREATE, EXPERIMENTS, OUTCOMES, PREDICT, FakeServer, Reply
from testkit.fake_server import prediction as served

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def client_log_level():
    """Restore the level of the client's log, which the example changes for its process."""
    logger = logging.getLogger("serve_app.client")
    level = logger.level
    yield
    logger.setLevel(level)


def plan(bars=10, bars_per_s=20.0, mode=Mode.SPLIT):
    return Plan(experiment_id="e", mode=mode, bars=bars, bars_per_s=bars_per_s)


def definition(of):
    """Return the definition that the server derives from a plan."""
    return ExperimentDefinition(
        experiment_id=of.experiment_id,
        control_model_name="m",
        control_model_version="1.0.0",
        treatment_model_name="m",
        treatment_model_version="1.1.0",
        control_traffic=0.5,
        treatment_traffic=0.5,
        **of.settings,
    )


def analysis(status="running"):
    """Return an analysis without predictions, as the server computes it."""
    of = definition(plan())
    document = analyse(of, BlockClock(0.0, 0.125), []).document
    return {**document, "status": status}


class Market:
    """A clock that advances only during waits, and a server that uses it."""

    def __init__(self, response_s=0.0, failures=None):
        self.now_s = 0.0
        self.response_s = response_s
        self.failures = dict(failures or {})
        self.requested, self.outcomes, self.created = [], [], []
        self.ends_s = float("inf")
        self.stopped = 0

    def clock(self):
        return self.now_s

    async def sleep(self, seconds):
        assert seconds >= 0
        self.now_s += seconds

    async def create_ab_test(self, *variants, **fields):
        self.created.append((variants, fields))
        self.ends_s = self.now_s + fields["duration_hours"] * 3600
        return True

    async def predict(self, symbol, features):
        assert (symbol, features.shape) == ("EURUSD", (60, 110))
        self.now_s += self.response_s
        self.requested.append(self.now_s)
        if (failure := self.failures.get(len(self.requested) - 1)) is not None:
            raise failure
        ended = self.now_s >= self.ends_s
        variant = None if ended else ("control", "treatment")[len(self.requested) % 2]
        return {"prediction_id": f"p{len(self.requested) - 1}", "variant": variant}

    async def record_outcome(self, prediction_id, market_return):
        self.outcomes.append((prediction_id, market_return, self.now_s))
        return True

    async def get_ab_test_analysis(self, experiment_id):
        return analysis("completed" if self.now_s >= self.ends_s else "running")

    async def stop_ab_test(self, experiment_id):
        self.stopped += 1
        return analysis("completed")


def ignore(bar, seen):
    pass


async def replayed(market, samples, of, on_analysis=ignore):
    return await replay(market, samples, of, on_analysis, market.sleep, market.clock)


async def test_outcomes(samples):
    """Each outcome is recorded one horizon after its prediction."""
    market = Market()
    await replayed(market, samples[:10], plan(10))
    assert market.requested == pytest.approx([bar / 20 for bar in range(10)])
    ids, returns, times = zip(*market.outcomes, strict=True)
    assert ids == tuple(f"p{bar}" for bar in range(10))
    assert returns == pytest.approx(samples.returns[:10])
    assert times == pytest.approx([(bar + HORIZON_BARS) / 20 for bar in range(10)])


async def test_failed_prediction(samples):
    """A failed prediction is counted and has no outcome."""
    failure = ServerRejectedError(503, "overloaded", "full", {})
    seen = await replayed(Market(failures={1: failure}), samples[:10], plan(10))
    assert seen.failures == {"prediction: overloaded": 1}
    assert seen.served_by.total() == 9
    market = Market(failures={1: DeadlineExceededError("http://x", 1.0)})
    await replayed(market, samples[:10], plan(10))
    assert [outcome[0] for outcome in market.outcomes] == [
        f"p{bar}" for bar in range(10) if bar != 1
    ]


async def test_interim_analyses(samples):
    """The experiment is analysed every 100 bars."""
    analyses = []
    await replayed(
        Market(), samples[:250], plan(250), lambda bar, seen: analyses.append((bar, seen))
    )
    assert [bar for bar, _ in analyses] == [100, 200]
    assert interim_line(*analyses[0]).startswith(
        "bar 100: 0.0% of 0 against 0.0% of 0 right, p 1.00"
    )


async def test_planned_end(samples):
    """The run waits for the planned end, which follows the last outcome."""
    market = Market()
    seen, final = await run(market, samples[:10], plan(10), ignore, market.sleep, market.clock)
    assert seen.served_by == {"control": 5, "treatment": 5}
    assert market.outcomes[-1][2] < market.ends_s <= market.now_s
    assert final["status"] == "completed"
    ((variants, fields),) = market.created
    assert variants == ("e", "hybrid_cnn_lstm", "1.0.0", "hybrid_cnn_lstm", "1.1.0")
    assert fields["traffic_split"] == 0.5


async def test_failed_run(samples):
    """A run that fails stops its experiment."""
    market = Market(failures={3: ServerUnreachableError("http://x", "refused")})
    with pytest.raises(ServerUnreachableError):
        await run(market, samples[:10], plan(10), ignore, market.sleep, market.clock)
    assert market.stopped == 1


@pytest.mark.parametrize("bars_per_s", [1.0, 7.0, 20.0, 100.0])
@pytest.mark.parametrize("mode", list(Mode))
def test_block_length(bars_per_s, mode):
    """A block is at least as long as a horizon of bars at any pace."""
    of = definition(plan(900, bars_per_s, mode))
    blocks = tabulate(of, BlockClock(0.0, 0.125), [])
    assert blocks.block_s * bars_per_s >= HORIZON_BARS
    assert of.horizon_s == pytest.approx(HORIZON_BARS / bars_per_s)


def test_annualisation():
    """Sharpe ratios refer to the year of the market at any pace."""
    assert {definition(plan(900, pace)).annual_periods for pace in (1.0, 50.0)} == {6225 / 4}


async def test_slow_server(samples):
    """A server that cannot keep the pace is reported."""
    slow, fast = Market(response_s=0.2), Market()
    of = plan(50)
    (sentence,) = warnings(await replayed(slow, samples[:50], of), of)
    assert "intervals are too narrow" in sentence
    assert warnings(await replayed(fast, samples[:50], of), of) == []


async def test_late_bars(samples):
    """Bars after the planned end are reported."""
    market, of = Market(response_s=0.5), plan(50)
    seen, _ = await run(market, samples[:50], of, ignore, market.sleep, market.clock)
    late = seen.served_by["none"]
    assert late > 0
    assert f"{late} bars came after the planned end and belong to no variant." in warnings(seen, of)


def test_conclusion():
    """The conclusion has the interval, the blocks, the verdict and its reasons."""
    seen = analysis()
    seen["statistical_significance"] |= {"interval": [-0.081, 0.02], "difference": -0.03}
    text = conclusion(seen)
    for words in (
        "-3.0%, 95% interval -8.1% to +2.0%, p 1.00",
        "the horizon of the replay is 0.2 s",
        "Verdict: continue",
        f"  {seen['recommendation']['reasons'][0]}",
    ):
        assert words in text
    assert "interval unknown" in conclusion(analysis())


async def test_run(samples):
    """The example calls a server through ModelClient."""
    async with FakeServer() as server:
        server.script(CREATE, Reply({"status": "success", "experiment_id": "e"}))
        server.script(PREDICT, Reply({**served("EURUSD"), "variant": "control"}))
        taken = {"accepted": 1, "duplicates": 0, "unrecorded": [], "unknown": [], "conflicts": []}
        server.script(OUTCOMES, Reply(taken))
        server.script(f"{EXPERIMENTS}/e/analyze", Reply(analysis("completed")))
        server.script(f"{EXPERIMENTS}/e/stop", Reply(analysis("completed")))
        async with ModelClient(server.url, raise_errors=True) as client:
            of = plan(3, 100.0, Mode.MIRROR)
            seen, final = await run(client, samples[:3], of, ignore, asyncio.sleep)
    assert (seen.served_by, final["status"]) == ({"control": 3}, "completed")
    (created,) = server.received[CREATE]
    assert ExperimentDefinition.model_validate(created).mode is Mode.MIRROR
    assert len(server.received[OUTCOMES]) == 3


def test_unreachable_server(capsys):
    """An unreachable server is reported as one sentence and exit code 1."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(typer.Exit) as caught:
        main(url=f"http://127.0.0.1:{port}", mode=Mode.SPLIT, bars=1, bars_per_s=20.0)
    assert caught.value.exit_code == 1
    assert "cannot reach the model server" in capsys.readouterr().err
