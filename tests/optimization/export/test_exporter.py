"""Export to ONNX: one verified file or none."""

import onnx
import pytest
import torch
from torch import nn

from optimization.errors import ExportError, InvalidInputError, OutputFileError, ParityError
from optimization.export.exporter import INPUT_NAME, export_onnx
from optimization.export.verification import VERIFIED_BATCHES
from optimization.measurement.parity import require_parity
from optimization.networks import torch_model
from optimization.runtime import OnnxModel
from registry.architectures import OUTPUT_NAMES, HybridCNNLSTM, NetworkOutput

SHAPE = (12, 6)


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = HybridCNNLSTM(input_size=6, lstm_hidden_size=8)
    network.train()(torch.randn(16, *SHAPE))
    return network


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model.onnx"


def output_of(context):
    return NetworkOutput(
        context[:, 0, :3], torch.sigmoid(context[:, 0, 3:4]), context[:, 0, 4:5] * 0.01
    )


class Undecided(nn.Module):
    """Returns other outputs on each run."""

    def forward(self, windows):
        return output_of(windows + torch.rand(1))


class Unexportable(nn.Module):
    """Uses an operation without an ONNX operator."""

    def forward(self, windows):
        return output_of(torch.cholesky_inverse(windows @ windows.transpose(1, 2))[:, :, :6])


class OnlyForOne(nn.Module):
    """Fixes the batch size at that of its tracing."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.zeros(1))

    def forward(self, windows):
        return output_of(windows.reshape(1, *SHAPE) + self.first)


def test_parity_at_every_batch_size(network, target):
    """The file has the outputs of the network at every verified batch size."""
    export_onnx(network, target, SHAPE)
    reference, exported = torch_model(network.eval()), OnnxModel(target)
    for batch in VERIFIED_BATCHES:
        windows = torch.randn(batch, *SHAPE).numpy()
        assert require_parity(reference, exported, windows).windows == batch


def test_returned_parity(network, target):
    """The export returns the parity at the largest batch size."""
    parity = export_onnx(network, target, SHAPE)
    assert parity.windows == max(VERIFIED_BATCHES)
    assert parity.direction_agreement == 1
    assert max(parity.max_abs_difference.values()) < 1e-5


def test_names_and_dynamic_batch(network, target):
    """The export writes a single file with our names and a dynamic batch."""
    export_onnx(network, target, SHAPE)
    assert list(target.parent.iterdir()) == [target]
    graph = onnx.load(target).graph
    assert [value.name for value in graph.input] == [INPUT_NAME]
    assert tuple(value.name for value in graph.output) == OUTPUT_NAMES
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_no_source_paths(network, target):
    """The file contains no source paths."""
    export_onnx(network, target, SHAPE)
    assert b".py" not in target.read_bytes()


@pytest.mark.parametrize("opset_version", [14, 18])
def test_operator_set(network, target, opset_version):
    """The file has the requested operator set."""
    export_onnx(network, target, SHAPE, opset_version=opset_version)
    assert [(used.domain, used.version) for used in onnx.load(target).opset_import] == [
        ("", opset_version)
    ]


@pytest.mark.parametrize("training", [True, False])
def test_network_is_unchanged(network, target, training):
    """The network keeps its training modes and its weights."""
    network.train(training)
    network.lstm.train(not training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_onnx(network, target, SHAPE)
    assert (network.training, network.lstm.training) == (training, not training)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("broken", "error"),
    [(Undecided(), ParityError), (Unexportable(), ExportError), (OnlyForOne(), ExportError)],
    ids=["other outputs", "no operator", "one window only"],
)
def test_failed_export(target, broken, error):
    """A failed export leaves no file, and an existing one unchanged."""
    target.write_bytes(b"former")
    with pytest.raises(error):
        export_onnx(broken, target, SHAPE)
    assert target.read_bytes() == b"former"
    assert list(target.parent.iterdir()) == [target]


def test_network_rejects_shape(network, target):
    """The error of a network that rejects the shape is quoted."""
    with pytest.raises(ExportError, match="InputShapeError: wrong input shape"):
        export_onnx(network, target, (12, 5))


def test_missing_folder(network, tmp_path):
    """The folder of the file must exist."""
    with pytest.raises(OutputFileError, match="there is no folder"):
        export_onnx(network, tmp_path / "absent" / "model.onnx", SHAPE)


class OverTheBatch(nn.Module):
    """Mixes the windows of a batch."""

    def forward(self, windows):
        return windows.mean(0)


class Chosen(nn.Module):
    """Returns whole numbers beside its scores."""

    def forward(self, windows):
        scores = windows.mean(1)
        return {"scores": scores, "chosen": scores.argmax(1)}


def test_output_without_batch(target):
    """The error for an output without the batch names it."""
    with pytest.raises(ExportError, match=r"for a batch of 3 output has the shape \(12, 6\)"):
        export_onnx(OverTheBatch(), target, SHAPE)


def test_integer_outputs(target):
    """Outputs may be whole numbers."""
    export_onnx(Chosen(), target, SHAPE)
    windows = torch.randn(5, *SHAPE)
    exported = OnnxModel(target, is_exported=True)
    assert exported(windows.numpy())["chosen"].tolist() == windows.mean(1).argmax(1).tolist()


class OneIsSpecial(nn.Module):
    """Has a special case for a single window, with the same outputs."""

    def forward(self, windows):
        means = windows.mean(1)
        return means[:1] if windows.shape[0] == 1 else means


def test_branch_on_batch_size(target):
    """A network with a special case for a batch of one is traced with two windows."""
    export_onnx(OneIsSpecial(), target, SHAPE)
    assert OnnxModel(target)(torch.zeros(4, *SHAPE).numpy())["output"].shape == (4, 6)


class ThreeByChance(nn.Module):
    """Returns the covariance of three features, which looks like three windows."""

    def forward(self, windows):
        return windows[:, 0, :3].T @ windows[:, 0, :3]


class Squeezed(nn.Module):
    def forward(self, windows):
        return windows.mean((1, 2), keepdim=True).squeeze()


@pytest.mark.parametrize(("network", "batch"), [(ThreeByChance(), 5), (Squeezed(), 1)])
def test_batch_is_first_dimension(network, batch, target):
    """The first dimension is checked at several batch sizes."""
    with pytest.raises(ExportError, match=f"for a batch of {batch} output has the shape"):
        export_onnx(network, target, SHAPE)


class Twice(nn.Module):
    def forward(self, windows):
        means = windows.mean(1)
        return {"a_b": means, "a": {"b": means + 1}}


def test_duplicate_output_names(target):
    """Two outputs with the same name are an error."""
    with pytest.raises(ExportError, match="two outputs of the network have the name a_b"):
        export_onnx(Twice(), target, SHAPE)


@pytest.mark.parametrize(
    ("network", "problem"),
    [(None, "received None"), (nn.Sequential(nn.LazyLinear(3)), r"0\.weight, 0\.bias without")],
)
def test_not_a_network(network, problem, target):
    """The argument must be a network whose weights exist."""
    with pytest.raises(InvalidInputError, match=f"model: expected .*{problem}"):
        export_onnx(network, target, SHAPE)
