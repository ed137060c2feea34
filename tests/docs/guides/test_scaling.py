"""The guide to scaling quotes the committed results."""

from testkit.snippets import page

PAGE = page("docs/guides/scaling.md")
RESULTS = page("benchmarks/results/growth.md")

RATIOS = {
    "eight experiments on other models / none": "experiments, on other models: 8 / 0",
    "one experiment on the requested model / none": "experiments, on the same model: 1 / 0",
    "16 versions in the router / one": "versions, placement: router: 16 / 1",
    "16 versions with replicas / one, on two cores": "versions, placement: replicas: 16 / 1",
    "66,000 numbers per window / 660, JSON": "features, JSON: 66000 / 660",
    "66,000 numbers per window / 660, raw body": "features, raw body: 66000 / 660",
}
"""The row of the results for each row of the page."""


def test_growth_ratios():
    """The table of ratios has the figures of the growth benchmark."""
    measured = {row[0]: row[1:] for row in RESULTS.rows()}
    quoted = {row[0]: row[1:] for row in PAGE.rows("What grows with what")}
    assert quoted == {
        label: [p50, cpu, memory.split(",")[0]]
        for label, name in RATIOS.items()
        for p50, cpu, memory in [measured[name]]
    }
