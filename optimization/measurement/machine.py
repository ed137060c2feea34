"""The machine that figures were measured on; those of another one are another matter."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("onnxruntime", "onnx", "torch", "numpy")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimd")
"""Of the CPU's instruction sets, those on which INT8 and BF16 arithmetic hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What timings depend on."""

    processor: str
    cores: int
    """That this process may use."""
    instructions: tuple[str, ...]
    system: str
    python: str
    packages: Mapping[str, str]

    def as_json(self) -> dict[str, object]:
        """Return it for a file."""
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
    """Return in words what makes timings of two machines (as_json) incomparable; none if nothing.

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
    pairs = (line.partition(":") for line in reversed(lines))  # the first core has the last word
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
