"""How well a model finds: what the commands of `virtue evaluate` measure (docs/evaluation.md).

Two more commands build the sets that the figures for the bundled model come from:

    python -m virtue.evaluation.sample_photos OUT --packages DIR
    python -m virtue.evaluation.real_photos OUT --packages DIR
"""
