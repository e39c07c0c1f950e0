"""Types of a database's tables and functions, for the programs that call its API.

queries      what the schema cache does not know of types and signatures    SQL
model        what there is to describe, and what JSON a value becomes
typescript   the module that @supabase/postgrest-js takes
python       TypedDicts, for edge_client
"""
