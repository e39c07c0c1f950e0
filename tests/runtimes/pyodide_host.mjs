// Serves deploy/examples/pyodide/tasks.py under Pyodide; prints its URL. A GET of /NAME runs a
// function of pyodide_checks.py; the request's Edgerest-Url tells it where to ask.
// node pyodide_host.mjs EXAMPLE CHECKS WHEEL PACKAGES: our wheel, and a folder with httpx.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

// Without this Node prints the line that threw: all of Pyodide.
process.on('uncaughtException', (error) => {
  console.error(String(error.stack ?? error).slice(-3000))
  process.exit(1)
})

const [example, checks, wheel, packages] = process.argv.slice(2)
const require = createRequire(join(process.cwd(), 'package.json'))
const { loadPyodide } = await import(pathToFileURL(require.resolve('pyodide/pyodide.mjs')))

const python = await loadPyodide()
python.unpackArchive(new Uint8Array(readFileSync(wheel)), 'wheel')
python.FS.mkdirTree('/packages')
python.FS.mount(python.FS.filesystems.NODEFS, { root: packages }, '/packages')
python.FS.writeFile('tasks.py', new Uint8Array(readFileSync(example)))
python.FS.writeFile('pyodide_checks.py', new Uint8Array(readFileSync(checks)))
const { EDGEREST_URL, EDGEREST_TOKEN, TIMEOUT_MS } = process.env
const answer = python.runPython(`
import json, sys
sys.path += ["/packages", "."]
import pyodide_checks, tasks

def answer(url, token, seconds):
    db = tasks.connect(url, token, seconds)
    async def call(method, check, body, other_url):
        if check:
            checked = await getattr(pyodide_checks, check)(other_url or url, token)
            return json.dumps((200, checked))
        asked = tasks.add(db, json.loads(body)) if method == "POST" else tasks.pending(db)
        return json.dumps(await asked)
    return call
answer`)(EDGEREST_URL, EDGEREST_TOKEN, Number(TIMEOUT_MS) / 1000)

const server = createServer(async (request, response) => {
  const body = (await request.toArray()).join('')
  const [status, data] = JSON.parse(
    await answer(request.method, request.url.slice(1), body, request.headers['edgerest-url'] ?? ''),
  )
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(data))
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`))
