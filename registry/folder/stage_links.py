"""The links that determine which version is in Production and which in Staging."""

import logging
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from registry.errors import InvalidMetadataError
from registry.folder import atomic_io
from registry.folder.link_remains import link_text, read_link_text, version_of_remains
from registry.layout import STAGE_LINKS, Layout, is_version
from registry.reading import reading
from registry.records import ModelMetadata, ModelStage

logger = logging.getLogger(__name__)

Holders = Mapping[ModelStage, str]
"""The version in each stage; stages without a version are left out."""


class StageLinks:
    """The stage links of all models in a folder; they take precedence over the metadata."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def target(self, name: str, stage: ModelStage) -> str | None:
        """Return the version that the stage's link leads to, None if there is no link.

        Raises:
            InvalidMetadataError: something else is in the link's place, or the link leads out of
                the model.
        """
        link = self._layout.stage_link(name, stage)
        try:
            with reading(link):
                target = _read(link)
        except FileNotFoundError:
            return None
        if target is None:
            problem = (
                f"expected a link to a version's folder, found a file or folder; run `modelctl "
                f"repair {name}`, which restores the link if it loses nothing"
            )
            raise InvalidMetadataError(f"{name}/{link.name}", problem)
        version = target.removeprefix("v")
        if target != f"v{version}" or not is_version(version):
            problem = f"the link leads to {target}; set the stage again or restore it"
            raise InvalidMetadataError(f"{name}/{link.name}", problem)
        return version

    def targets(self, name: str) -> Holders:
        """Return the version that each stage's link leads to; an invalid link is logged."""
        found = {}
        for stage in STAGE_LINKS:
            try:
                version = self.target(name, stage)
            except InvalidMetadataError as error:
                logger.warning("stage link ignored, no version is in %s: %s", stage, error)
            else:
                if version is not None:
                    found[stage] = version
        return found

    def holders(self, name: str) -> Holders:
        """Return the version in each stage.

        A version in Production is in no other stage: a promotion from Staging moves the production
        link first and removes the staging link next.
        """
        found = dict(self.targets(name))
        if found.get(ModelStage.STAGING) == found.get(ModelStage.PRODUCTION):
            found.pop(ModelStage.STAGING, None)
        return found

    def point(self, name: str, stage: ModelStage, version: str) -> None:
        """Make the stage's link lead to the version.

        A copy of a version or of a link's text is replaced.

        Raises:
            InvalidMetadataError: something else is in the link's place, which would be lost.
        """
        link = self._layout.stage_link(name, stage)
        folder = self._layout.version(name, version).name
        copied = self._removable_copy(name, stage)
        if copied is not None:
            # Under the name of a deletion, which the next repair completes if this process dies.
            aside = self._layout.deleted(name, copied)
            link.rename(aside)
        atomic_io.point_link(link, folder, link_text(folder))
        if copied is not None:
            shutil.rmtree(aside)

    def remove(self, name: str, stage: ModelStage) -> None:
        """Remove the stage's link."""
        atomic_io.remove_link(self._layout.stage_link(name, stage))

    def _removable_copy(self, name: str, stage: ModelStage) -> str | None:
        """Return the version whose copy is a folder in the link's place, None without a folder.

        Raises:
            InvalidMetadataError: there is something that is no copy.
        """
        link = self._layout.stage_link(name, stage)
        try:
            mode = link.lstat().st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(mode):
            return None
        version = version_of_remains(self._layout, name, stage)
        if version is None:
            problem = (
                "expected a link to a version's folder, found a file or folder that is no copy of "
                "a version; move it out of the registry, then set the stage again"
            )
            raise InvalidMetadataError(f"{name}/{link.name}", problem)
        return version if stat.S_ISDIR(mode) else None


def _read(link: Path) -> str | None:
    """Return the folder that a link leads to; None if there is something else in its place."""
    mode = link.lstat().st_mode
    if stat.S_ISLNK(mode):
        return str(link.readlink())
    return read_link_text(link) if stat.S_ISREG(mode) else None


def stage_of(metadata: ModelMetadata, holders: Holders) -> ModelStage:
    """Return a version's stage: the links decide, the metadata distinguishes Archived from None."""
    for stage, version in holders.items():
        if version == metadata.version:
            return stage
    return stage_after(metadata.stage) if metadata.stage in STAGE_LINKS else metadata.stage


def stage_after(lost: ModelStage) -> ModelStage:
    """Return the stage of a version after another version has taken its stage `lost`."""
    return ModelStage.ARCHIVED if lost is ModelStage.PRODUCTION else ModelStage.NONE
