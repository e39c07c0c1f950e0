"""The grammar of the query string: one module per parameter, on a small parser core."""
