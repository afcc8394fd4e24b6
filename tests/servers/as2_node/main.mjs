// An AS2 partner on libas2, which shares no code with Waybill: `serve` and `send`; fields and options: ../README.md.

import { send } from './send.mjs'
import { serve } from './serve.mjs'

const [command, ...args] = process.argv.slice(2)
const commands = { send, serve }
if (!(command in commands)) {
  console.error('usage: main.mjs serve|send OPTION...')
  process.exit(2)
}
await commands[command](args)
