// The AI SDK, with its provider for OpenAI and with the one for servers that speak OpenAI's API.
import assert from 'node:assert/strict'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } from 'ai'
import { z } from 'zod'

const [REAL, SCRIPTED, PICTURE] = [process.env.REAL, process.env.SCRIPTED, process.env.PICTURE]
const where = { baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY }
const compatible = createOpenAICompatible({ ...where, name: 'darkroom', includeUsage: true, supportsStructuredOutputs: true })
const Sight = z.object({ color: z.enum(['red', 'blue']), count: z.number().int() })

for (const provider of [createOpenAI(where).chat, compatible]) {
  const short = { model: provider(REAL), prompt: 'hello', temperature: 0, maxOutputTokens: 20, maxRetries: 0 }
  const whole = await generateText(short)
  const stream = streamText(short)
  let text = ''
  for await (const piece of stream.textStream) text += piece
  assert.equal(text, whole.text)
  assert.deepEqual((await stream.usage).outputTokens, whole.usage.outputTokens)

  const content = [{ type: 'text', text: 'What is it?' }, { type: 'image', image: PICTURE }]
  const asked = { ...short, prompt: undefined, messages: [{ role: 'user', content }], maxOutputTokens: 200 }
  Sight.parse((await generateObject({ ...asked, schema: Sight })).object)
  const objects = streamObject({ ...asked, schema: Sight })
  for await (const _ of objects.partialObjectStream);
  Sight.parse(await objects.object)
  Sight.parse((await generateText({ ...asked, output: Output.object({ schema: Sight }) })).output)

  const tools = {
    get_weather: tool({
      description: 'Get the weather of a city.',
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => `19 degrees in ${city}`,
    }),
  }
  const question = { model: provider(SCRIPTED), prompt: "What is the weather in 'Bern'?", tools, stopWhen: stepCountIs(3), maxRetries: 0 }
  assert.equal((await generateText(question)).text, 'It said: 19 degrees in Bern')
  const told = streamText(question)
  await told.consumeStream()
  assert.equal(await told.text, 'It said: 19 degrees in Bern')
  const forced = await generateText({ ...asked, tools, toolChoice: { type: 'tool', toolName: 'get_weather' } })
  assert.equal(typeof forced.toolCalls[0].input.city, 'string')

  await assert.rejects(generateText({ ...short, temperature: 3 }), { name: 'AI_APICallError', statusCode: 400 })
}
