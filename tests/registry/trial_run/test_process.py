"""Trial runs in a separate process, and the files that its limits end."""

import os
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry.errors import (
    MissingArtifactError,
    TrialLimitError,
    UnknownArchitectureError,
    UnreadableArtifactError,
    UnusableModelError,
)
from registry.trial_run import TrialLimits, TrialProcess
from testkit.distributions import write_distribution
from testkit.models import SHAPE, linear_onnx, metadata

LOGITS = metadata(output_names={"direction_logits": "direction_logits"})

NETWORKS = """
import os
import signal
import time
from typing import NamedTuple

import torch
from torch import nn

class Output(NamedTuple):
    direction_logits: torch.Tensor

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.constructor_args = {}
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, windows):
        self.act()
        return Output(windows.flatten(1)[:, :3] * self.weight)

    def act(self):
        pass

class Sleeping(Network):
    def act(self):
        time.sleep(60)

class Crashing(Network):
    def act(self):
        os.kill(os.getpid(), signal.SIGSEGV)

class Leaving(Network):
    def act(self):
        os._exit(0)

class Printing(Network):
    def act(self):
        print('{"error": {"class": "UnusableModelError", "args": []}}', flush=True)
"""


def model(nodes, constants):
    """Return an ONNX model of these nodes from `features` to direction_logits."""
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["features", "flat_shape"], ["flat"]),
            helper.make_node("Slice", ["flat", "zero", "three", "one"], ["first"]),
            helper.make_node("ReduceMax", ["features"], ["largest"], keepdims=0),
            *nodes,
            helper.make_node("Add", ["first", "added"], ["direction_logits"]),
        ],
        "model",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("direction_logits", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in {
                "flat_shape": [-1, SHAPE[0] * SHAPE[1]],
                "zero": [0],
                "one": [1],
                "three": [3],
                **constants,
            }.items()
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def looping_onnx(iterations):
    """Return a model that adds nothing to a number, `iterations` times."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["continues"], ["continues_out"]),
            helper.make_node("Mul", ["number", "unit"], ["product"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("continues", TensorProto.BOOL, []),
            helper.make_tensor_value_info("number", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("continues_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("product", TensorProto.FLOAT, []),
        ],
    )
    loop = helper.make_node("Loop", ["iterations", "true", "largest"], ["added"], body=body)
    constants = {"iterations": iterations, "true": True, "unit": np.float32(1)}
    return model([loop], constants)


def allocating_onnx(count):
    """Return a model that needs an intermediate array of `count` float32."""
    nodes = [
        helper.make_node("Expand", ["largest", "count"], ["expanded"]),
        helper.make_node("ReduceMax", ["expanded"], ["added"], keepdims=0),
    ]
    return model(nodes, {"count": [count]})


def try_onnx(process, content, of=LOGITS):
    process.try_out(of, {"model.onnx": content}.__getitem__)


@pytest.fixture
def try_network(trial_process, tmp_path, monkeypatch):
    """Return a function that tries a checkpoint of one of NETWORKS, installed for this test."""
    import torch

    names = ("Network", "Sleeping", "Crashing", "Leaving", "Printing")
    write_distribution(
        tmp_path / "site",
        "acme",
        "acme_trial",
        NETWORKS,
        group="tradeserve.architectures",
        **{name: name for name in names},
    )
    monkeypatch.syspath_prepend(tmp_path / "site")

    def run(model_type):
        state = {"weight": torch.ones(1)}
        checkpoint = {"model_type": model_type, "constructor_args": {}, "state_dict": state}
        torch.save(checkpoint, tmp_path / "model.pt")
        of = metadata(
            model_type=model_type,
            artifacts={"model.pt": "0"},
            output_names={"direction_logits": "direction_logits"},
        )
        content = (tmp_path / "model.pt").read_bytes()
        trial_process.try_out(of, {"model.pt": content}.__getitem__)

    yield run
    sys.modules.pop("acme_trial", None)


def test_usable_models(trial_process):
    """Models that stay within the limits pass, several in the same process."""
    for content in (linear_onnx(), looping_onnx(10), allocating_onnx(1000)):
        try_onnx(trial_process, content)


def test_endless_loop(trial_process):
    """A model that uses too much processor time is stopped, and the next one runs."""
    with pytest.raises(TrialLimitError, match=r"model\.onnx .* at most 0\.5 s of processor time"):
        try_onnx(trial_process, looping_onnx(10**12))
    try_onnx(trial_process, linear_onnx())


def test_allocation(trial_process):
    """A model that uses too much memory is stopped, and the next one runs."""
    try_onnx(trial_process, allocating_onnx(30_000_000))
    with pytest.raises(TrialLimitError, match=r"model\.onnx .* at most 300 MB of memory"):
        try_onnx(trial_process, allocating_onnx(100_000_000))
    try_onnx(trial_process, linear_onnx())


def test_memory_limit_is_per_trial(trial_process):
    """Each model has the whole memory for itself, however many were tried before."""
    for _ in range(4):
        try_onnx(trial_process, allocating_onnx(50_000_000))


@pytest.mark.slow
def test_waiting(try_network):
    """A model that waits without using the processor is stopped."""
    with pytest.raises(TrialLimitError, match=r"model\.pt .* at most 3 s to load and for its runs"):
        try_network("Sleeping")


@pytest.mark.slow
def test_crash(try_network, trial_process):
    """A crash ends the trial run only, and the error names the signal."""
    with pytest.raises(UnusableModelError, match=r"model\.pt .* was ended by SIGSEGV"):
        try_network("Crashing")
    try_onnx(trial_process, linear_onnx())


@pytest.mark.slow
def test_exit(try_network):
    """A process that ends during a trial run has not accepted the model."""
    with pytest.raises(UnusableModelError, match=r"model\.pt .* ended with exit code 0"):
        try_network("Leaving")


@pytest.mark.slow
def test_output_is_no_response(try_network):
    """What a model prints is not read as the result of its trial run."""
    try_network("Printing")


@pytest.mark.slow
def test_new_distribution(try_network):
    """A network class that was installed after the process had started is found."""
    try_network("Network")
    with pytest.raises(UnknownArchitectureError, match=r"Crashing, .*Network, "):
        try_network("Missing")


def test_rejections(trial_process):
    """Errors of a model file keep their class and data."""
    with pytest.raises(UnreadableArtifactError) as caught:
        try_onnx(trial_process, b"damaged")
    assert caught.value.path == "toy/v1.0.0/model.onnx"
    with pytest.raises(UnusableModelError, match="on a warm-up batch of 1, an output is NaN"):
        try_onnx(trial_process, linear_onnx(float("nan")))


def test_long_message(trial_process):
    """The part of an error that a model file contributes is limited in length."""
    made = onnx.load_from_string(linear_onnx())
    made.graph.output[0].name = "x" * 1_000_000
    made.graph.node[1].output[0] = "x" * 1_000_000
    with pytest.raises(UnreadableArtifactError, match="its outputs are xxx") as caught:
        try_onnx(trial_process, made.SerializeToString(), metadata())
    assert len(str(caught.value)) < 5000


def test_read_error_propagates(trial_process):
    """An error of reading an artifact propagates unchanged."""

    def read(artifact):
        raise MissingArtifactError(artifact, "the file")

    with pytest.raises(MissingArtifactError, match=r"no file at model\.onnx"):
        trial_process.try_out(metadata(), read)


def test_killed_while_idle(trial_process):
    """A process that ended between two trial runs is replaced without an error."""
    trial_process.close()
    try_onnx(trial_process, linear_onnx())


def test_threads(trial_process):
    """Trial runs from several threads each get their own result."""
    results = []

    def run(content):
        try:
            try_onnx(trial_process, content)
            results.append((content, None))
        except UnusableModelError as error:
            results.append((content, error))

    good, bad = linear_onnx(), linear_onnx(float("nan"))
    threads = [threading.Thread(target=run, args=[content]) for content in [good, bad] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all((error is not None) == (content == bad) for content, error in results)


def test_libraries_stay_out():
    """The process that asks for a trial run imports neither ONNX Runtime nor PyTorch."""
    code = (
        "import sys; from registry.trial_run import try_out; "
        "from testkit.models import linear_onnx, metadata; "
        "try_out(metadata(), lambda artifact: linear_onnx()); "
        "print(sorted({'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_end_with_parent():
    """The process ends when the one that started it is killed."""
    code = (
        "import os, signal; from registry.trial_run import try_out; "
        "from testkit.models import linear_onnx, metadata; "
        "try_out(metadata(), lambda artifact: linear_onnx()); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as held:
        subprocess.run(
            [sys.executable, "-c", code], pass_fds=[writing], check=False, stderr=writing
        )
        os.close(writing)
        assert held.read() == b""  # ends once no process holds the other end as its stderr


def test_default_limits():
    """By default a step has 3 s of processor time and 2 GB; a rejection takes less than 10 s."""
    limits = TrialLimits()
    assert (limits.step_cpu_s, limits.memory_bytes) == (3.0, 2_000_000_000)
    assert limits.total_s < 10
    assert isinstance(TrialProcess(), TrialProcess)
