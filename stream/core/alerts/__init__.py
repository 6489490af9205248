"""Session alerts, pure: what sessions did slide by slide, rules that are asked of it, and what is told."""
