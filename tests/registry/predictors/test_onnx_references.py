"""References of ONNX models to other files, found without loading the model."""

import onnx
import pytest
from onnx import TensorProto, helper

from registry.errors import UnreadableArtifactError
from registry.predictors import check_self_contained
from registry.predictors.onnx_references import TENSOR_FIELDS
from testkit.models import linear_onnx
from tests.registry.predictors.onnx_tensors import PLACES, external, with_tensor

LOCATIONS = ["weights.bin", "/etc/hostname", "../v1.0.0/model.onnx", "a/../../b", "file:///etc/x"]


def test_self_contained_model():
    """A model with all its weights in the file is accepted."""
    check_self_contained(linear_onnx(), "model.onnx")


@pytest.mark.parametrize("place", PLACES)
def test_word_alone_is_no_reference(place):
    """A tensor with its values in the file is accepted, even if it is named `location`."""
    tensor = helper.make_tensor("location", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.DEFAULT
    check_self_contained(with_tensor(place, tensor), "model.onnx")


@pytest.mark.parametrize("location", LOCATIONS)
def test_locations(location):
    """Every reference is rejected, whether or not it leads out of the folder."""
    with pytest.raises(UnreadableArtifactError) as caught:
        check_self_contained(with_tensor("initializer", external(location)), "m/v1.0.0/model.onnx")
    assert str(caught.value) == (
        "cannot load m/v1.0.0/model.onnx as an ONNX model, all its weights in the one file: the "
        "values of 'outside' are in another file; load the model beside that file with model = "
        "onnx.load(path), and save it with onnx.save_model(model, path, "
        "save_as_external_data=False)"
    )


@pytest.mark.parametrize("place", PLACES)
def test_places(place):
    """A reference is found wherever ONNX allows a tensor."""
    with pytest.raises(UnreadableArtifactError, match="'outside' are in another file"):
        check_self_contained(with_tensor(place, external("/etc/hostname")), "model.onnx")


def test_marker_alone():
    """A tensor that only has a location, or only declares that it is external, is rejected."""
    located, declared = external("x"), external("x", "location")
    located.ClearField("data_location")
    declared.ClearField("external_data")
    for tensor in (located, declared):
        with pytest.raises(UnreadableArtifactError, match="are in another file"):
            check_self_contained(with_tensor("initializer", tensor), "model.onnx")


def test_damaged_structure():
    """A model with a reference is not accepted because its structure is damaged."""
    content = with_tensor("subgraph", external("/etc/hostname"))
    for end in range(len(content) - 1, 0, -7):
        if b"location" in content[:end]:
            with pytest.raises(UnreadableArtifactError, match=r"damaged|in another file"):
                check_self_contained(content[:end], "model.onnx")


def test_nesting():
    """Nesting deeper than protobuf accepts is rejected without recursion."""
    content = external("x").SerializeToString()
    for _ in range(300):
        graph = b"\x2a" + varint(len(content)) + content if content[0] != 0x0A else content
        attribute = b"\x32" + varint(len(graph)) + graph
        node = b"\x2a" + varint(len(attribute)) + attribute
        content = b"\x0a" + varint(len(node)) + node
    with pytest.raises(UnreadableArtifactError, match="nested over 100 deep"):
        check_self_contained(b"\x3a" + varint(len(content)) + content, "model.onnx")


def varint(number):
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def test_fields_are_those_of_onnx():
    """The fields that are followed are all those of the installed onnx that lead to a tensor."""
    fields = {}

    def add(message):
        if message.name not in fields:
            fields[message.name] = {}
            for field in message.fields:
                if field.message_type:
                    fields[message.name][field.number] = field.message_type.name
                    add(field.message_type)

    add(onnx.ModelProto.DESCRIPTOR)
    leading = {"TensorProto"}
    while (
        more := {name for name, children in fields.items() if leading & {*children.values()}}
        - leading
    ):
        leading |= more
    expected = {
        name: {number: child for number, child in children.items() if child in leading}
        for name, children in fields.items()
        if name in leading
    }
    assert {name: dict(children) for name, children in TENSOR_FIELDS.items()} == expected
