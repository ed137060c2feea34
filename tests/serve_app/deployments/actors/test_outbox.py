"""A router's outbox of predictions, with a log that fails and recovers."""

import pytest
from ray.exceptions import ActorUnavailableError

from serve_app.deployments.actors.outbox import Outbox
from tests.serve_app.experiments.factories import prediction


class Log:
    """An experiment log's handle that is unavailable while `error` is set."""

    def __init__(self):
        self.record_predictions = self
        self.error, self.committed = None, []

    async def remote(self, records):
        if self.error is not None:
            raise self.error
        self.committed.append(len(records))


@pytest.fixture
def log():
    return Log()


async def test_predictions_are_sent_in_groups(log):
    outbox = Outbox(log, record_all=False)
    for number in range(Outbox.GROUP + 1):
        outbox.record(prediction(number))
    await outbox.send()
    assert log.committed == [Outbox.GROUP, 1]


async def test_unacknowledged_predictions_are_sent_again(log, caplog):
    outbox = Outbox(log, record_all=False)
    outbox.record(prediction())
    log.error = ActorUnavailableError("restarting", None)
    await outbox.send()
    assert "1 predictions wait for the log" in caplog.text
    log.error = None
    await outbox.send()
    assert log.committed == [1]


@pytest.mark.parametrize(("record_all", "committed"), [(False, []), (True, [1])])
async def test_predictions_without_an_experiment_are_optional(log, record_all, committed):
    outbox = Outbox(log, record_all)
    outbox.record(prediction(experiment_id=None, variant=None, treatment_share=None))
    await outbox.send()
    assert log.committed == committed


async def test_predictions_over_the_limit_are_counted(log, caplog, monkeypatch):
    monkeypatch.setattr(Outbox, "LIMIT", 2)
    outbox = Outbox(log, record_all=False)
    for number in range(5):
        outbox.record(prediction(number))
    assert caplog.text.count("predictions are not recorded: 2 wait for the log") == 1
    await outbox.send()
    assert log.committed == [2]
    assert "3 predictions were not recorded" in caplog.text
