// A Vercel edge function that asks edgerest with fetch alone, with the token of whoever calls it.
// EDGEREST_URL is an environment variable of the project; a path in it is kept.
export const config = { runtime: 'edge' }

const TASKS = 'tasks?select=id,title,project:projects(name)&status=eq.pending&order=id&limit=3'

export default async function handler(request) {
  if (!['GET', 'POST'].includes(request.method)) {
    return new Response(null, { status: 405, headers: { Allow: 'GET, POST' } })
  }
  const { EDGEREST_URL, TIMEOUT_MS = 5000 } = process.env
  const headers = {}
  // Followed, a redirect would take the rows, and here and there the token, to another server.
  const asked = { headers, redirect: 'manual', signal: AbortSignal.timeout(Number(TIMEOUT_MS)) }
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
    const answer = await fetch(`${EDGEREST_URL.replace(/\/$/, '')}/${target}`, asked)
    const kept = ['Content-Type', 'ETag', 'Retry-After'].filter((name) => answer.headers.has(name))
    return new Response(answer.status === 304 ? null : await answer.text(), {
      status: answer.status,
      headers: kept.map((name) => [name, answer.headers.get(name)]),
    })
  } catch (error) {
    const late = error.name === 'TimeoutError'
    return Response.json({ message: error.message }, { status: late ? 504 : 502 })
  }
}
