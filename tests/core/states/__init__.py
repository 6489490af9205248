"""States as earlier versions have written them, and what those versions told when they went on with them."""
