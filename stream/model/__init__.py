"""The vocabulary: what an event, an outcome, a result and an amount of money are. Imports nothing of liveshop."""
