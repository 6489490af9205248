"""What runs liveshop in production; none of it is installed."""
