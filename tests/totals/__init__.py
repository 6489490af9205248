"""A second machine for kafka/, as small as can be: running totals by key. That it works is proof that any would."""
