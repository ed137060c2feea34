"""The report of a benchmark, and its files in benchmarks/results/."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from optimization.measurement.machine import differences, this_machine

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Report:
    """Figures to print, with the facts and the plot that are kept beside them."""

    figures: Mapping[str, Mapping[str, float]]
    """The figures by the name of the measurement."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """The conditions of the measurement and its samples, by name."""
    notes: Sequence[str] = ()
    """The lines of Markdown below the table."""
    plot: Figure | None = None


def show(report: Report) -> str:
    """Return the figures and the notes as text."""
    lines = []
    for what, figures in report.figures.items():
        values = "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
        lines.append(f"  {what:28} {values}")
    lines += [f"  {note}" for note in report.notes]
    return "\n".join(lines)


def keep(name: str, report: Report) -> None:
    """Write a report to `<name>.json` and `<name>.md`, and its plot to `<name>.png`."""
    machine = this_machine().as_json()
    document = {"machine": machine, "figures": report.figures, **report.facts}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    (RESULTS / f"{name}.md").write_text(_as_markdown(name, report, machine))
    if report.plot is not None:
        report.plot.savefig(RESULTS / f"{name}.png", dpi=100)


def differences_from_kept(name: str) -> list[str]:
    """Return the differences that make figures of this machine incomparable with the kept ones."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return []
    kept: Mapping[str, object] = json.loads(path.read_text())["machine"]
    return differences(kept, this_machine().as_json())


def _as_markdown(name: str, report: Report, machine: Mapping[str, object]) -> str:
    columns = list(dict.fromkeys(key for row in report.figures.values() for key in row))
    table = [
        ["", *columns],
        ["---", *("---:" for _ in columns)],
        *(
            [what, *(_rounded(row[key]) if key in row else "" for key in columns)]
            for what, row in report.figures.items()
        ),
    ]
    lines = [
        f"# {name}",
        "",
        ", ".join(f"{key} {value}" for key, value in machine.items()),
        "",
        *(f"| {' | '.join(row)} |" for row in table),
        *(["", *report.notes] if report.notes else []),
    ]
    return "\n".join(lines) + "\n"


def _rounded(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
