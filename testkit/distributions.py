"""Distributions with network classes, as `pip install` would write them."""

from pathlib import Path


def write_distribution(
    site: Path, distribution: str, module: str, source: str, **networks: str
) -> None:
    """Write a distribution of one module to the folder `site`, which belongs on `sys.path`.

    Args:
        site: the folder; it is created.
        distribution: the name of the distribution.
        module: the name of its module.
        source: the module's source.
        networks: the name in the module by model type, declared as entry points.
    """
    info = site / f"{distribution}-2.1.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(source)
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n"
    )
    lines = [f"{name} = {module}:{value}" for name, value in networks.items()]
    info.joinpath("entry_points.txt").write_text(
        "\n".join(["[tradeserve.architectures]", *lines, ""])
    )
