"""The session worker: what it reads, writes and counts, for kafka/ to run, which knows roles but not this one."""
