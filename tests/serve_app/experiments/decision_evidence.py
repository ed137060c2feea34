"""Evidence of an experiment for the tests of decisions: all conditions of a promotion hold."""

from dataclasses import replace

from serve_app.experiments.decision import Evidence
from serve_app.experiments.guardrails import Comparison, Guardrail
from serve_app.experiments.sample_ratio import SampleRatio
from serve_app.experiments.significance import Significance

RATIO = SampleRatio(
    control=9000,
    treatment=1000,
    expected_share=0.1,
    p_value=1.0,
    always_valid_p_value=1.0,
    healthy=True,
    explanation="by request",
)
BETTER = Significance(
    difference=0.04,
    standard_error=0.008,
    interval=(0.01, 0.07),
    p_value=0.001,
    alpha=0.05,
    significant=True,
    at_planned_end=False,
)
FAST = Guardrail(
    name="latency_ms",
    control=2.0,
    treatment=2.5,
    limit=2.0,
    harm_p_value=1.0,
    shown_by=Comparison(control=2.0, treatment=2.5, difference=0.4),
    worst_case=0.9,
    held=True,
    within_limit=True,
)
SOUND = Guardrail(
    name="error_rate",
    control=0.001,
    treatment=0.001,
    limit=1.5,
    harm_p_value=1.0,
    shown_by=Comparison(control=0.001, treatment=0.001, difference=0.0),
    worst_case=0.004,
    held=True,
    within_limit=True,
)
GOOD = Evidence(
    control_labelled=9000,
    treatment_labelled=1000,
    sample_ratio=RATIO,
    accuracy=BETTER,
    latency=FAST,
    errors=SOUND,
)
WORSE = replace(BETTER, difference=-0.08, interval=(-0.12, -0.04))
UNCERTAIN = replace(BETTER, interval=(-0.01, 0.09), p_value=0.3, significant=False)
