// A Vercel edge function that asks edgerest with fetch alone.
// EDGEREST_URL and EDGEREST_TOKEN are environment variables of the project.
export const config = { runtime: 'edge' }

const TASKS = 'tasks?select=id,title,project:projects(name)&status=eq.pending&order=id&limit=3'

export default async function handler(request) {
  const { EDGEREST_URL, EDGEREST_TOKEN, TIMEOUT_MS = 5000 } = process.env
  const headers = { Authorization: `Bearer ${EDGEREST_TOKEN}` }
  // Followed, a redirect would take the rows, and here and there the token, to another server.
  const asked = { headers, redirect: 'manual', signal: AbortSignal.timeout(Number(TIMEOUT_MS)) }
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
    const answer = await fetch(new URL(target, EDGEREST_URL), asked)
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
