"""Asking the brokers for facts. Thin: no rule of what is right. Nothing here writes, creates or commits."""
