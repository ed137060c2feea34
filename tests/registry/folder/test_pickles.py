"""A file that would run code when loaded is rejected without being unpickled."""

import os
import pickle

import pytest
import torch

from registry.architectures import HybridCNNLSTM, save_checkpoint
from registry.errors import UnreadableArtifactError
from registry.folder.pickles import check_no_code


class Exploit:
    def __reduce__(self):
        return os.system, ("touch exploited",)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "exploited").exists()


def test_checkpoint_is_accepted(tmp_path):
    """A checkpoint of save_checkpoint is accepted."""
    save_checkpoint(HybridCNNLSTM(lstm_hidden_size=8), tmp_path / "model.pt")
    check_no_code(tmp_path / "model.pt")


def test_state_dict_is_accepted(tmp_path):
    """A plain state dict of any dtype is accepted."""
    tensors = {
        str(dtype): torch.zeros(2, dtype=dtype)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.int8, torch.bool)
    }
    torch.save({"state_dict": tensors, "epoch": 3, "shape": torch.Size([1])}, tmp_path / "model.pt")
    check_no_code(tmp_path / "model.pt")


def test_pickled_module_is_rejected(tmp_path):
    """A pickled module is rejected, and the error names its class."""
    torch.save(HybridCNNLSTM(lstm_hidden_size=8), tmp_path / "model.pt")
    with pytest.raises(UnreadableArtifactError, match=r"would call .*HybridCNNLSTM"):
        check_no_code(tmp_path / "model.pt")


@pytest.mark.parametrize("protocol", range(6))
def test_bare_pickle_is_rejected(tmp_path, protocol):
    """A bare pickle that runs code is rejected, in every protocol."""
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"weights": Exploit()}, protocol))
    with pytest.raises(UnreadableArtifactError, match=r"would call (posix|os|nt)\.system"):
        check_no_code(tmp_path / "model.pt")


def test_code_in_torch_format_is_rejected(tmp_path):
    """Code inside torch's own format is rejected."""
    torch.save({"state_dict": Exploit()}, tmp_path / "model.pt")
    with pytest.raises(UnreadableArtifactError, match=r"would call posix\.system"):
        check_no_code(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x80", b"\x80\x04\x95", b"PK\x03\x04"])
def test_other_files_are_accepted(tmp_path, content):
    """Files that are not pickles are accepted."""
    (tmp_path / "model.onnx").write_bytes(content)
    check_no_code(tmp_path / "model.onnx")
