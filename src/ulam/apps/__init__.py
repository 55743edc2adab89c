"""Ways to use the library: thin, without mathematics of their own."""
