"""Other methods on the same data, trainer, budget and evaluator: each file is one of them.

:mod:`~hoi_lib.baselines.dit_moe` routes single tokens by what they hold.
"""
