// @supabase/postgrest-js
import { PostgrestClient } from "@supabase/postgrest-js";

const api = new PostgrestClient(process.env.API_URL, { schema: "api" });
const ask = async (query) => {
  const { error, status } = await query;
  if (error) console.error(status, error.message);
};
await ask(api.from("orders").select("id,status,customers!inner(name)", { count: "exact" })
  .eq("customers.name", "Ada").in("status", ["open", "done"]).order("id").range(0, 0));
await ask(api.from("orders").select("id").in("tags", ["{gift,fast}", "{}"]).order("id"));
await ask(api.from("orders").select("id").in("sizes", [[1, 2], [3]]));
await ask(api.from("orders").select("id").in("sizes", ["{1,2}", "{3}"]).order("id"));
await ask(api.from("orders").select("id").contains("tags", ["gift"]).overlaps("sizes", [1, 9]));
await ask(api.from("orders").select("id").contains("tags", ["fast"]).limit(1).single());
await ask(api.from("customers").select("*").eq("id", 9).maybeSingle());
await ask(api.from("customers").select("id,name").isDistinct("email", null));
await ask(api.from("customers").select("id").or("email.is.null,name.like.A%").order("id"));
await ask(api.from("customers").select("id,name").csv());
await ask(api.from("customers").select("*", { count: "exact", head: true }));
await ask(api.from("orders").insert({ customer_id: 2, tags: ["a", "b,c"] }).select().single());
await ask(api.from("orders").insert([{ customer_id: 1, amount: 1 }, { customer_id: 2 }],
  { defaultToNull: false }).select("id,amount"));
await ask(api.from("customers").upsert({ id: 2, name: "Béla", email: "b@example.org" }));
await ask(api.from("customers").upsert([{ id: 5, name: "Eve", email: "b@example.org" }],
  { onConflict: "email", ignoreDuplicates: true }).select());
await ask(api.from("orders").update({ status: "done" }).eq("id", 3).select("id,status"));
await ask(api.from("orders").delete().gt("id", 99).select("id"));
await ask(api.rpc("total_of", { customer: 1 }));
await ask(api.rpc("total_of", { customer: 1 }, { get: true }));
