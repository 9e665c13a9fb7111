"""What is made of noised sums: matrices, models, curves and tests. Numbers in, numbers out.

Everything here is post-processing of integers that already carry their noise, so nothing here costs privacy.
"""
