"""Finds problems in a registry's folder and repairs those that can be repaired without loss."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.errors import InvalidMetadataError, RegistryError
from registry.folder.registry_folder import RegistryFolder
from registry.layout import (
    DELETED,
    EXPERIMENTS,
    INCOMING,
    METADATA,
    SERVING,
    STAGE_LINKS,
    TOKENS,
    TRUSTED_KEYS,
)
from registry.records import Finding, ModelInfo, ModelStage

_KNOWN_FILES = {".lock", "history.jsonl", *STAGE_LINKS.values()}
_UNFINISHED = re.compile(r"\.(history\.jsonl|\.intent\.json|production|staging)-[0-9a-f]{32}")
_UNFINISHED_IN_VERSION = re.compile(r"\.metadata\.json-[0-9a-f]{32}|\.added-[0-9a-f]{32}")
_DEPRECATED = "metrics.json"


@dataclass(frozen=True, slots=True)
class _Problem:
    """A finding and, if it can be repaired without loss, its repair."""

    finding: Finding
    repair: Callable[[], object] | None


def verify(folder: RegistryFolder, name: str | None = None) -> list[Finding]:
    """Return what is missing, modified or left over in one model, or in all.

    Every artifact is read and compared with its sha256. Writers of a model wait meanwhile, so that
    their changes in progress are not mistaken for leftovers.
    """
    return [problem.finding for problem in _problems(folder, name, repair=False)]


def repair(folder: RegistryFolder, name: str | None = None) -> list[Finding]:
    """Repair what can be repaired without loss, and return the findings that were repaired.

    These are leftovers, interrupted changes, and stages in metadata that contradict the links.
    """
    return [problem.finding for problem in _problems(folder, name, repair=True) if problem.repair]


def _problems(folder: RegistryFolder, name: str | None, repair: bool) -> list[_Problem]:
    found = [] if name else list(_unknown_files(folder))
    for model in [name] if name else folder.layout.models():
        with folder.transactions.lock(model):
            # A dead writer's change comes first: completing it also repairs its consequences.
            for inspect in (_intent_problems, _model_problems):
                problems = list(inspect(folder, model))
                for problem in problems:
                    if repair and problem.repair:
                        problem.repair()
                found += problems
    return found


def _unknown_files(folder: RegistryFolder) -> Iterator[_Problem]:
    models = set(folder.layout.models())
    root = folder.layout.root
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.name not in models and not path.name.startswith(
            (SERVING, EXPERIMENTS, TOKENS, TRUSTED_KEYS)
        ):
            yield _problem(folder, path, "not a model's folder", "move it out of the registry")


def _intent_problems(folder: RegistryFolder, name: str) -> Iterator[_Problem]:
    path = folder.layout.intent(name)
    try:
        intent = folder.reader.journal(name).intent()
    except RegistryError as error:
        yield _problem(folder, path, str(error), "remove it; the links show the current stages")
        return
    if intent:
        yield _problem(
            folder,
            path,
            "a change whose writer died",
            "repair completes or discards it, as does the next change",
            lambda: folder.transactions.complete_interrupted(name),
        )


def _model_problems(folder: RegistryFolder, name: str) -> Iterator[_Problem]:
    versions = folder.layout.versions(name)
    known = {
        *(folder.layout.version(name, version).name for version in versions),
        *_KNOWN_FILES,
        folder.layout.intent(name).name,
    }
    for path in sorted(folder.layout.model(name).iterdir()):
        if path.name not in known:
            yield _leftover(folder, path)
    for version in versions:
        yield from _version_problems(folder, name, version)
    for stage in STAGE_LINKS:
        yield from _link_problems(folder, name, stage, versions)
    yield from _history_problems(folder, name, versions)


def _leftover(folder: RegistryFolder, path: Path) -> _Problem:
    remedy = "repair removes it"
    if path.is_dir() and not path.is_symlink():
        if path.name.startswith(INCOMING):
            problem = "an interrupted registration; it is not part of the registry"
            return _problem(folder, path, problem, remedy, lambda: shutil.rmtree(path))
        if path.name.startswith(DELETED):
            problem = "an interrupted deletion; the version is already deleted"
            return _problem(folder, path, problem, remedy, lambda: shutil.rmtree(path))
    if _UNFINISHED.fullmatch(path.name):
        return _problem(folder, path, "an interrupted write, never committed", remedy, path.unlink)
    return _problem(folder, path, "not part of the registry", "move it out of the registry")


def _version_problems(folder: RegistryFolder, name: str, version: str) -> Iterator[_Problem]:
    version_folder = folder.layout.version(name, version)
    try:
        info = folder.reader.get(name, version)
    except RegistryError as error:
        remedy = "restore the file from a backup, or delete the version's folder"
        yield _problem(folder, version_folder / METADATA, str(error), remedy)
        return
    for artifact in info.metadata.artifacts:
        try:
            folder.reader.read_artifact(name, version, artifact)
        except RegistryError as error:
            remedy = "restore the file from a backup, or register a new version"
            yield _problem(folder, version_folder / artifact, str(error), remedy)
    for path in sorted(version_folder.iterdir()):
        if _UNFINISHED_IN_VERSION.fullmatch(path.name):
            problem = "an interrupted write, never committed"
            yield _problem(folder, path, problem, "repair removes it", path.unlink)
        elif path.name not in {METADATA, _DEPRECATED, *info.metadata.artifacts}:
            problem = "an unknown file, not an artifact of the version"
            yield _problem(folder, path, problem, "move it out of the registry")
    yield from _recorded_stage_problems(folder, info)


def _recorded_stage_problems(folder: RegistryFolder, info: ModelInfo) -> Iterator[_Problem]:
    name, version, stage = info.metadata.name, info.metadata.version, info.metadata.stage
    recorded = folder.reader.files.read(name, version).metadata.stage
    if recorded is not stage and version != folder.reader.lost_production(name):
        yield _problem(
            folder,
            info.path / METADATA,
            f"the recorded stage is {recorded}, but by the stage links it is {stage}",
            "repair records the stage of the links",
            lambda: folder.transactions.record_stage(name, version, stage),
        )


def _link_problems(
    folder: RegistryFolder, name: str, stage: ModelStage, versions: list[str]
) -> Iterator[_Problem]:
    reader = folder.reader
    link = folder.layout.stage_link(name, stage)
    lost = reader.lost_production(name) if stage is ModelStage.PRODUCTION else None
    if lost is not None and (link.is_symlink() or not link.exists()):
        yield _problem(
            folder,
            link,
            f"by the history version {lost} is in production, but the link does not lead to it",
            "repair restores the link",
            lambda: reader.links.point(name, stage, lost),
        )
        return
    try:
        holder = reader.links.target(name, stage)
    except InvalidMetadataError as error:
        yield _problem(folder, link, error.problem, "remove it, then set the stage again")
        return
    if stage is ModelStage.STAGING and holder and stage not in reader.links.holders(name):
        problem = f"it leads to version {holder}, which is in production"
    elif holder is None or holder in versions:
        return
    else:
        problem = f"it leads to version {holder}, which does not exist"
    if stage is ModelStage.STAGING:
        yield _problem(
            folder, link, problem, "repair removes it", lambda: reader.links.remove(name, stage)
        )
    else:
        yield _problem(folder, link, problem, "restore the version, or promote another one")


def _history_problems(folder: RegistryFolder, name: str, versions: list[str]) -> Iterator[_Problem]:
    path = folder.layout.history(name)
    try:
        entries = folder.reader.history(name)
    except RegistryError as error:
        yield _problem(folder, path, str(error), "restore the file from a backup")
        return
    journal = folder.reader.journal(name)
    if journal.is_torn():
        problem = "writing its last line was interrupted"
        remedy = "repair removes the line, as does the next change"
        yield _problem(folder, path, problem, remedy, journal.repair)
    recorded = {entry.version for entry in entries}
    for version in versions:
        if version not in recorded:
            version_folder = folder.layout.version(name, version)
            problem = "the history has no registration of it: the registry did not create it"
            yield _problem(folder, version_folder, problem, "register it as a new version")


def _problem(
    folder: RegistryFolder,
    path: Path,
    problem: str,
    remedy: str,
    repair: Callable[[], object] | None = None,
) -> _Problem:
    where = str(path.relative_to(folder.layout.root))
    return _Problem(
        Finding(path=where, problem=problem, remedy=remedy, repairable=repair is not None), repair
    )
