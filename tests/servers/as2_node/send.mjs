// `as2_node.sh send`: posts one file by libas2, waits for its MDN on either way, and says what happened.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { block, CIPHERS, DIGESTS, libas2, pairs, parse, post, readBody, reportFields, sideOf, wire } from './messages.mjs'

const text = { type: 'string' }
const flag = { type: 'boolean', default: false }

export async function send (args) {
  const { values: options } = parseArgs({
    args,
    options: {
      'to-url': text, from: text, to: text, key: text, cert: text, 'partner-cert': text, file: text, 'file-name': text,
      'content-type': { ...text, default: 'application/octet-stream' },
      cipher: { ...text, default: 'aes256-cbc' },
      digest: { ...text, default: 'sha256' },
      mdn: { ...text, default: 'sync-signed' },
      'no-sign': flag, 'no-encrypt': flag, 'message-id': text, save: text, 'mdn-out': text,
      timeout: { ...text, default: '60' }
    }
  })
  const seconds = Number(options.timeout)
  const receipts = options.mdn.startsWith('async') ? await listen() : null
  const digest = watchDigest()
  const { message, headers, body } = await build(options, receipts)
  if (options.save) writeFileSync(options.save, Buffer.concat([block(headers), body]))
  const data = readFileSync(options.file)
  const result = {
    message_id: message.messageId(), mic: digest.made?.toString('base64') ?? null,
    sha256: createHash('sha256').update(data).digest('hex'), length: data.length,
    http_status: null, disposition: null, mdn_way: null, mdn_posts: null, mdn_before_answer: null, mdn_signed: null,
    mdn_verified: null, mdn_mic: null, mic_matched: null, original_message_id_matched: null, mdn: null, error: null
  }
  try {
    const answer = await post(options['to-url'], headers, body, seconds)
    result.http_status = answer.status
    let mdn = answer.status === 200 && answer.body.length > 0 ? answer : null
    result.mdn_way = mdn ? 'sync' : null
    if (receipts) {
      result.mdn_before_answer = receipts.posts.length > 0
      if (receipts.posts.length === 0 && answer.status < 300) await Promise.race([once(receipts, 'mdn'), later(seconds)])
      result.mdn_posts = receipts.posts.map(() => 200)
      if (receipts.posts.length > 0) [mdn, result.mdn_way] = [receipts.posts[0], 'async']
    }
    if (options['mdn-out']) {
      writeFileSync(options['mdn-out'], Buffer.concat([block((mdn ?? answer).headers), (mdn ?? answer).body]))
      result.mdn = options['mdn-out']
    }
    if (mdn) await checkMdn(result, mdn, options)
  } catch (error) {
    result.error = `${error.name}: ${error.message}`
  }
  console.log(JSON.stringify(result))
  const accepted = result.http_status >= 200 && result.http_status < 300
  const well = accepted && (options.mdn === 'none' || (
    (result.disposition ?? '').toLowerCase().endsWith('; processed') && result.mic_matched !== false && result.mdn_verified !== false))
  process.exit(well ? 0 : 1)
}

const later = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000))

/** Where the MDN is delivered that was asked for at another address. */
async function listen () {
  const server = http.createServer(async (request, answer) => {
    server.posts.push({ headers: pairs(request.rawHeaders), body: await readBody(request) })
    answer.writeHead(200, { 'Content-Length': 0 }).end()
    server.emit('mdn')
  })
  server.posts = []
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** Remembers the digest that libas2 signs; it tells nobody by itself. */
function watchDigest () {
  const watched = {}
  const { sign } = libas2.AS2SignedData.prototype
  libas2.AS2SignedData.prototype.sign = async function (options) {
    const signed = await sign.call(this, options)
    watched.made = this.getMessageDigest().digest
    return signed
  }
  return watched
}

async function build (options, receipts) {
  const host = {
    ...sideOf('us', options.from, options.key, options.cert),
    sign: options['no-sign'] ? false : DIGESTS[options.digest],
    decrypt: true
  }
  if (options.mdn !== 'none') {
    host.mdn = { async: Boolean(receipts), signing: options.mdn.endsWith('-signed') ? DIGESTS[options.digest] : false }
    if (receipts) host.url = `http://127.0.0.1:${receipts.address().port}/mdn`
  }
  const partner = {
    ...sideOf('them', options.to, null, options['partner-cert']),
    file: 'XML', verify: true,
    encrypt: options['no-encrypt'] ? false : CIPHERS[options.cipher]
  }
  const content = readFileSync(options.file)
  const composer = new libas2.AS2Composer({
    message: {
      filename: options['file-name'] ?? basename(options.file),
      contentType: options['content-type'],
      content: options['content-type'].startsWith('text/') ? content.toString() : content
    },
    agreement: { host, partner },
    additionalHeaders: options['message-id'] ? [{ key: 'Message-ID', value: options['message-id'] }] : []
  })
  const message = await composer.compile()
  const { headers, body } = await wire(message)
  // libas2 asks for an MDN's signature in any case: "optional" is not "unsigned".
  const asked = options.mdn.endsWith('-unsigned') ? headers.filter(([name]) => name.toLowerCase() !== 'disposition-notification-options') : headers
  return { message, headers: asked, body }
}

async function checkMdn (result, mdn, options) {
  const node = await parse(mdn.headers, mdn.body)
  const fields = reportFields(node)
  result.disposition = fields.disposition ?? null
  result.mdn_signed = node.signed === true
  result.mdn_mic = fields['received-content-mic'] ?? null
  result.original_message_id_matched = (fields['original-message-id'] ?? '') === result.message_id
  if (result.mdn_mic && result.mic) result.mic_matched = result.mdn_mic.split(',')[0].trim() === result.mic
  if (!result.mdn_signed) {
    if (options.mdn.endsWith('-signed')) result.mdn_verified = false
    return
  }
  try {
    const read = await node.dispositionIn({ cert: readFileSync(options['partner-cert']) })
    result.mdn_verified = read.notification !== undefined
  } catch (error) {
    result.mdn_verified = false
    result.error = error.message
  }
}
