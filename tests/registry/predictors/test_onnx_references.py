"""References of ONNX models to other files, found without loading the model."""

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry.errors import UnreadableArtifactError
from registry.predictors import check_self_contained
from registry.predictors.onnx_references import TENSOR_FIELDS
from testkit.models import linear_onnx

LOCATIONS = ["weights.bin", "/etc/hostname", "../v1.0.0/model.onnx", "a/../../b", "file:///etc/x"]


def external(location, name="outside"):
    """Return a tensor that keeps its values in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def with_tensor(place, tensor):
    """Return a model with a tensor in one of the places where ONNX allows one."""
    model = onnx.load_from_string(linear_onnx())
    node = model.graph.node.add(op_type="Constant", output=["unused"])
    match place:
        case "initializer":
            model.graph.initializer.append(tensor)
        case "attribute":
            node.attribute.append(helper.make_attribute("value", tensor))
        case "attributes":
            node.attribute.append(helper.make_attribute("values", [tensor]))
        case "subgraph":
            inner = helper.make_graph([], "inner", [], [], [tensor])
            node.attribute.append(helper.make_attribute("body", inner))
        case "sparse":
            indices = numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]))
            sparse = helper.make_sparse_tensor(tensor, indices, [8])
            model.graph.sparse_initializer.append(sparse)
        case "function":
            inside = helper.make_node("Constant", [], ["value"], value=tensor)
            opset = [helper.make_opsetid("", 17)]
            model.functions.append(
                helper.make_function("own", "Outside", [], ["value"], [inside], opset)
            )
        case "training":
            training = model.training_info.add()
            training.algorithm.CopyFrom(helper.make_graph([], "training", [], [], [tensor]))
    return model.SerializeToString()


PLACES = ["initializer", "attribute", "attributes", "subgraph", "sparse", "function", "training"]


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
        "values of 'outside' are in another file; save the model with onnx.save_model(model, "
        "path, save_as_external_data=False)"
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
