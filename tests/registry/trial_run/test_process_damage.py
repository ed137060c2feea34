"""Randomly damaged model files: each is rejected with an error of the registry, or still usable."""

import random

import pytest
import torch

from registry.architectures import HybridCNNLSTM, save_checkpoint
from registry.errors import RegistryError
from registry.folder.source_files import checked_sources
from testkit.models import linear_onnx, metadata

CASES = [pytest.param(200, id="200"), pytest.param(5000, id="5000", marks=pytest.mark.nightly)]
CHECKPOINT = {
    "model_type": "HybridCNNLSTM",
    "artifacts": {"model.pt": "0"},
    "input_shape": (4, 2),
}


def damage(content: bytes, seed: int) -> bytes:
    """Return the content after one to three random changes."""
    chance = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(damaged))
        end = min(start + chance.choice([1, 2, 8, 64, 512]), len(damaged))
        match chance.choice(["flip", "bytes", "zeros", "cut", "repeat", "truncate"]):
            case "flip":
                damaged[start] ^= 1 << chance.randrange(8)
            case "bytes":
                damaged[start:end] = chance.randbytes(end - start)
            case "zeros":
                damaged[start:end] = bytes(end - start)
            case "cut":
                del damaged[start:end]
            case "repeat":
                damaged[end:end] = damaged[start:end]
            case "truncate":
                del damaged[max(start, 1) :]
        damaged = damaged or bytearray(b"\0")
    return bytes(damaged)


def offer(trial_process, of, content, folder):
    """Return the error with which a file is rejected, None if it is accepted."""
    (artifact,) = of.artifacts
    source = folder / artifact
    source.write_bytes(content)
    try:
        with checked_sources({artifact: source}, "register"):
            pass
        trial_process.try_out(of, {artifact: content}.__getitem__)
    except RegistryError as error:
        return error
    return None


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("kind", ["onnx", pytest.param("checkpoint", marks=pytest.mark.slow)])
def test_damaged_files(trial_process, tmp_path, kind, cases):
    """Registration and trial run raise nothing but a RegistryError that names the file."""
    if kind == "onnx":
        of, intact = metadata(), linear_onnx()
    else:
        torch.manual_seed(0)
        network = HybridCNNLSTM(input_size=2, lstm_hidden_size=4, lstm_layers=1)
        save_checkpoint(network, tmp_path / "intact.pt")
        of, intact = metadata(**CHECKPOINT), (tmp_path / "intact.pt").read_bytes()
    assert offer(trial_process, of, intact, tmp_path) is None
    rejected = 0
    for seed in range(cases):
        error = offer(trial_process, of, damage(intact, seed), tmp_path)
        if error is not None:
            rejected += 1
            assert next(iter(of.artifacts)) in str(error), seed
    assert rejected > cases / 2
