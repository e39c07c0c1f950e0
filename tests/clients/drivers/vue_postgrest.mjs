// vue-postgrest, with Vue 2.
import { createRequire } from "node:module";

// Its package names no file that Node's import would take.
const require = createRequire(import.meta.url);
const Vue = require("vue");
const { default: Postgrest, pg, usePostgrest } =
  require("./node_modules/vue-postgrest/dist/cjs/vue-postgrest.js");

globalThis.window ??= { location: { href: process.env.API_URL } };
Vue.config.productionTip = Vue.config.devtools = false;

const root = process.env.API_URL;
const tell = async (what) => { try { return await what(); } catch (e) { console.error(e.message); } };
const schema = usePostgrest(root);
await schema.$ready;
await tell(() => schema.orders.get({
  select: { id: true, status: "text", customers: { select: ["name"] } },
  "status.in": ["open", "done"], or: { "amount.gt": 10, "customer_id.is": null }, order: { id: "desc" },
}, { count: "exact", limit: 2, offset: 0 }));
await tell(() => schema.orders.get({ "tags.cs": ["gift"], "sizes.ov": [1, 3], "status.not.eq": "a,b" }));
await tell(() => schema.customers.head({ "name.like": "A*" }, { count: "exact" }));
await tell(() => schema.customers.get({ "id.eq": 77 }, { accept: "single" }));
await tell(() => schema.rpc.total_of({ customer: 1 }));
await tell(() => schema.rpc.total_of({ customer: 2 }, { get: true }));
await tell(() => schema.customers.post({}, { return: "headers-only" }, { id: 7, name: "Gil" }));
await tell(() => schema.customers.post(
  { on_conflict: "id" }, { return: "representation", resolution: "merge-duplicates" }, [{ id: 7, name: "G" }]));

// As a component does: what it read, changed, written back and removed.
Vue.use(Postgrest, { apiRoot: root });
const page = (config) => new Vue({ mixins: [pg], data: () => ({ pgConfig: config }), render: (h) => h("p") });
const list = page({ route: "customers", query: { order: "id" }, limit: 2, count: "exact" });
await tell(() => list.pg.$get());
const one = page({ route: "customers", query: { "id.eq": 7 }, single: true });
await tell(() => one.pg.$get());
one.pg.name = "Gil G., \"the\" great";
await tell(() => one.pg.$patch());
one.pg.email = "g@example.org";
await tell(() => one.pg.$put());
await tell(() => one.pg.$delete());
const added = list.pg.$new({ id: 8, name: "Hal" });
await tell(() => added.$post({ columns: ["id", "name"] }));
await tell(() => added.$delete({ return: "minimal" }));
