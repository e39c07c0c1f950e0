// @refinedev/supabase
import { dataProvider } from "@refinedev/supabase";
import { createClient } from "@supabase/supabase-js";

// supabase-js asks for one on Node 20, and never uses it here.
globalThis.WebSocket ??= class {};

const provider = dataProvider(
  createClient(process.env.API_URL, "key", { db: { schema: "api" } }));
const tell = async (what) => { try { return await what; } catch (e) { console.error(e.message); } };
await tell(provider.getList({
  resource: "orders", pagination: { currentPage: 1, current: 1, pageSize: 2 },
  sorters: [{ field: "id", order: "desc" }],
  filters: [{ field: "status", operator: "in", value: ["open", "done"] },
    { operator: "or", value: [{ field: "amount", operator: "gt", value: 10 },
      { field: "customer_id", operator: "eq", value: 1 }] }],
  meta: { select: "id,status,customers(name)" },
}));
await tell(provider.getList({ resource: "orders", filters: [
  { field: "tags", operator: "ina", value: ["gift"] },
  { field: "status", operator: "contains", value: "pe" },
  { field: "customer_id", operator: "nnull", value: null }] }));
await tell(provider.getOne({ resource: "customers", id: 1, meta: {} }));
await tell(provider.getMany({ resource: "customers", ids: [1, 2], meta: {} }));
await tell(provider.create({ resource: "orders", variables: { customer_id: 1 }, meta: {} }));
await tell(provider.createMany({ resource: "orders", variables: [{ customer_id: 1 }, { customer_id: 2 }], meta: {} }));
await tell(provider.update({ resource: "orders", id: 100, variables: { status: "x" }, meta: {} }));
await tell(provider.updateMany({ resource: "orders", ids: [100, 101], variables: { status: "y" }, meta: {} }));
await tell(provider.deleteOne({ resource: "orders", id: 100, meta: {} }));
await tell(provider.deleteMany({ resource: "orders", ids: [101, 102], meta: {} }));
