"""Runs a version's artifacts in a process of its own, with limits on time and memory."""

from registry.trial_run.limits import TrialLimits, limited
from registry.trial_run.process import TrialProcess, shared_process, try_out

__all__ = ["TrialLimits", "TrialProcess", "limited", "shared_process", "try_out"]
