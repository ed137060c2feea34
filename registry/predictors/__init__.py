"""Runs a version's artifacts on windows; the libraries that run them are imported when used."""

from registry.predictors.class_names import check_classes, named_label_maps
from registry.predictors.loading import (
    artifacts_to_try,
    choose_artifact,
    import_library,
    is_runnable,
    load_predictor,
    try_artifact,
)
from registry.predictors.onnx_declarations import Declarations, read_declarations
from registry.predictors.onnx_packing import MAX_PACKED_BYTES, pack
from registry.predictors.onnx_references import check_self_contained, has_references
from registry.predictors.values import (
    Outputs,
    Predictor,
    Row,
    Windows,
    find_problem,
    path_of,
    rows_of,
)

__all__ = [
    "MAX_PACKED_BYTES",
    "Declarations",
    "Outputs",
    "Predictor",
    "Row",
    "Windows",
    "artifacts_to_try",
    "check_classes",
    "check_self_contained",
    "choose_artifact",
    "find_problem",
    "has_references",
    "import_library",
    "is_runnable",
    "load_predictor",
    "named_label_maps",
    "pack",
    "path_of",
    "read_declarations",
    "rows_of",
    "try_artifact",
]
