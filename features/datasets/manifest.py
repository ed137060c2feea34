"""The manifest beside the file of a dataset: from what it was built, and what it contains."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from features.datasets.errors import UnreadableDatasetError

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesManifest:
    """The samples of one symbol."""

    symbol: str
    bars: int
    """The number of bars that were read."""
    revisions: int
    """The number of their revisions."""
    bars_sha256: str
    """The digest of these bars and revisions, with the times at which they became known."""
    rows: int
    """The number of rows in the file; rows before the first sample of a run count."""
    samples: int
    labels: dict[str, int]
    """The number of samples by direction."""
    incomplete: int
    """The bars of the range that are no sample since a bar of their window was not known then."""
    without_outcome: int
    """The other bars of the range that are no sample since the bar at the horizon is not known, or
    was not the one at which a server would have evaluated the outcome."""
    first: str | None
    """The bar of the first sample."""
    last: str | None
    """The bar of the last sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSetManifest:
    """The feature set of a dataset."""

    name: str
    version: str
    sha256: str
    """The digest of its source."""
    timeframe: str
    lookback: int
    feature_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """From what a dataset was built, and what it contains."""

    feature_set: FeatureSetManifest
    timesteps: int
    horizon_bars: int
    dead_band: float
    first: str
    """The start of the range of samples."""
    last: str
    """Its end."""
    as_of: str
    """The time of the view."""
    series: tuple[SeriesManifest, ...]
    samples: int
    file_sha256: str
    """The digest of the Parquet file."""
    code: dict[str, str]
    """The versions of the software that built the file, and the digest of its source."""
    format: int = FORMAT

    def dump(self) -> bytes:
        """Return the content of the manifest's file."""
        text = json.dumps(self.fields(), indent=1, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"

    def fields(self) -> dict[str, Any]:
        """Return the manifest as plain values."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """The digest of the manifest, which identifies the dataset."""
        return hashlib.sha256(self.dump()).hexdigest()

    @property
    def dataset_info(self) -> dict[str, Any]:
        """What the metadata of a version records of the dataset that trained it."""
        return {
            "manifest_sha256": self.sha256,
            "symbols": [series.symbol for series in self.series],
            "timeframe": self.feature_set.timeframe,
            "horizon_bars": self.horizon_bars,
            "dead_band": self.dead_band,
            "as_of": self.as_of,
            "samples": self.samples,
        }

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """Return the manifest in the content of a file.

        Raises:
            UnreadableDatasetError: it is none, or that of another version of this software.
        """
        try:
            fields = json.loads(content)
            if fields.get("format") != FORMAT:
                problem = f"expected a manifest of format {FORMAT}, received {fields.get('format')}"
                raise UnreadableDatasetError(str(path), problem)
            names = tuple(fields["feature_set"].pop("feature_names"))
            fields["feature_set"] = FeatureSetManifest(**fields["feature_set"], feature_names=names)
            fields["series"] = tuple(SeriesManifest(**series) for series in fields["series"])
            return cls(**fields)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            problem = f"it is no manifest: {type(error).__name__}: {error}"
            raise UnreadableDatasetError(str(path), problem) from error


def manifest_path(path: Path) -> Path:
    """Return the path of the manifest of a dataset's file."""
    return path.with_name(f"{path.name}.manifest.json")
