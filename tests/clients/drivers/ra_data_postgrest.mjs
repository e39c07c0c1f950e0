// @raphiniert/ra-data-postgrest, the data provider of react-admin
import ra from "@raphiniert/ra-data-postgrest/lib/index.js";

const fetchJson = async (url, options = {}) => {
  const headers = new Headers(options.headers ?? {});
  if (!headers.has("Accept")) headers.set("Accept", "application/json");
  if (options.body) headers.set("Content-Type", "application/json");
  const answer = await fetch(url, { ...options, headers });
  const body = await answer.text();
  let json;
  try { json = JSON.parse(body); } catch { /* it is none */ }
  if (!answer.ok) throw new Error(`${answer.status} ${body}`);
  return { status: answer.status, headers: answer.headers, body, json };
};
const provider = ra.default({
  apiUrl: process.env.API_URL,
  httpClient: fetchJson,
  defaultListOp: "eq",
  primaryKeys: new Map([["order_items", ["order_id", "line"]]]),
  schema: () => "api",
});
const page = { pagination: { page: 1, perPage: 2 }, sort: { field: "id", order: "DESC" } };
const tell = async (what) => { try { return await what; } catch (e) { console.error(`${e}`); } };
await tell(provider.getList("orders", { ...page, filter: { status: "open", "tags@cs": "{gift}" } }));
await tell(provider.getOne("customers", { id: 1 }));
await tell(provider.getMany("customers", { ids: [1, 2] }));
await tell(provider.getMany("order_items", { ids: ["[1,1]", "[3,1]"] }));
await tell(provider.getManyReference("orders", { ...page, target: "customer_id", id: 1, filter: {} }));
await tell(provider.create("orders", { data: { customer_id: 1, status: "new" } }));
await tell(provider.create("orders", { data: { customer_id: 2, status: "new" } }));
await tell(provider.update("orders", { id: 100, data: { id: 100, status: "x" }, previousData: { id: 100, status: "new" } }));
await tell(provider.updateMany("orders", { ids: [100, 101], data: { status: "y" } }));
await tell(provider.updateMany("order_items", { ids: ["[1,1]", "[1,2]"], data: { what: "y" } }));
await tell(provider.delete("orders", { id: 100, previousData: { id: 100 } }));
await tell(provider.deleteMany("orders", { ids: [101, 102] }));
await tell(provider.deleteMany("order_items", { ids: ["[1,2]", "[3,1]"] }));
