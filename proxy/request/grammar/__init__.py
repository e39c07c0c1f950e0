"""The grammar of the query string, twice: what recognises it fast, and what says what is wrong.

`recogniser` is asked first, by everybody. Only what it refuses is read by the parsers beside
it, one module per parameter on a small core (`combinators`), whose errors are PostgREST's.
"""
