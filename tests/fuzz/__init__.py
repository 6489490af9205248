"""Inputs that nobody would send, by the thousand a second, to everything that reads what strangers wrote.

A target (one module each, listed in targets.py) makes an input from a random number and runs what reads it. A finding is an
exception that was not promised, a crash, time that is not linear in the size of the input, or memory beyond a multiple of
it. Everything follows from a seed, and what was found is kept in a file, so that it can be repeated.

    python -m tests.fuzz --for 10m [--target NAME] [--seed N]      make fuzz FOR=10m
    python -m tests.fuzz --target NAME --input FILE                 repeats one
"""
