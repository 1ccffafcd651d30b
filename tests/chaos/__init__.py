"""Real coordinators, workers and clients, all features at once, injured while they work; judged promise by promise by a
ledger that clients and handlers keep themselves. `python -m tests.chaos --nightly --seed 1 --minutes 30` runs longer.
"""
