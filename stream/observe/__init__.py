"""What the worker shows of itself: metrics, one HTTP server, health, logs.

Nothing in here decides a result. No viewer id and no text of a comment enters. Of what events say only the ids and names
of the ``top_sessions`` busiest sessions, and of their sellers, are shown.
"""
