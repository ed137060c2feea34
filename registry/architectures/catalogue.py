"""The network class of each model type: built in, or provided by an entry point.

A distribution declares its networks in its pyproject.toml:

    [project.entry-points."tradeserve.architectures"]
    TinyNet = "acme.networks:TinyNet"

Only classes that an installed distribution declares are imported: a model's files name one of
them and cannot contain their own.
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
        UnknownArchitectureError: it is neither built in nor declared by an installed distribution.
        AmbiguousArchitectureError: it is declared more than once, or also built in.
        BrokenArchitectureError: it cannot be imported or is not a subclass of torch.nn.Module.
    """
    declared = entry_points(group=ENTRY_POINT_GROUP)
    found = [entry for entry in declared if entry.name == model_type]
    built_in = ARCHITECTURES.get(model_type)
    if len(found) + (built_in is not None) > 1:
        sources = [f"the built-in {built_in.__module__}:{built_in.__name__}"] if built_in else []
        raise AmbiguousArchitectureError(model_type, [*sources, *map(_source, found)])
    if built_in is not None:
        return built_in
    if not found:
        raise UnknownArchitectureError(model_type, sorted({*ARCHITECTURES, *declared.names}))
    return _load(found[0])


def _load(entry: EntryPoint) -> type[nn.Module]:
    try:
        loaded = entry.load()
    # The import runs the distribution's code, which may raise any error.
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
