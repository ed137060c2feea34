"""A/B tests of model versions, from the assignment of a request to the recommendation.

Everything except `store` and `report` is pure: values in, values out; the time is an argument.

    definition          the experiment as it was created
    lifecycle           validation of a new experiment and of its variants
    assignment          the variant of a request
    running             a running experiment as the routers see it
    circuit_breaker     excludes a failing variant from the traffic of one router
    exposure            the growth of treatment's share

    records             predictions and outcomes
    blocks              blocks of time and their keys
    summary, units      mergeable sums by variant and block, and by bot or symbol
    recent_traffic      the last minute, second by second
    table               all summaries as arrays over blocks, the input of the statistics
    variant_metrics     the metrics of one variant

    statistics          numbers in, numbers out; imports nothing else of this package
    effects             treatment minus control in accuracy, return, latency and errors
    significance        the test of the difference in accuracy
    guardrails          the tests of latency and error rate
    sample_ratio        the test of the split
    outcome_ratio       the test for lost outcomes
    power               sample sizes

    decision            promote, roll back or continue, with reasons
    analysis            all of the above at one time
    analysis_document   the analysis as JSON values
    interim_analysis    the analysis of a running experiment with its last minute

    history             experiments, events and outcomes as they are stored
    store               the database
    store_errors        the errors of the store
    evidence            an experiment with its history and summaries, as JSON and back
    report              the evidence as an HTML page
"""
