"""A pipeline that workers of the command line serve."""

import os

from patterns import stage


@stage
def bake(number: int) -> list[int]:
    return [number, os.getpid()]


@stage
def box(baked: list[int]) -> list[int]:
    return [*baked, os.getpid()]


pipeline = (bake | box).named("kitchen")
