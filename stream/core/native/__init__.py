"""The hot path in Cython: what is plain and frequent. What it cannot tell it leaves to the Python of core/.

Python stays the definition. Without a C compiler these modules are not there, and everything runs as it does with them,
slower (core/pure/ holds what they replace as a whole). core/switch.py says whether they are.
"""
