"""Which version answers a request. Pure: no IO, no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.errors import NotServedError


@dataclass(frozen=True)
class RoutingTable:
    """The versions behind this server and the model of a request that names none."""

    default_model: str
    versions: Sequence[ModelMetadata]

    @cached_property
    def _by_reference(self) -> Mapping[tuple[str, str], ModelMetadata]:
        """Every way to name a version: (model, version) and (model, stage name)."""
        names = {stage: name for name, stage in STAGE_NAMES.items()}
        table = {(each.name, each.version): each for each in self.versions}
        table |= {
            (each.name, names[each.stage]): each for each in self.versions if each.stage in names
        }
        return MappingProxyType(table)

    def choose(self, model: str | None, reference: str | None) -> ModelMetadata:
        """Return the version that answers: the named one, by default the one in production.

        Raises:
            NotServedError: no such version is behind this server; it lists those that are.
        """
        name = self.default_model if model is None else model
        wanted = "production" if reference is None else reference
        try:
            return self._by_reference[name, wanted]
        except KeyError:
            raise NotServedError(name, wanted, self.served) from None

    @cached_property
    def served(self) -> tuple[str, ...]:
        """Every version behind this server, as `model:version`."""
        return tuple(version_key(each) for each in self.versions)


def version_key(metadata: ModelMetadata) -> str:
    """Return `model:version`, the name of a version all over the system."""
    return f"{metadata.name}:{metadata.version}"
