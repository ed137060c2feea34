"""Keys of the stored evidence whose words differ from the terms of the code.

The registry keeps the evidence in the metadata of versions, so these keys stay as they were when
the first versions were optimised; everything else uses the terms of the glossary.
"""

EVALUATED = "judged"
"""The number of windows of the evaluation."""

BATCH_DEPENDENCE = "batch_mates"
"""The object that holds the dependence on the batch."""

DEPENDS_ON_BATCH = "answers_depend_on_batch_mates"
"""Whether the outputs for a window depend on the other windows of its batch."""

DIFFERENCE_WITH_OUTLIER = "max_abs_difference_beside_a_loud_one"
"""The largest difference of an element, by output, in a batch with an outlier."""

DIRECTIONS_CHANGED = "directions_changed_beside_a_loud_one"
"""The share of windows whose direction an outlier in the batch changes."""
