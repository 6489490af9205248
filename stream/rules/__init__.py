"""Alert rules as files: reading them with every mistake and its line, and the rules that come with liveshop."""
