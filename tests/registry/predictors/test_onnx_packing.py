"""ONNX models with values in other files, packed into one file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry.errors import UnreadableArtifactError
from registry.predictors import check_self_contained, onnx_packing, pack
from testkit.models import linear_onnx
from tests.registry.predictors.onnx_tensors import PLACES, external, with_tensor

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
FILES = {"w.bin": b"####" + VALUES.tobytes(), "v.bin": VALUES.tobytes()}


def tensor(location="w.bin", offset="4", length="24", dims=(2, 3), kind=TensorProto.FLOAT):
    """Return a tensor whose values are in a file of FILES."""
    made = external(location)
    made.dims[:] = dims
    made.data_type = kind
    for key, text in {"offset": offset, "length": length}.items():
        if text is not None:
            made.external_data.add(key=key, value=text)
    return made


def packed(made, place="initializer", files=FILES):
    def read(name):
        if name not in files:
            raise FileNotFoundError(2, "No such file or directory", name)
        return memoryview(files[name])

    return pack(with_tensor(place, made), "model.onnx", read)


def of_values():
    """Return the tensor with its values in the model."""
    return TensorProto(
        name="outside", data_type=TensorProto.FLOAT, dims=[2, 3], raw_data=VALUES.tobytes()
    )


@pytest.mark.parametrize("place", PLACES)
def test_places(place):
    """A packed model is the model whose tensor had its values in the file, wherever it is."""
    content = packed(tensor(), place)
    check_self_contained(content, "model.onnx")
    expected = onnx.load_from_string(with_tensor(place, of_values()))
    assert onnx.load_from_string(content) == expected


@pytest.mark.parametrize(
    "made",
    [
        tensor("v.bin", offset=None, length=None),
        tensor("v.bin", "0", "24"),
        tensor("w.bin", "4", None),
    ],
    ids=["whole file", "whole file with its length", "to the end"],
)
def test_positions(made):
    """The offset and the length are optional."""
    values = onnx.load_from_string(packed(made)).graph.initializer[-1]
    np.testing.assert_array_equal(numpy_helper.to_array(values), VALUES)


def test_several_files():
    """Each tensor receives its own values, from several files, and others stay as they are."""
    model = onnx.load_from_string(linear_onnx())
    before = model.SerializeToString()
    for location, offset in (("v.bin", "0"), ("w.bin", "4"), ("v.bin", "0")):
        model.graph.initializer.append(tensor(location, offset))
    content = pack(model.SerializeToString(), "m", lambda name: memoryview(FILES[name]))
    result = onnx.load_from_string(content)
    for weight in result.graph.initializer[-3:]:
        np.testing.assert_array_equal(numpy_helper.to_array(weight), VALUES)
    del result.graph.initializer[-3:]
    assert result.SerializeToString() == before


def test_files_of_onnx(tmp_path):
    """What onnx writes as one file or as many is packed to what it loads from them."""
    values = {f"w{index}": np.full((2, index + 1), index, np.float32) for index in range(3)}
    graph = helper.make_graph(
        [],
        "weights",
        [],
        [helper.make_tensor_value_info("w0", TensorProto.FLOAT, [2, 1])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    for together in (True, False):
        path = tmp_path / f"{together}.onnx"
        model = helper.make_model(graph)
        onnx.save_model(
            model,
            path,
            save_as_external_data=True,
            all_tensors_to_one_file=together,
            location="w" if together else None,
            size_threshold=0,
        )
        content = pack(
            path.read_bytes(), path, lambda name: memoryview((tmp_path / name).read_bytes())
        )
        loaded = {
            weight.name: numpy_helper.to_array(weight)
            for weight in onnx.load_from_string(content).graph.initializer
        }
        assert all(np.array_equal(loaded[name], value) for name, value in values.items())


@pytest.mark.parametrize(
    "kind",
    [kind for kind in TensorProto.DataType.values() if kind not in (0, TensorProto.STRING)],
    ids=TensorProto.DataType.Name,
)
def test_types(kind):
    """The size of a tensor of every type is the one that onnx writes."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    raw = helper.make_tensor("t", kind, [3], np.ones(3).astype(dtype)).SerializeToString()
    values = TensorProto.FromString(raw)
    written = numpy_helper.from_array(numpy_helper.to_array(values), "t").raw_data
    made = tensor("t", "0", str(len(written)), dims=[3], kind=kind)
    content = packed(made, files={"t": written})
    assert onnx.load_from_string(content).graph.initializer[-1].raw_data == written


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (tensor("missing"), "'missing', which cannot be read: No such file or directory"),
        (tensor("../w.bin"), "'../w.bin', which is not a file name in the model's folder"),
        (tensor("/etc/hostname"), "'/etc/hostname', which is not a file name"),
        (tensor("a/w.bin"), "'a/w.bin', which is not a file name"),
        (tensor(".."), "'..', which is not a file name"),
        (tensor(""), "'', which is not a file name"),
        (tensor("w.bin\0"), "which is not a file name"),
        (tensor("*/_ORT_MEM_ADDR_/*"), "which is not a file name"),
        (tensor(offset="8"), "'w.bin', which has 28 bytes instead of 32 or more"),
        (tensor(length="23"), "declares 23 bytes instead of 24"),
        (tensor(length="9" * 18), "declares 999999999999999999 bytes instead of 24"),
        (tensor(length="9" * 5000), "declares 99999999999999999999 bytes instead of 24"),
        (tensor(offset="-4"), "at the offset '-4'"),
        (tensor(offset="9" * 5000), "at the offset '99999999999999999999'"),
        (tensor(offset="9" * 18), "which has 28 bytes instead of 1000000000000000023 or more"),
        (tensor(dims=[2**40, 2**40], length=None), "which has 28 bytes instead of"),
        (tensor(dims=[-1], length=None), "which has 28 bytes instead of"),
        (tensor(kind=TensorProto.STRING), "in a form that ONNX does not define"),
        (tensor(kind=99), "in a form that ONNX does not define"),
    ],
)
def test_rejected_references(made, problem):
    """A reference that cannot be packed is rejected with the reason and the remedy."""
    with pytest.raises(UnreadableArtifactError, match=r"onnx\.load\(path\)") as caught:
        packed(made)
    assert problem in caught.value.problem
    assert "onnx.save_model(model, path, save_as_external_data=False)" in caught.value.problem


def test_ambiguous_tensors():
    """A tensor that also has values, that names no file, or does not declare it, is rejected."""
    both, nameless, undeclared = tensor(), tensor(), tensor()
    both.raw_data = bytes(24)
    nameless.ClearField("external_data")
    undeclared.ClearField("data_location")
    for made in (both, nameless, undeclared):
        with pytest.raises(UnreadableArtifactError, match="in a form that ONNX does not define"):
            packed(made)


def test_too_large(monkeypatch):
    """Many tensors of the same values cannot exceed what protobuf parses."""
    monkeypatch.setattr(onnx_packing, "MAX_PACKED_BYTES", 100)
    with pytest.raises(UnreadableArtifactError, match="more than the 100 of an ONNX file"):
        packed(tensor())
