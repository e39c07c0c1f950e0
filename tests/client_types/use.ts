import { PostgrestClient } from '@supabase/postgrest-js'
import { Constants } from './database'
import type { Database, Enums, Json, Tables, TablesInsert, TablesUpdate } from './database'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_: Same<A, B>): void {}

const client = new PostgrestClient<Database, { PostgrestVersion: '14.0' }, 'api'>('http://localhost', {
  schema: 'api',
})

const task: Tables<'tasks'> | null = null as Tables<'tasks'> | null
const insert: TablesInsert<'tasks'> = { project_id: 1, title: 'x' }
const update: TablesUpdate<{ schema: 'api' }, 'tasks'> = { title: 'y' }
const status: Enums<'task_status'> = Constants.api.Enums.task_status[0]
// @ts-expect-error -- not a label
const wrong: Enums<'task_status'> = 'nothing'
// @ts-expect-error -- no title
const short: TablesInsert<'tasks'> = { project_id: 1 }
// @ts-expect-error -- PostgreSQL alone writes it
const generated: TablesInsert<'tasks'> = { project_id: 1, title: 'x', search: 'a' }

export async function run() {
  const tasks = await client.from('tasks').select('id,title,status,metadata,due_date')
  if (tasks.data) same<(typeof tasks.data)[number], { id: number; title: string; status: Enums<'task_status'>; metadata: Json; due_date: string | null }>(true)
  const embeds = await client.from('tasks').select('id,projects(name),comments(content,users(handle))')
  if (embeds.data) {
    same<(typeof embeds.data)[number]['projects'], { name: string }>(true)
    same<(typeof embeds.data)[number]['comments'][number]['users'], { handle: string }>(true)
  }
  const one = await client.from('projects').select('name,tasks(title)').eq('id', 1).single()
  if (one.data) same<typeof one.data, { name: string; tasks: { title: string }[] }>(true)
  // @ts-expect-error -- no such table
  await client.from('nothing').select()
  // @ts-expect-error -- no such column
  await client.from('tasks').insert({ project_id: 1, title: 'x', nothing: 1 })
  const found = await client.rpc('search_tasks', { query: 'a' }).select('id')
  if (found.data) same<(typeof found.data)[number], { id: number }>(true)
  const progress = await client.rpc('project_progress', { project_id: 1 })
  if (progress.data) same<(typeof progress.data)[number], { total: number; done: number; percent: number }>(true)
  // @ts-expect-error -- an argument is missing
  await client.rpc('project_progress', {})
  const view = await client.from('open_tasks').select('deadline')
  if (view.data) same<(typeof view.data)[number], { deadline: string | null }>(true)
  return [task, insert, update, status, wrong, short, generated]
}
