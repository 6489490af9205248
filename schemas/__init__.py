"""What lies in topics: a JSON Schema with examples for each kind of value, and in topics/ a page for each topic."""
