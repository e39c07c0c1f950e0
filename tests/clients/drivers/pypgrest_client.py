"""pypgrest, the client of a city's open data."""

import os

from pypgrest import Postgrest

client = Postgrest(os.environ["API_URL"])
client.select(resource="orders", params={"order": "id", "status": "eq.open"})
client.select(resource="orders", params={"select": "id,customers(name)", "order": "id"})
client.insert("customers", {"id": 7, "name": "Gil"}, {"Prefer": "return=representation"})
client.upsert("customers", [{"id": 7, "name": "Gil G."}], {"Prefer": "return=representation"})
client.update("customers", {"id": "eq.7"}, {"name": "G"}, {"Prefer": "return=representation"})
client.delete("customers", {"id": "eq.7"})
