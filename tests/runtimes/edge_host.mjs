// Serves a function in Vercel's Edge Runtime: node edge_host.mjs FUNCTION; prints its URL.
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [example] = process.argv.slice(2)
const require = createRequire(join(process.cwd(), 'package.json'))
const { EdgeRuntime, runServer } = require('edge-runtime')
const { build } = require('esbuild')

// What Vercel makes of a function: one script that listens to `fetch`.
const contents = `import handler from ${JSON.stringify(example)}
addEventListener('fetch', (event) => event.respondWith(handler(event.request)))`
const { outputFiles } = await build({
  stdin: { contents, resolveDir: process.cwd() },
  bundle: true,
  format: 'iife',
  nodePaths: [join(process.cwd(), 'node_modules')],
  write: false,
})
const { EDGEREST_URL, TIMEOUT_MS } = process.env
const runtime = new EdgeRuntime({
  initialCode: outputFiles[0].text,
  extend: (context) =>
    Object.assign(context, { process: { env: { EDGEREST_URL, TIMEOUT_MS } } }),
})
const server = await runServer({ runtime, host: '127.0.0.1' })
console.log(server.url)
