"""Which network class a model type means: built in, or the user's own by entry point.

A distribution offers its networks in its pyproject.toml:

    [project.entry-points."tradeserve.architectures"]
    TinyNet = "acme.networks:TinyNet"

Only a class that its installed distribution offers is ever imported; a model's files name one of
them and cannot bring their own.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from torch import nn

from registry.architectures.hybrid_cnn_lstm import HybridCNNLSTM
from registry.architectures.order_book_transformer import OrderBookTransformer
from registry.architectures.temporal_convolution import TemporalConvNet
from registry.errors import (
    AmbiguousArchitectureError,
    BrokenArchitectureError,
    UnknownArchitectureError,
)

ENTRY_POINT_GROUP = "tradeserve.architectures"

ARCHITECTURES: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        "HybridCNNLSTM": HybridCNNLSTM,
        "OrderBookTransformer": OrderBookTransformer,
        "TemporalConvNet": TemporalConvNet,
    }
)
"""The built-in network classes by model type."""


def find_architecture(model_type: str) -> type[nn.Module]:
    """Return the network class of a model type.

    Raises:
        UnknownArchitectureError: neither built in nor offered by an installed distribution.
        AmbiguousArchitectureError: offered more than once, or built in as well.
        BrokenArchitectureError: it cannot be imported, or is no subclass of torch.nn.Module.
    """
    offered = entry_points(group=ENTRY_POINT_GROUP)
    found = [each for each in offered if each.name == model_type]
    built_in = ARCHITECTURES.get(model_type)
    if len(found) + (built_in is not None) > 1:
        ours = [f"the built-in {built_in.__module__}:{built_in.__name__}"] if built_in else []
        raise AmbiguousArchitectureError(model_type, [*ours, *map(_source, found)])
    if built_in is not None:
        return built_in
    if not found:
        raise UnknownArchitectureError(model_type, sorted({*ARCHITECTURES, *offered.names}))
    return _load(found[0])


def _load(entry: EntryPoint) -> type[nn.Module]:
    try:
        loaded = entry.load()
    # Importing runs the user's code, which may raise anything.
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise BrokenArchitectureError(entry.name, _source(entry), problem) from error
    if not isinstance(loaded, type) or not issubclass(loaded, nn.Module):
        problem = f"expected a subclass of torch.nn.Module, received {loaded!r}"
        raise BrokenArchitectureError(entry.name, _source(entry), problem)
    return loaded


def _source(entry: EntryPoint) -> str:
    distribution = entry.dist
    if distribution is None:
        return entry.value
    return f"{entry.value} of the distribution {distribution.name} {distribution.version}"
