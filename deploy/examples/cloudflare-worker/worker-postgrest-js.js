// A Cloudflare Worker that asks edgerest with @supabase/postgrest-js, with the token of whoever
// calls it. EDGEREST_URL is a variable (wrangler.jsonc); a path in it is kept.
import { PostgrestClient } from '@supabase/postgrest-js'

export default {
  async fetch(request, env) {
    if (!['GET', 'POST'].includes(request.method)) {
      return new Response(null, { status: 405, headers: { Allow: 'GET, POST' } })
    }
    let etag
    const authorization = request.headers.get('Authorization')
    const db = new PostgrestClient(env.EDGEREST_URL.replace(/\/$/, ''), {
      headers: authorization ? { Authorization: authorization } : {},
      fetch: async (url, asked) => {
        const answer = await fetch(url, { ...asked, redirect: 'manual' })
        etag = answer.headers.get('ETag')
        return answer
      },
    })
    const query =
      request.method === 'POST'
        ? db.from('tasks').insert(await request.json()).select('id,title')
        : db
            .from('tasks')
            .select('id,title,project:projects(name)')
            .eq('status', 'pending')
            .order('id')
            .limit(3)
            .setHeader('If-None-Match', request.headers.get('If-None-Match') ?? '""')
    const late = AbortSignal.timeout(Number(env.TIMEOUT_MS ?? 5000))
    const { data, error, status } = await query.abortSignal(late).retry(false)
    if (status === 304) return new Response(null, { status })
    if (late.aborted) return Response.json(error, { status: 504 })
    if (error) return Response.json(error, { status: status || 502 })
    return Response.json(data, { status, headers: etag ? { ETag: etag } : {} })
  },
}
