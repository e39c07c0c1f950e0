// A Cloudflare Worker that asks edgerest with fetch alone, with the token of whoever calls it.
// EDGEREST_URL is a variable (wrangler.jsonc); a path in it is kept.
const TASKS = 'tasks?select=id,title,project:projects(name)&status=eq.pending&order=id&limit=3'

export default {
  async fetch(request, env) {
    if (!['GET', 'POST'].includes(request.method)) {
      return new Response(null, { status: 405, headers: { Allow: 'GET, POST' } })
    }
    const headers = {}
    const late = AbortSignal.timeout(Number(env.TIMEOUT_MS ?? 5000))
    // Followed, a redirect would take the rows, and here and there the token, to another server.
    const asked = { headers, redirect: 'manual', signal: late }
    if (request.headers.has('Authorization')) {
      headers.Authorization = request.headers.get('Authorization')
    }
    let target = TASKS
    if (request.method === 'POST') {
      target = 'tasks?select=id,title'
      headers['Content-Type'] = 'application/json'
      headers.Prefer = 'return=representation'
      Object.assign(asked, { method: 'POST', body: await request.text() })
    } else if (request.headers.has('If-None-Match')) {
      headers['If-None-Match'] = request.headers.get('If-None-Match')
    }
    try {
      const answer = await fetch(`${env.EDGEREST_URL.replace(/\/$/, '')}/${target}`, asked)
      const kept = ['Content-Type', 'ETag', 'Retry-After'].filter((name) => answer.headers.has(name))
      return new Response(answer.status === 304 ? null : await answer.text(), {
        status: answer.status,
        headers: kept.map((name) => [name, answer.headers.get(name)]),
      })
    } catch (error) {
      const status = error.name === 'TimeoutError' ? 504 : 502
      return Response.json({ message: error.message }, { status })
    }
  },
}
