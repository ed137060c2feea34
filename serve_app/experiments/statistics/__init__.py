"""Statistics of experiments: numbers in, numbers out.

Nothing here imports the domain of experiments, a database or a model: the inputs are counts, sums
and arrays of them, and every function names the source of its formula.

    distributions      tails and quantiles of the normal, Student's t and chi-squared distribution
    histogram          quantiles from a mergeable histogram
    estimates          treatment minus control with an error over blocks of time
    unit_moments       sums over units (bots or symbols), and the layout of a unit's vector
    by_unit            treatment minus control with an error over units
    effect             one effect with all of its tests, sequential and fixed-horizon
    sequential         always-valid intervals and p-values
    fixed_horizon      tests for one planned analysis
    counts             counts against their expected split
    sharpe             Sharpe ratios, their errors and their difference
    multiple_testing   correction for several hypotheses
"""
