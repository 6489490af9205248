# Nothing for Python: cimported by rendering.
