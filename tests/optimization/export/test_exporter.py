"""Export to ONNX: one proven file or nothing."""

import onnx
import pytest
import torch
from torch import nn

from optimization.errors import ExportError, InvalidInputError, OutputFileError, ParityError
from optimization.export.exporter import INPUT_NAME, export_onnx
from optimization.export.verification import PROOF_BATCHES, value_reads
from optimization.measurement.parity import require_parity, torch_model
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
    """Gives something else each time."""

    def forward(self, windows):
        return output_of(windows + torch.rand(1))


class Unexportable(nn.Module):
    """Does what no ONNX operator does."""

    def forward(self, windows):
        return output_of(torch.cholesky_inverse(windows @ windows.transpose(1, 2))[:, :, :6])


class OnlyForOne(nn.Module):
    """Holds the batch of its tracing for ever."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.zeros(1))

    def forward(self, windows):
        return output_of(windows.reshape(1, *SHAPE) + self.first)


def test_the_file_gives_what_the_network_gives_at_every_batch(network, target):
    export_onnx(network, target, SHAPE)
    reference, exported = torch_model(network.eval()), OnnxModel(target)
    for batch in PROOF_BATCHES:
        windows = torch.randn(batch, *SHAPE).numpy()
        assert require_parity(reference, exported, windows).windows == batch


def test_the_evidence_is_returned(network, target):
    parity = export_onnx(network, target, SHAPE)
    assert parity.windows == max(PROOF_BATCHES)
    assert parity.direction_agreement == 1
    assert max(parity.max_abs_difference.values()) < 1e-5


def test_one_file_appears_with_names_and_a_dynamic_batch(network, target):
    export_onnx(network, target, SHAPE)
    assert list(target.parent.iterdir()) == [target]
    graph = onnx.load(target).graph
    assert [value.name for value in graph.input] == [INPUT_NAME]
    assert tuple(value.name for value in graph.output) == OUTPUT_NAMES
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_file_says_nothing_of_where_it_was_made(network, target):
    export_onnx(network, target, SHAPE)
    assert b".py" not in target.read_bytes()


@pytest.mark.parametrize("opset_version", [14, 18])
def test_the_operator_set_is_the_one_asked_for(network, target, opset_version):
    export_onnx(network, target, SHAPE, opset_version=opset_version)
    assert [(each.domain, each.version) for each in onnx.load(target).opset_import] == [
        ("", opset_version)
    ]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(network, target, training):
    network.train(training)
    network.lstm.train(not training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_onnx(network, target, SHAPE)
    assert (network.training, network.lstm.training) == (training, not training)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("broken", "error"),
    [(Undecided(), ParityError), (Unexportable(), ExportError), (OnlyForOne(), ExportError)],
    ids=["gives something else", "cannot be exported", "takes only one window"],
)
def test_a_failed_export_leaves_nothing_and_the_former_file(target, broken, error):
    target.write_bytes(b"former")
    with pytest.raises(error):
        export_onnx(broken, target, SHAPE)
    assert target.read_bytes() == b"former"
    assert list(target.parent.iterdir()) == [target]


def test_a_network_that_refuses_the_shape_is_an_export_error(network, target):
    with pytest.raises(ExportError, match="InputShapeError: wrong input shape"):
        export_onnx(network, target, (12, 5))


def test_a_missing_folder_is_an_error(network, tmp_path):
    with pytest.raises(OutputFileError, match="there is no folder"):
        export_onnx(network, tmp_path / "absent" / "model.onnx", SHAPE)


class OverTheBatch(nn.Module):
    """Mixes the windows of a batch."""

    def forward(self, windows):
        return windows.mean(0)


class Chosen(nn.Module):
    """Gives whole numbers beside its scores."""

    def forward(self, windows):
        scores = windows.mean(1)
        return {"scores": scores, "chosen": scores.argmax(1)}


def test_an_output_without_the_batch_first_is_refused_by_name(target):
    with pytest.raises(ExportError, match=r"for a batch of 3 output has the shape \(12, 6\)"):
        export_onnx(OverTheBatch(), target, SHAPE)


def test_whole_numbers_are_outputs_too(target):
    export_onnx(Chosen(), target, SHAPE)
    windows = torch.randn(5, *SHAPE)
    assert OnnxModel(target)(windows.numpy())["chosen"].tolist() == (
        windows.mean(1).argmax(1).tolist()
    )


class OneIsSpecial(nn.Module):
    """Takes another way for a lone window, where it gives the same."""

    def forward(self, windows):
        means = windows.mean(1)
        return means[:1] if windows.shape[0] == 1 else means


def test_a_network_that_treats_a_lone_window_otherwise_is_traced_with_two(target):
    export_onnx(OneIsSpecial(), target, SHAPE)
    assert OnnxModel(target)(torch.zeros(4, *SHAPE).numpy())["output"].shape == (4, 6)


class Clipped(nn.Module):
    """Decides by the size of its input."""

    def forward(self, windows):
        if windows.abs().max() > 100:
            windows = windows / 100
        return windows.mean(1)


class Guarded(nn.Module):
    """Looks at its input, and gives the same whatever it sees; looks at its weights too."""

    def __init__(self):
        super().__init__()
        self.is_on = nn.Parameter(torch.ones(1))

    def forward(self, windows):
        if self.is_on > 0 and windows.shape[0] < 100 and windows.isnan().any():
            raise ValueError("NaN")
        return windows.mean(1)


def test_a_branch_on_the_size_of_a_feature_is_refused(target):
    with pytest.raises(ParityError, match=r"noise of 1000 times .* use torch\.where"):
        export_onnx(Clipped(), target, SHAPE)
    assert not target.exists()


def test_reading_values_of_the_input_is_told_and_sizes_and_weights_are_not(target, caplog):
    export_onnx(Guarded(), target, SHAPE)
    (record,) = caplog.records
    assert "reads values of its input at test_export.py:" in record.getMessage()
    assert len(value_reads(Guarded(), torch.randn(2, *SHAPE))) == 1
    caplog.clear()
    export_onnx(OneIsSpecial(), target, SHAPE)
    assert not caplog.records


class ThreeByChance(nn.Module):
    """Gives the covariance of features; three of them look like three windows."""

    def forward(self, windows):
        return windows[:, 0, :3].T @ windows[:, 0, :3]


class Squeezed(nn.Module):
    def forward(self, windows):
        return windows.mean((1, 2), keepdim=True).squeeze()


@pytest.mark.parametrize(("network", "batch"), [(ThreeByChance(), 5), (Squeezed(), 1)])
def test_the_batch_is_first_whatever_its_size(network, batch, target):
    with pytest.raises(ExportError, match=f"for a batch of {batch} output has the shape"):
        export_onnx(network, target, SHAPE)


class Twice(nn.Module):
    def forward(self, windows):
        means = windows.mean(1)
        return {"a_b": means, "a": {"b": means + 1}}


def test_two_outputs_of_one_name_are_refused(target):
    with pytest.raises(ExportError, match="two outputs of the network get the name a_b"):
        export_onnx(Twice(), target, SHAPE)


@pytest.mark.parametrize(
    ("network", "problem"),
    [(None, "received None"), (nn.Sequential(nn.LazyLinear(3)), r"0\.weight, 0\.bias without")],
)
def test_what_is_no_network_with_weights_is_refused(network, problem, target):
    with pytest.raises(InvalidInputError, match=f"model: expected .*{problem}"):
        export_onnx(network, target, SHAPE)
