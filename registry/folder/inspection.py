"""Finds problems in a registry's folder and repairs those that can be repaired without loss."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.errors import InvalidMetadataError, RegistryError, UnreadablePathError
from registry.folder.link_remains import version_of_remains
from registry.folder.registry_folder import RegistryFolder
from registry.folder.stage_links import Holders, stage_of
from registry.layout import (
    BARS,
    DELETED,
    EXPERIMENTS,
    INCOMING,
    METADATA,
    SERVING,
    STAGE_LINKS,
    TOKENS,
    TRUSTED_KEYS,
    is_folder,
)
from registry.reading import reading
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
    lock = folder.transactions.lock if repair else folder.transactions.lock_for_reading
    for model in [name] if name else folder.layout.models():
        try:
            with lock(model):
                # A dead writer's change comes first: completing it also repairs its consequences.
                for inspect in (_intent_problems, _model_problems):
                    problems = list(inspect(folder, model))
                    for problem in problems:
                        if repair and problem.repair:
                            problem.repair()
                    found += problems
        except UnreadablePathError as error:
            found.append(_unreadable(folder, folder.layout.model(model), error))
    return found


def _unreadable(folder: RegistryFolder, path: Path, error: UnreadablePathError) -> _Problem:
    remedy = "make it readable for this user, or verify as the owner of the registry"
    return _problem(folder, path, str(error), remedy)


def _unknown_files(folder: RegistryFolder) -> Iterator[_Problem]:
    models = set(folder.layout.models())
    root = folder.layout.root
    for path in _entries(root) if is_folder(root) else []:
        if path.name not in models and not path.name.startswith(
            (SERVING, EXPERIMENTS, TOKENS, TRUSTED_KEYS, BARS)
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
    for path in _entries(folder.layout.model(name)):
        if path.name not in known:
            yield _leftover(folder, path)
    expected = folder.reader.expected_holders(name)
    for version in versions:
        yield from _version_problems(folder, name, version, expected)
    for stage in STAGE_LINKS:
        yield from _link_problems(folder, name, stage, versions, expected.get(stage))
    yield from _history_problems(folder, name, versions)


def _leftover(folder: RegistryFolder, path: Path) -> _Problem:
    remedy = "repair removes it"
    if is_folder(path) and not path.is_symlink():
        if path.name.startswith(INCOMING):
            problem = "an interrupted registration; it is not part of the registry"
            return _problem(folder, path, problem, remedy, lambda: shutil.rmtree(path))
        if path.name.startswith(DELETED):
            problem = "an interrupted deletion; the version is already deleted"
            return _problem(folder, path, problem, remedy, lambda: shutil.rmtree(path))
    if _UNFINISHED.fullmatch(path.name):
        return _problem(folder, path, "an interrupted write, never committed", remedy, path.unlink)
    return _problem(folder, path, "not part of the registry", "move it out of the registry")


def _version_problems(
    folder: RegistryFolder, name: str, version: str, expected: Holders
) -> Iterator[_Problem]:
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
    try:
        paths = _entries(version_folder)
    except UnreadablePathError as error:
        yield _unreadable(folder, version_folder, error)
        paths = []
    for path in paths:
        if _UNFINISHED_IN_VERSION.fullmatch(path.name):
            problem = "an interrupted write, never committed"
            yield _problem(folder, path, problem, "repair removes it", path.unlink)
        elif path.name not in {METADATA, _DEPRECATED, *info.metadata.artifacts}:
            problem = "an unknown file, not an artifact of the version"
            yield _problem(folder, path, problem, "move it out of the registry")
    yield from _recorded_stage_problems(folder, info, expected)


def _recorded_stage_problems(
    folder: RegistryFolder, info: ModelInfo, expected: Holders
) -> Iterator[_Problem]:
    name, version = info.metadata.name, info.metadata.version
    recorded = folder.reader.files.read(name, version).metadata
    stage = stage_of(recorded, expected)
    if recorded.stage is not stage:
        yield _problem(
            folder,
            info.path / METADATA,
            f"the recorded stage is {recorded.stage}, but by the stage links it is {stage}",
            "repair records the stage of the links",
            lambda: folder.transactions.record_stage(name, version, stage),
        )


def _link_problems(
    folder: RegistryFolder,
    name: str,
    stage: ModelStage,
    versions: list[str],
    expected: str | None,
) -> Iterator[_Problem]:
    reader = folder.reader
    link = folder.layout.stage_link(name, stage)
    try:
        holder = reader.links.target(name, stage)
    except InvalidMetadataError as error:
        if link.is_symlink():
            yield _lost_link(folder, name, stage, expected, error.problem)
        else:
            yield _replaced_link(folder, name, stage, expected)
        return
    if holder is None:
        if expected is not None:
            yield _lost_link(folder, name, stage, expected, "the link is missing")
    elif holder not in versions:
        problem = f"it leads to version {holder}, which does not exist"
        yield _lost_link(folder, name, stage, expected, problem)
    elif stage is ModelStage.STAGING and stage not in reader.links.holders(name):
        problem = f"it leads to version {holder}, which is in production"
        yield _problem(
            folder, link, problem, "repair removes it", lambda: reader.links.remove(name, stage)
        )


def _lost_link(
    folder: RegistryFolder, name: str, stage: ModelStage, expected: str | None, problem: str
) -> _Problem:
    """Return the problem of a link that is missing or leads to no version."""
    links = folder.reader.links
    link = folder.layout.stage_link(name, stage)
    if expected is not None:
        by_record = f"{problem}; by the record version {expected} is in {stage}"
        remedy = "repair restores the link"
        return _problem(folder, link, by_record, remedy, lambda: links.point(name, stage, expected))
    if stage is ModelStage.STAGING:
        return _problem(
            folder, link, problem, "repair removes it", lambda: links.remove(name, stage)
        )
    return _problem(folder, link, problem, "restore the version, or promote another one")


def _replaced_link(
    folder: RegistryFolder, name: str, stage: ModelStage, expected: str | None
) -> _Problem:
    """Return the problem of a file or folder in the place of a link."""
    link = folder.layout.stage_link(name, stage)
    copied = version_of_remains(folder.layout, name, stage)
    if copied is None:
        problem = "expected a link to a version's folder, found a file or folder that is no copy"
        return _problem(folder, link, problem, "move it out of the registry, then run repair")
    if expected != copied and (expected is not None or folder.layout.history(name).exists()):
        problem = (
            f"a copy of version {copied}, but by the record {expected or 'none'} is in {stage}"
        )
        return _problem(folder, link, problem, "set the stage again, or move the copy away")
    return _problem(
        folder,
        link,
        f"a copy of version {copied} in the place of the link to it",
        "repair replaces it by the link",
        lambda: folder.reader.links.point(name, stage, copied),
    )


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


def _entries(path: Path) -> list[Path]:
    with reading(path):
        return sorted(path.iterdir())


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
