// OpenAI's client for Node: whole, streamed and parsed answers, its own loop over tools, and its exceptions.
import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod'
import { z } from 'zod'

const [REAL, SCRIPTED, PICTURE] = [process.env.REAL, process.env.SCRIPTED, process.env.PICTURE]
const client = new OpenAI({ maxRetries: 0 })
const short = { model: REAL, messages: [{ role: 'user', content: 'hello' }], temperature: 0, max_tokens: 20 }

const whole = (await client.chat.completions.create(short)).choices[0].message.content
let text = ''
for await (const chunk of await client.chat.completions.create({ ...short, stream: true })) text += chunk.choices[0]?.delta?.content ?? ''
assert.equal(text, whole)
assert.equal(await client.chat.completions.stream(short).finalContent(), whole)

const Sight = z.object({ color: z.enum(['red', 'blue']), count: z.number().int(), note: z.string().nullable() })
const content = [{ type: 'text', text: 'What is it?' }, { type: 'image_url', image_url: { url: PICTURE } }]
const asked = { ...short, messages: [{ role: 'user', content }], max_tokens: 200 }
const parsed = await client.chat.completions.parse({ ...asked, response_format: zodResponseFormat(Sight, 'sight') })
Sight.parse(parsed.choices[0].message.parsed)
const tools = [zodFunction({ name: 'note', parameters: Sight })]
const called = await client.chat.completions.parse({ ...asked, tools, tool_choice: 'required', parallel_tool_calls: false })
Sight.parse(called.choices[0].message.tool_calls[0].function.parsed_arguments)

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    function: ({ city }) => `19 degrees in ${city}`,
    parse: JSON.parse,
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}
const question = { model: SCRIPTED, messages: [{ role: 'user', content: "What is the weather in 'Bern'?" }], tools: [weather] }
for (const stream of [false, true]) {
  const runner = client.chat.completions.runTools({ ...question, stream })
  assert.equal(await runner.finalContent(), 'It said: 19 degrees in Bern')
}

await assert.rejects(client.chat.completions.create({ ...short, model: 'gpt-99' }), OpenAI.NotFoundError)
await assert.rejects(client.chat.completions.create({ ...short, temperature: 3 }), { status: 400, param: 'temperature' })
