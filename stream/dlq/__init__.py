"""Dead letters, looked at and sent again by hand."""
