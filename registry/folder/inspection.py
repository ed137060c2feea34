"""Looks for what should not be in a registry's folder, and mends what is safe to mend."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.errors import InvalidMetadataError, RegistryError
from registry.folder import atomic_io
from registry.folder.writer import RegistryWriter
from registry.layout import DELETED, EXPERIMENTS, INCOMING, METADATA, SERVING, STAGE_LINKS
from registry.records import Finding, ModelInfo, ModelStage

_OURS = {".lock", "history.jsonl", *STAGE_LINKS.values()}
_UNFINISHED = re.compile(r"\.(history\.jsonl|\.intent\.json|production|staging)-[0-9a-f]{32}")
_UNFINISHED_IN_VERSION = re.compile(r"\.metadata\.json-[0-9a-f]{32}|\.added-[0-9a-f]{32}")
_DEPRECATED = "metrics.json"


@dataclass(frozen=True, slots=True)
class _Problem:
    """A finding and, where it is safe, what mends it."""

    finding: Finding
    mend: Callable[[], object] | None


def verify(registry: RegistryWriter, name: str | None = None) -> list[Finding]:
    """Return what is missing, changed or left over; of one model, or of all.

    Every artifact is read and held against its sha256. Writers of a model wait while it is looked
    at, so that their work in progress is not taken for what a dead one left.
    """
    return [problem.finding for problem in _problems(registry, name, mend=False)]


def repair(registry: RegistryWriter, name: str | None = None) -> list[Finding]:
    """Mend what loses nothing: leftovers, interrupted changes, stale stages; return what was."""
    return [problem.finding for problem in _problems(registry, name, mend=True) if problem.mend]


def _problems(registry: RegistryWriter, name: str | None, mend: bool) -> list[_Problem]:
    found = [] if name else list(_strangers(registry))
    for each in [name] if name else registry.layout.models():
        with registry.lock(each):
            # A dead writer's change comes first: finishing it mends what would be found after it.
            for look in (_of_intent, _of_model):
                problems = list(look(registry, each))
                for problem in problems:
                    if mend and problem.mend:
                        problem.mend()
                found += problems
    return found


def _strangers(registry: RegistryWriter) -> Iterator[_Problem]:
    models = set(registry.layout.models())
    root = registry.layout.root
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.name not in models and not path.name.startswith((SERVING, EXPERIMENTS)):
            yield _problem(registry, path, "no model's folder", "move it out of the registry")


def _of_intent(registry: RegistryWriter, name: str) -> Iterator[_Problem]:
    path = registry.layout.intent(name)
    try:
        intent = registry.journal(name).intent()
    except RegistryError as error:
        yield _problem(registry, path, str(error), "remove it; the links tell what is so")
        return
    if intent:
        problem = "a change whose writer died"
        remedy = "repair finishes or drops it, as does the next change"
        yield _problem(registry, path, problem, remedy, lambda: registry.finish_interrupted(name))


def _of_model(registry: RegistryWriter, name: str) -> Iterator[_Problem]:
    folder = registry.layout.model(name)
    versions = registry.layout.versions(name)
    intent = registry.layout.intent(name).name
    known = {f"v{version}" for version in versions} | _OURS | {intent}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            yield _leftover(registry, path)
    for version in versions:
        yield from _of_version(registry, name, version)
    for stage in STAGE_LINKS:
        yield from _of_link(registry, name, stage, versions)
    yield from _of_history(registry, name, versions)


def _leftover(registry: RegistryWriter, path: Path) -> _Problem:
    remedy = "repair removes it"
    if path.is_dir() and not path.is_symlink():
        if path.name.startswith(INCOMING):
            problem = "a registration that was interrupted; it is not part of the registry"
            return _problem(registry, path, problem, remedy, lambda: shutil.rmtree(path))
        if path.name.startswith(DELETED):
            problem = "a deletion that was interrupted; the version is gone already"
            return _problem(registry, path, problem, remedy, lambda: shutil.rmtree(path))
    if _UNFINISHED.fullmatch(path.name):
        problem = "a write that was interrupted before it counted"
        return _problem(registry, path, problem, remedy, path.unlink)
    return _problem(registry, path, "nothing of the registry's", "move it out of the registry")


def _of_version(registry: RegistryWriter, name: str, version: str) -> Iterator[_Problem]:
    folder = registry.layout.version(name, version)
    try:
        info = registry.get(name, version)
    except RegistryError as error:
        remedy = "restore the file from a backup, or delete the version's folder"
        yield _problem(registry, folder / METADATA, str(error), remedy)
        return
    for artifact in info.metadata.artifacts:
        try:
            registry.read_artifact(name, version, artifact)
        except RegistryError as error:
            remedy = "restore the file from a backup, or register a new version"
            yield _problem(registry, folder / artifact, str(error), remedy)
    for path in sorted(folder.iterdir()):
        if _UNFINISHED_IN_VERSION.fullmatch(path.name):
            problem = "a write that was interrupted before it counted"
            yield _problem(registry, path, problem, "repair removes it", path.unlink)
        elif path.name not in {METADATA, _DEPRECATED, *info.metadata.artifacts}:
            problem = "no artifact of the version, so nothing that could be checked"
            yield _problem(registry, path, problem, "move it out of the registry")
    yield from _of_recorded_stage(registry, info)


def _of_recorded_stage(registry: RegistryWriter, info: ModelInfo) -> Iterator[_Problem]:
    name, version = info.metadata.name, info.metadata.version
    recorded = registry.recorded_stage(name, version)
    if recorded is not info.metadata.stage and version != registry.lost_production(name):
        yield _problem(
            registry,
            info.path / METADATA,
            f"it says {recorded}, but by the stage links the version is {info.metadata.stage}",
            "repair writes what the links say",
            lambda: registry.record_stage(name, version, info.metadata.stage),
        )


def _of_link(
    registry: RegistryWriter, name: str, stage: ModelStage, versions: list[str]
) -> Iterator[_Problem]:
    link = registry.layout.stage_link(name, stage)
    told = registry.lost_production(name) if stage is ModelStage.PRODUCTION else None
    if told is not None and (link.is_symlink() or not link.exists()):
        problem = (
            f"by the history version {told} is in production, but the link does not lead there"
        )
        mend = lambda: atomic_io.point_link(link, registry.layout.version(name, told).name)  # noqa: E731
        yield _problem(registry, link, problem, "repair sets the link anew", mend)
        return
    try:
        holder = registry.holder(name, stage)
    except InvalidMetadataError as error:
        yield _problem(registry, link, error.problem, "remove it, then set the stage anew")
        return
    if stage is ModelStage.STAGING and holder and stage not in registry.holders(name):
        problem = f"it leads to version {holder}, which is in production"
    elif holder is None or holder in versions:
        return
    else:
        problem = f"it leads to version {holder}, which is not there"
    if stage is ModelStage.STAGING:
        mend = lambda: atomic_io.remove_link(link)  # noqa: E731
        yield _problem(registry, link, problem, "repair removes it", mend)
    else:
        yield _problem(registry, link, problem, "restore the version, or promote another")


def _of_history(registry: RegistryWriter, name: str, versions: list[str]) -> Iterator[_Problem]:
    path = registry.layout.history(name)
    try:
        entries = registry.history(name)
    except RegistryError as error:
        yield _problem(registry, path, str(error), "restore the file from a backup")
        return
    if registry.journal(name).torn():
        yield _problem(
            registry,
            path,
            "its last line was interrupted",
            "repair cuts it off, as does the next change",
            registry.journal(name).mend,
        )
    told = {entry.version for entry in entries}
    for version in versions:
        if version not in told:
            folder = registry.layout.version(name, version)
            problem = "the history tells of no registration: it was not put there by the registry"
            yield _problem(registry, folder, problem, "register it under a new version")


def _problem(
    registry: RegistryWriter,
    path: Path,
    problem: str,
    remedy: str,
    mend: Callable[[], object] | None = None,
) -> _Problem:
    where = str(path.relative_to(registry.layout.root))
    return _Problem(
        Finding(path=where, problem=problem, remedy=remedy, repairable=mend is not None), mend
    )
