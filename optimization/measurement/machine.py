"""The machine on which figures were measured; those of two machines are not comparable."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("onnxruntime", "onnx", "torch", "numpy")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimd")
"""The CPU's instruction sets that determine the speed of INT8 and BF16 arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The properties of a machine on which timings depend."""

    processor: str
    cores: int
    """The number of cores that this process may use."""
    instructions: tuple[str, ...]
    system: str
    python: str
    packages: Mapping[str, str]

    def as_json(self) -> dict[str, object]:
        """Return the properties as JSON."""
        return {**asdict(self), "instructions": list(self.instructions)}


@cache
def this_machine() -> Machine:
    """Describe the machine of this process."""
    cpu = _cpu_info()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    return Machine(
        processor=cpu.get("model name") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        instructions=tuple(instruction for instruction in _INSTRUCTIONS if instruction in flags),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def differences(first: Mapping[str, object], second: Mapping[str, object]) -> list[str]:
    """Describe the differences of two machines (as_json) that make their timings incomparable.

    Python's version is left out, since no timing here is of Python code.
    """
    return [
        f"{field}: {first.get(field)} and {second.get(field)}"
        for field in ("processor", "cores", "instructions", "system", "packages")
        if first.get(field) != second.get(field)
    ]


def _cpu_info() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in reversed(lines))  # the first core takes precedence
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
