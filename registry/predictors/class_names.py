"""The names of classes in a model's file, compared with the version's label map. Pure."""

from collections.abc import Mapping

from registry.errors import UnreadableArtifactError
from registry.predictors.onnx_declarations import Declarations

_DIRECTION_BY_NAME: Mapping[str, str] = {
    **dict.fromkeys(("BUY", "UP", "LONG"), "BUY"),
    **dict.fromkeys(("SELL", "DOWN", "SHORT"), "SELL"),
    **dict.fromkeys(("HOLD", "FLAT", "NEUTRAL"), "HOLD"),
}


def named_label_maps(declared: Declarations | None) -> list[dict[int, str]]:
    """Return every label map that a file states by the names of its classes.

    Names other than those of directions, such as numbers, state none.
    """
    texts = () if declared is None else declared.texts
    found = [[_DIRECTION_BY_NAME.get(text.upper(), "") for text in names] for names in texts]
    return [dict(enumerate(names)) for names in found if all(names)]


def check_classes(
    declared: Declarations | None, label_map: Mapping[int, str], path: object
) -> None:
    """Check that the names of the classes in a file do not contradict a label map.

    Args:
        declared: the declarations of the file.
        label_map: HOLD, BUY or SELL by class index.
        path: the file, for the error.

    Raises:
        UnreadableArtifactError: the file names its classes in another order.
    """
    for named in named_label_maps(declared):
        if named != dict(label_map):
            raise UnreadableArtifactError(
                str(path),
                f"a model of the classes {_listed(label_map)} in this order, its label_map",
                f"the file names them {_listed(named)}; register it with that label_map",
            )


def _listed(label_map: Mapping[int, str]) -> str:
    return ", ".join(label_map[index] for index in sorted(label_map))
