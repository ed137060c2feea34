"""Models with a tensor in any of the places where ONNX allows one."""

import onnx
from onnx import TensorProto, helper, numpy_helper

from testkit.models import linear_onnx


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
