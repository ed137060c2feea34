"""Distributions with entry points, as `pip install` would write them."""

from pathlib import Path


def write_distribution(
    site: Path, distribution: str, module: str, source: str, *, group: str, **entries: str
) -> None:
    """Write a distribution of one module to the folder `site`, which belongs on `sys.path`.

    Args:
        site: the folder; it is created.
        distribution: the name of the distribution.
        module: the name of its module.
        source: the module's source.
        group: the group of its entry points.
        entries: the name in the module by the name of the entry point.
    """
    info = site / f"{distribution}-2.1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (site / f"{module}.py").write_text(source)
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n"
    )
    lines = [f"{name} = {module}:{value}" for name, value in entries.items()]
    info.joinpath("entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
