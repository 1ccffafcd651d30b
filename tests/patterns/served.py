"""Pipelines that can be named on the command line."""

from tests.patterns.shop import add_one, describe, double, fail_on_sevens, keep

pipeline = double | keep | add_one | describe

failing = fail_on_sevens | describe

half = double.function
