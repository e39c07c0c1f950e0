// A Vercel edge function that asks edgerest with @supabase/postgrest-js, with the token
// of whoever calls it. EDGEREST_URL is an environment variable of the project; a path in it is
// kept.
import { PostgrestClient } from '@supabase/postgrest-js'

export const config = { runtime: 'edge' }

export default async function handler(request) {
  if (!['GET', 'POST'].includes(request.method)) {
    return new Response(null, { status: 405, headers: { Allow: 'GET, POST' } })
  }
  const { EDGEREST_URL, TIMEOUT_MS = 5000 } = process.env
  let etag
  const authorization = request.headers.get('Authorization')
  const db = new PostgrestClient(EDGEREST_URL.replace(/\/$/, ''), {
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
  const late = AbortSignal.timeout(Number(TIMEOUT_MS))
  const { data, error, status } = await query.abortSignal(late).retry(false)
  if (status === 304) return new Response(null, { status })
  if (late.aborted) return Response.json(error, { status: 504 })
  if (error) return Response.json(error, { status: status || 502 })
  return Response.json(data, { status, headers: etag ? { ETag: etag } : {} })
}
