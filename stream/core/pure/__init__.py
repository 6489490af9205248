"""In Python what native/ has as a whole in C: the definition, and what runs where the native modules are not built."""
