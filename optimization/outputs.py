"""Names of a network's outputs, in whatever structure it returns them."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from registry.architectures import OUTPUT_NAMES

OWN_WIDTHS = (3, 1, 1)
"""The widths of the outputs in a bare tuple: logits, confidence, expected return."""


def name_outputs(value: object) -> dict[str, Tensor]:
    """Return a network's output tensors by name.

    The keys of a mapping and the fields of a NamedTuple, a dataclass or any object with
    OUTPUT_NAMES are the names. A bare tuple of three tensors with OWN_WIDTHS is named OUTPUT_NAMES,
    any other `output_0`, `output_1`, and a single tensor `output`. A nested tensor is named after
    its path, such as `heads_direction`; None is omitted.

    Raises:
        TypeError: a value is not a tensor, there is no tensor, or two have the same name.

    >>> from torch import zeros
    >>> list(name_outputs((zeros(1, 3), zeros(1, 1), zeros(1, 1))))
    ['direction_logits', 'confidence', 'expected_return']
    >>> list(name_outputs({"heads": {"direction": zeros(1, 3)}, "unused": None}))
    ['heads_direction']
    """
    walked = list(_walk(value, ""))
    found = dict(walked)
    if len(found) < len(walked):
        names = [name for name, _ in walked]
        twice = next(name for name in names if names.count(name) > 1)
        raise TypeError(f"two outputs of the network have the name {twice}; rename one of them")
    if not found:
        raise TypeError(f"expected tensors from the network, received {type(value).__name__}")
    if type(value) in (tuple, list) and _has_own_widths(value):
        return dict(zip(OUTPUT_NAMES, found.values(), strict=True))
    return found


class NamedOutputs(nn.Module):
    """A network that returns a tuple of its tensors in the order of `names`."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Run the network and return its tensors."""
        outputs = name_outputs(self.network(windows))
        return tuple(outputs[name] for name in self.names)


def _walk(value: object, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path or "output", value
        return
    if value is None:
        return
    for key, part in _parts(value).items():
        named = str(key) if not path else f"{path}_{key}"
        yield from _walk(part, f"output_{named}" if named[:1].isdigit() else named)


def _parts(value: object) -> Mapping[Any, object]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        named: Mapping[Any, object] = value._asdict()
        return named
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if all(hasattr(value, name) for name in OUTPUT_NAMES):
        return {name: getattr(value, name) for name in OUTPUT_NAMES}
    raise TypeError(f"expected tensors from the network, received {type(value).__name__}")


def _has_own_widths(values: Any) -> bool:  # noqa: ANN401 - a tuple or a list of anything
    return [
        value.shape[1] if isinstance(value, Tensor) and value.ndim == 2 else None
        for value in values
    ] == list(OWN_WIDTHS)
