"""What the worker shows of itself: metrics, one HTTP server, health, logs.

Nothing in here decides a result, and no viewer id and no text of a comment enters: ids of sessions only, at most
``top_sessions`` of them.
"""
