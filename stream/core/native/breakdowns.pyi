# Nothing for Python: cimported by counts, packing and rendering.
