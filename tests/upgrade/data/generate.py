"""Write the files of this folder with release 0.1.0 (commit 75d379b), whose modules this imports.

    git worktree add ../old 75d379b && cd ../old && make setup
    .venv/bin/python NEW_CHECKOUT/tests/upgrade/data/generate.py NEW_CHECKOUT/tests/upgrade/data

The present code cannot run it: the files must be those that the old release wrote.
"""

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serve_app.experiments.book import HistoryEntry
from serve_app.fleet import state as states
from tests.factories import linear_onnx

from registry import ModelRegistry, ModelStage
from serve_app.experiments.analysis import analyse
from serve_app.experiments.assignment import assign, unit_of
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.records import Outcome, PredictionRecord, Variant
from serve_app.experiments.running import RunningExperiment
from serve_app.experiments.store import ExperimentStore
from serve_app.settings import AppSettings

START = datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)
MODEL = "hybrid_cnn_lstm"
APPLICATION = "trading-models"
BY = "release"


async def write_registry(root, sources):
    """Register, stage, promote, roll back, optimise, pin, retire and delete."""
    registry = ModelRegistry(root)
    files = {}
    for weight in (1.0, 1.25, 1.5, 2.0):
        files[weight] = sources / f"{weight}.onnx"
        files[weight].write_bytes(linear_onnx(weight))

    async def register(version, weight, name=MODEL, **fields):
        await registry.register_model(
            name, version, files[weight], "Linear", framework="onnx", input_shape=(3, 2),
            by=BY, reason=f"trained {version}", **fields,
        )  # fmt: skip

    described = {
        "description": "Grüße — the first one",
        "metrics": {"accuracy": 0.5625, "sharpe_ratio": 1.1},
        "training_params": {"epochs": 3, "optimizer": {"name": "adamw", "lr": 0.001}},
        "dataset_info": {"dead_band": 0.0005, "horizon_bars": 12},
        "label_map": {0: "SELL", 1: "HOLD", 2: "BUY"},
        "tags": ("eurusd", "5m"),
    }
    await register("1.0.0", 1.0, **described)
    await register("1.1.0", 1.25)
    await register("1.9.0", 1.5)
    await register("1.10.0", 2.0, dataset_info={"dead_band": 0.0005})
    await register("2.0.0-rc.1", 1.0)
    await register("0.1.0", 1.0, name="baseline")
    production, staging = ModelStage.PRODUCTION, ModelStage.STAGING
    await registry.promote_to_production(MODEL, "1.0.0", by=BY, reason="first")
    await registry.set_model_stage(MODEL, "1.1.0", staging, by=BY)
    await registry.set_model_stage(MODEL, "1.1.0", production, by=BY)
    await registry.rollback(MODEL, by=BY, reason="worse")
    await registry.set_model_stage(MODEL, "1.9.0", staging, by=BY)
    await registry.set_model_stage(MODEL, "1.9.0", ModelStage.NONE, by=BY)
    await registry.set_model_stage(MODEL, "1.10.0", staging, by=BY)
    await registry.update_metrics(MODEL, "1.10.0", {"accuracy": 0.59375}, by=BY)
    evidence = {"recommended": "model.int8.onnx", "p50_ms": {"model.int8.onnx": 0.25}}
    await registry.add_artifacts(
        MODEL, "1.10.0", {"model.int8.onnx": files[1.5]}, evidence, "model.int8.onnx", by=BY
    )
    await registry.add_artifacts(MODEL, "1.0.0", {"model.fp16.onnx": files[2.0]}, evidence, by=BY)
    await registry.pin_artifact(MODEL, "1.0.0", "model.fp16.onnx", by=BY, reason="faster")
    await registry.retire_model(MODEL, "1.9.0", by=BY, reason="unused")
    await registry.delete_model(MODEL, "2.0.0-rc.1", by=BY, reason="mistake")
    for lock in root.rglob(".lock"):
        lock.unlink()
    history = await registry.history(MODEL)
    middle = history[7].time
    return {
        "versions": {
            f"{info.metadata.name}:{info.metadata.version}": info.metadata.model_dump(mode="json")
            for info in await registry.list_models()
        },
        "history": {
            name: [entry.model_dump(mode="json") for entry in await registry.history(name)]
            for name in (MODEL, "baseline")
        },
        "production_at": [middle.isoformat(), await registry.production_at(MODEL, middle)],
        "comparison": await registry.compare_models(MODEL, "1.0.0", "1.10.0"),
        "findings": [finding.path for finding in await registry.verify()],
    }


EXPOSED = ExperimentDefinition(
    experiment_id="staged",
    control_model_name=MODEL,
    control_model_version="1.0.0",
    treatment_model_name=MODEL,
    treatment_model_version="1.10.0",
    control_traffic=0.75,
    treatment_traffic=0.25,
    exposure_stages=(0.05, 0.1, 0.25),
    stage_hours=0.5,
    horizon_s=300.0,
    min_samples=20,
    auto_apply=True,
    dead_band=0.0005,
    salt="shared",
)


async def write_state(root):
    """Declare versions, load two more, split the traffic of one model, declare others."""
    registry = ModelRegistry(root)
    settings = AppSettings.model_validate(
        {
            "registry_root": "models",
            "default_model": MODEL,
            "router": {
                "num_replicas": 2,
                "num_cpus": 0.2,
                "max_ongoing_requests": 300,
                "max_body_bytes": 1_000_000,
                "max_batch_requests": 128,
                "request_timeout_s": 5.0,
                "treatment_timeout_s": 0.125,
                "breaker": {
                    "failures_in_a_row": 4, "failure_share": 0.25, "window_s": 20.0,
                    "window_calls": 30, "retry_after_s": 0.5, "trial_successes": 2,
                },
            },
            "loading": {"on_demand": True, "max_versions": 3, "unload_idle_s": 60.0},
            "experiments": {"record_all": False, "keep_days": 7.0},
            "versions": [
                {
                    "model": MODEL, "version": "production", "num_cpus": 0.25, "num_threads": 2,
                    "max_ongoing_requests": 48, "max_queued_requests": 100,
                    "autoscaling": {
                        "min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 4.0,
                        "upscale_delay_s": 2.0, "downscale_delay_s": 30.0,
                    },
                    "batching": {
                        "max_batch_size": 16, "batch_wait_timeout_s": 0.001,
                        "crowded_wait_timeout_s": 0.002,
                    },
                },
                {"model": "baseline", "version": "0.1.0", "placement": "router"},
            ],
        }
    )  # fmt: skip
    known = {
        (info.metadata.name, info.metadata.version): info.metadata
        for info in await registry.list_models()
    }
    holder, baseline = known[MODEL, "1.0.0"], known["baseline", "0.1.0"]
    declared = (
        states.ServedVersion(
            metadata=holder, settings=states.settled(settings.versions[0], holder)
        ),
        states.ServedVersion(metadata=baseline, settings=settings.versions[1]),
    )
    stages = {MODEL: {"production": "1.0.0"}, "baseline": {}}
    state = states.declare(
        None, states.Declaration(settings=settings, versions=declared, stages=stages)
    )
    for version in state.versions:
        state = states.launched(state, version)
    treatment = known[MODEL, "1.10.0"]
    state = states.add(state, treatment, states.settings_for(state, treatment, ()))
    state = states.launched(state, state.find(f"{MODEL}:1.10.0"))
    waiting = known[MODEL, "1.1.0"]
    state = states.add(state, waiting, states.settings_for(state, waiting, ()))
    state = states.follow(state, MODEL, {"production": waiting, "staging": treatment})
    state = states.advance(state, {f"{MODEL}:1.0.0", f"{MODEL}:1.10.0", "baseline:0.1.0"})
    running = RunningExperiment(
        definition=EXPOSED, treatment_share=0.1, exposed_at=START + timedelta(minutes=31)
    )
    state = states.experiment(state, [running])
    # Deployed again without the baseline, which is leaving from now on.
    again = AppSettings.model_validate(
        {
            **settings.model_dump(),
            "versions": [
                settings.versions[0].model_dump(),
                {"model": MODEL, "version": "1.1.0", "num_replicas": 2},
            ],
        }
    )
    declared = (
        declared[0],
        states.ServedVersion(metadata=waiting, settings=again.versions[1]),
    )
    stages = {MODEL: {"production": "1.0.0"}}
    state = states.declare(
        state, states.Declaration(settings=again, versions=declared, stages=stages)
    )
    path = root / f".serving-{APPLICATION}.json"
    path.write_bytes(state.model_dump_json(indent=1).encode())
    return {
        "revision": state.revision,
        "stages": state.stages,
        "targets": state.targets,
        "versions": {
            version.key: {
                "metadata": version.metadata.model_dump(mode="json"),
                "settings": version.settings.model_dump(mode="json"),
                "launched": version.launched and version.launched.model_dump(mode="json"),
                "leaving": version.leaving,
                "is_pinned": state.is_pinned(version),
            }
            for version in state.versions
        },
        "settings": state.settings.model_dump(mode="json"),
        "experiments": [each.model_dump(mode="json") for each in state.experiments],
    }


def definition(experiment_id, model, **fields):
    return ExperimentDefinition(
        experiment_id=experiment_id,
        control_model_name=model,
        control_model_version="1.0.0",
        treatment_model_name=model,
        treatment_model_version="1.1.0",
        **{"control_traffic": 0.5, "treatment_traffic": 0.5, **fields},
    )


EXPERIMENTS = {
    "staged": (EXPOSED, None),
    "by_bot": (definition("by_bot", "bots", assignment="unit_id", horizon_s=60.0), None),
    "by_symbol": (definition("by_symbol", "symbols", assignment="symbol"), EndReason.DURATION),
    "switched": (
        definition(
            "switched", "switched", assignment="switchback", switchback_block_s=120.0,
            horizon_s=60.0,
        ),
        EndReason.STOPPED,
    ),
    "mirrored": (definition("mirrored", "mirrored", mode="mirror"), EndReason.ROLLED_BACK),
    "promoted": (definition("promoted", "promoted", periods_per_year=1e4), EndReason.PROMOTED),
    "superseded": (definition("superseded", "promoted"), EndReason.SUPERSEDED),
}  # fmt: skip
ACTIONS = {
    EndReason.DURATION: "ended",
    EndReason.STOPPED: "stopped",
    EndReason.ROLLED_BACK: "rolled_back",
    EndReason.PROMOTED: "promoted",
    EndReason.SUPERSEDED: "superseded",
}


def prediction_time(number):
    return START + timedelta(minutes=number // 4, seconds=number % 4 / 4, microseconds=number)


def predictions(made, random_numbers, count=20):
    """Return predictions of an experiment, four of them every minute, some of them failed."""
    records = []
    for number in range(count):
        time = prediction_time(number)
        symbol = random_numbers.choice(["EURUSD", "BTCUSDT", "ETHUSDT", "XAUUSD", "GBPUSD"])
        unit_id = random_numbers.choice([*(f"bot-{n}" for n in range(6)), None])
        prediction_id = f"{made.experiment_id}-{number:03}"
        unit = unit_of(made, prediction_id=prediction_id, unit_id=unit_id, symbol=symbol, time=time)
        share = made.first_share if number < count / 2 else made.treatment_traffic
        mirrored = made.mode == "mirror"
        variants = list(Variant) if mirrored else [assign(made, unit, share)]
        for variant in variants:
            failed = random_numbers.random() < 0.1
            treated = variant is Variant.TREATMENT
            records.append(
                PredictionRecord(
                    prediction_id=prediction_id,
                    time=time,
                    model=made.control_model_name,
                    version=made.treatment_model_version if treated else made.control_model_version,
                    symbol=symbol,
                    latency_ms=random_numbers.uniform(1, 3),
                    experiment_id=made.experiment_id,
                    variant=variant,
                    treatment_share=None if mirrored else share,
                    direction=None if failed else random_numbers.choice([0, 1, 2]),
                    confidence=None if failed else random_numbers.random(),
                    expected_return=None if failed else random_numbers.gauss(0, 0.001),
                    error=random_numbers.choice(["model_failed", "circuit_open"])
                    if failed
                    else None,
                    mirrored=mirrored,
                    unit_id=unit_id,
                )
            )
    return records


def entry(minutes, action, **details):
    return HistoryEntry(time=START + timedelta(minutes=minutes), action=action, details=details)


def analysis(store, name, *, at_planned_end=False):
    experiment = store.experiment(name)
    found = analyse(
        experiment.definition,
        experiment.clock,
        store.blocks(name),
        status=experiment.status,
        at_planned_end=at_planned_end,
    )
    return json.loads(json.dumps(found.document))


def write_database(path):
    """Store experiments with their predictions, outcomes and history."""
    random_numbers = random.Random(20260105)
    store = ExperimentStore(f"sqlite:///{path}")
    for name, (made, reason) in EXPERIMENTS.items():
        # The experiments of earlier releases belong to no application.
        store.create_experiment(made, START, None if name == "switched" else APPLICATION)
        records = predictions(made, random_numbers)
        store.write_predictions(records)
        answered = dict.fromkeys(record.prediction_id for record in records)
        store.record_outcomes(
            [
                Outcome(
                    prediction_id=prediction_id,
                    market_return=round(random_numbers.gauss(0, 0.002), 7),
                    time=prediction_time(number) + timedelta(seconds=300),
                )
                for number, prediction_id in enumerate(answered)
                if number < 16
            ]
        )
        if name == "staged":
            store.add_history(name, entry(31, "exposed", share=0.1, before=0.05))
            store.add_history(name, entry(62, "exposed", share=0.25, before=0.1))
            store.add_history(name, entry(70, "promoting", analysis=analysis(store, name)))
        if reason is not None:
            ended = reason is EndReason.DURATION
            report = {
                **analysis(store, name, at_planned_end=ended),
                "status": ExperimentStatus.COMPLETED.value,
            }
            if reason in (EndReason.PROMOTED, EndReason.SUPERSEDED):
                store.add_history(name, entry(70, "promoting", analysis=report))
            action = ACTIONS[reason]
            store.end_experiment(name, reason, report, entry(90, action, analysis=report))
    lone = PredictionRecord(
        prediction_id="alone", time=START, model="bots", version="1.0.0", symbol="EURUSD",
        latency_ms=1.25, direction=1, confidence=0.75, expected_return=0.001, unit_id="bot-1",
    )  # fmt: skip
    store.write_predictions([lone])
    store.record_outcomes([Outcome(prediction_id="alone", market_return=-0.001, time=START)])
    # Older than any prediction: nothing is deleted, but the limit is stored.
    store.delete_older_than(timedelta(days=30), now=START + timedelta(days=1))
    expected = {
        "analyses": {name: analysis(store, name) for name in EXPERIMENTS},
        "of_another_application": [
            experiment.definition.experiment_id for experiment in store.experiments("another")
        ],
    }
    store.close()
    return expected


def dump(path):
    """Return the database as SQL; SQLite's own dump would round the numbers to 15 digits."""
    connection = sqlite3.connect(path)
    master = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type = ?"
    statements = []
    for name, sql in connection.execute(f"{master} ORDER BY name", ("table",)).fetchall():
        statements.append(f"{' '.join(sql.split())};")
        rows = connection.execute(f"SELECT * FROM {name}").fetchall()
        if rows:
            values = ",\n".join(f"({', '.join(map(literal, row))})" for row in rows)
            statements.append(f"INSERT INTO {name} VALUES\n{values};")
    for _, sql in connection.execute(master, ("index",)).fetchall():
        statements.append(f"{' '.join(sql.split())};")
    connection.close()
    return "\n".join(statements) + "\n"


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main(folder):
    registry = folder / "registry"
    with tempfile.TemporaryDirectory() as temporary:
        expected = asyncio.run(write_registry(registry, Path(temporary)))
        write_json(folder / "registry.json", expected)
        write_json(folder / "serving.json", asyncio.run(write_state(registry)))
        database = Path(temporary, "experiments.db")
        write_json(folder / "experiments.json", write_database(database))
        (folder / "experiments.sql").write_text(dump(database))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
