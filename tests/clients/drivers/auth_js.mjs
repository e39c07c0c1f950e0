// @auth/supabase-adapter, of Auth.js
import { SupabaseAdapter } from "@auth/supabase-adapter";

// supabase-js asks for one on Node 20, and never uses it here.
globalThis.WebSocket ??= class {};

const adapter = SupabaseAdapter({ url: process.env.API_URL, secret: "key" });
const expires = new Date("2030-01-01T00:00:00Z");
const user = await adapter.createUser({ name: "Ada", email: "ada@example.org", emailVerified: expires });
await adapter.getUser(user.id);
await adapter.getUserByEmail("nobody@example.org");
await adapter.linkAccount({ userId: user.id, type: "oauth", provider: "git", providerAccountId: "7" });
await adapter.getUserByAccount({ provider: "git", providerAccountId: "7" });
await adapter.updateUser({ id: user.id, name: "Ada L." });
await adapter.createSession({ sessionToken: "t", userId: user.id, expires });
await adapter.getSessionAndUser("t");
await adapter.updateSession({ sessionToken: "t", expires });
await adapter.deleteSession("t");
await adapter.createVerificationToken({ identifier: "a@b", token: "v", expires });
await adapter.useVerificationToken({ identifier: "a@b", token: "v" });
await adapter.unlinkAccount({ provider: "git", providerAccountId: "7" });
await adapter.deleteUser(user.id);
