"""The Python of what stream/core/native/ replaces as a whole: what runs without a C compiler, and the definition of both."""
