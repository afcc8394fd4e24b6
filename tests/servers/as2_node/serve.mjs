// `as2_node.mjs serve`: an AS2 partner on libas2 behind node's HTTP server.

import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { block, encryptionOf, field, isEncrypted, libas2, pairs, parse, post, readBody, signatureOf, sideOf, wire } from './messages.mjs'

// What the peer can be told to do with a message, with what it does when not told; README.md.
const BEHAVIOUR = { mdn: 'asked', status: 200, duplicate: 'stored', async: 'after', times: null }
const BESIDE = ['partner', 'partner_cert', 'reset', 'release']

const unquoted = name => (name ?? '').trim().replace(/^"(.*)"$/s, '$1').replace(/\\(.)/g, '$1')

class Peer {
  constructor (options) {
    this.options = options
    this.directory = options.dir
    this.partner = options.partner
    this.partnerCertificate = options['partner-cert']
    this.standing = { ...BEHAVIOUR }
    this.next = []
    this.number = 0
    this.answers = new Map() // Message-ID → the first MDN
    this.held = []
    this.tell(JSON.parse(options.behaviour))
  }

  async tell (told) {
    const unknown = Object.keys(told).filter(name => !(name in BEHAVIOUR) && !BESIDE.includes(name))
    if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}`)
    const { partner, partner_cert: certificate, reset, release, ...behaviour } = told
    if (reset) [this.standing, this.next] = [{ ...BEHAVIOUR }, []]
    this.partner = partner ?? this.partner
    this.partnerCertificate = certificate ?? this.partnerCertificate
    if (behaviour.times) this.next.push({ ...this.standing, ...behaviour })
    else Object.assign(this.standing, behaviour)
    if (release) for (const receipt of this.held.splice(0)) await this.postReceipt(receipt)
  }

  state () {
    const { partner, partnerCertificate, standing, next, number, held } = this
    return { partner, partner_cert: partnerCertificate, standing, next, messages: number, held: held.length }
  }

  behaviour () {
    const first = this.next[0]
    if (!first) return { ...this.standing }
    first.times -= 1
    if (first.times <= 0) this.next.shift()
    return { ...first }
  }

  dump (path, bytes) {
    const whole = join(this.directory, path)
    mkdirSync(join(whole, '..'), { recursive: true })
    writeFileSync(whole, bytes)
    return whole
  }

  record (file, line) {
    appendFileSync(join(this.directory, file), JSON.stringify(line) + '\n')
  }

  /** What the message demands of both sides, as libas2 wants it: it does not find out by itself. */
  async agreement (node, headers, behaviour) {
    const host = { ...sideOf('us', this.options.name, this.options.key, this.options.cert), sign: true, decrypt: isEncrypted(node) }
    let inner = node
    if (host.decrypt) {
      inner = await node.decrypt({ cert: host.certificate, key: host.privateKey }).catch(() => undefined)
    }
    const partner = { ...sideOf('them', this.partner, null, this.partnerCertificate), file: 'XML', encrypt: true, verify: inner?.signed === true }
    const options = field(headers, 'disposition-notification-options') ?? ''
    const wantsSignature = behaviour.mdn === 'signed' || (behaviour.mdn === 'asked' && options.includes('signed-receipt-protocol'))
    const asked = ['sha-1', 'sha-256', 'sha-384', 'sha-512'].find(digest => options.split(/[;,=\s]+/).some(word => word.replace('-', '') === digest.replace('-', '')))
    partner.mdn = { async: false, signing: wantsSignature ? asked ?? 'sha-256' : false }
    return { inner, agreement: { host, partner } }
  }

  /** One message: stored, read, recorded. Gives the answer, and what is to be done after it was given. */
  async receive (headers, body, behaviour) {
    this.number += 1
    const number = String(this.number).padStart(6, '0')
    const record = {
      number: this.number, at: Date.now() / 1000, behaviour,
      raw: this.dump(join('raw', `${number}.message`), Buffer.concat([block(headers), body])), raw_length: body.length,
      raw_sha256: createHash('sha256').update(body).digest('hex')
    }
    if (behaviour.status !== 200) return this.answer(record, 'status', { status: behaviour.status, headers: [], body: Buffer.from('told to refuse\n') })
    const [from, to] = [unquoted(field(headers, 'as2-from')), unquoted(field(headers, 'as2-to'))]
    const id = field(headers, 'message-id')
    Object.assign(record, { message_id: id?.replace(/^<|>$/g, ''), from, to, headers, options: field(headers, 'disposition-notification-options') ?? null })
    if (from !== this.partner || to !== this.options.name) {
      return this.answer(record, 'status', { status: 403, headers: [], body: Buffer.from(`no agreement from ${from} to ${to}\n`) })
    }
    const seen = this.answers.get(id)
    record.duplicate = seen !== undefined
    if (seen && behaviour.duplicate === 'stored') return this.deliver(record, headers, behaviour, seen, 'stored mdn')

    const node = await parse(headers, body)
    const { inner, agreement } = await this.agreement(node, headers, behaviour)
    const { contentNode, dispositionNode, disposition } = await node.dispositionOut({ agreement: libas2.getAgreementOptions(agreement) })
    const { processed, description } = disposition.notification.disposition
    Object.assign(record, {
      status: processed ? 'processed' : 'failed', error: description?.text ?? null,
      encrypted: agreement.host.decrypt, signed: inner?.signed === true, compressed: false, ...encryptionOf(node), ...signatureOf(inner),
      mic: disposition.notification.receivedContentMic?.mic ?? null
    })
    if (processed) this.store(record, contentNode, number)
    if (behaviour.mdn === 'none' || (behaviour.mdn === 'asked' && !field(headers, 'disposition-notification-to'))) {
      return this.answer(record, 'empty', { status: 200, headers: [], body: Buffer.alloc(0) })
    }
    const mdn = await wire(dispositionNode)
    if (processed && !seen) this.answers.set(id, mdn)
    record.mdn = this.dump(join('raw', `${number}.mdn`), Buffer.concat([block(mdn.headers), mdn.body]))
    return this.deliver(record, headers, behaviour, mdn, 'mdn')
  }

  store (record, node, number) {
    let bytes = node.content ?? Buffer.alloc(0)
    // The line end before a boundary belongs to the boundary; libas2 leaves it with what it did not have to decode.
    const decoded = ['base64', 'quoted-printable'].includes((node.getHeader('content-transfer-encoding') ?? '').toLowerCase())
    if (record.signed && !decoded && bytes.subarray(-2).toString() === '\r\n') bytes = bytes.subarray(0, -2)
    const name = /filename="?([^";]*)"?/i.exec(node.getHeader('content-disposition') ?? '')?.[1] ?? null
    const safe = (name ?? 'payload-0').replace(/[/\0]/g, '_')
    const file = {
      file_name: node.filename ?? name, path: this.dump(join('inbox', number, safe), bytes), length: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'), content_type: (node.contentType ?? '').split(';')[0]
    }
    Object.assign(record, { files: [file], file_name: file.file_name, sha256: file.sha256, length: file.length })
  }

  /** The MDN in the answer, or at the URL that was asked for. */
  async deliver (record, headers, behaviour, mdn, said) {
    const url = field(headers, 'receipt-delivery-option')
    if (!url || behaviour.async === 'sync') return this.answer(record, said, { status: 200, ...mdn })
    record.mdn_url = url
    const receipt = { url, mdn, id: record.message_id }
    const empty = { status: 200, headers: [], body: Buffer.alloc(0) }
    if (behaviour.async === 'held') this.held.push(receipt)
    if (behaviour.async === 'before') await this.postReceipt(receipt)
    return this.answer(record, said, empty, behaviour.async === 'after' ? () => this.postReceipt(receipt) : undefined)
  }

  async postReceipt ({ url, mdn, id }) {
    const line = { at: Date.now() / 1000, message_id: id, url, http_status: null, answer: null, error: null }
    try {
      const answer = await post(url, mdn.headers, mdn.body, 30)
      Object.assign(line, { http_status: answer.status, answer: answer.body.toString('latin1') })
    } catch (error) {
      line.error = `${error.name}: ${error.message}`
    }
    this.record('mdns.jsonl', line)
  }

  /** Recorded before it goes out. */
  answer (record, said, answer, afterwards) {
    this.record('received.jsonl', { ...record, answer: said, http_status: answer.status })
    return { ...answer, afterwards }
  }
}

export function serve (args) {
  const text = { type: 'string' }
  const { values: options } = parseArgs({
    args,
    options: {
      dir: text, port: { ...text, default: '0' }, name: { ...text, default: 'PEER' }, partner: { ...text, default: 'WAYBILL' },
      'partner-cert': text, key: text, cert: text, behaviour: { ...text, default: '{}' }
    }
  })
  const peer = new Peer(options)
  const control = async body => {
    if (body) await peer.tell(JSON.parse(body))
    return peer.state()
  }
  const server = http.createServer(async (request, response) => {
    const body = await readBody(request)
    if (request.url === '/control') {
      const [status, said] = await control(request.method === 'POST' && body.toString()).then(state => [200, state], error => [400, { error: error.message }])
      const line = JSON.stringify(said) + '\n'
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(line) }).end(line)
      return
    }
    let answer
    try {
      answer = await peer.receive(pairs(request.rawHeaders), body, peer.behaviour())
    } catch (error) { // libas2's own, for what it does not understand
      console.error(error)
      answer = { status: 500, headers: [], body: Buffer.from('the peer failed; see its log\n') }
    }
    for (const [name, value] of answer.headers) response.setHeader(name, value)
    response.setHeader('Content-Length', answer.body.length)
    response.writeHead(answer.status).end(answer.body, answer.afterwards)
  })
  server.on('error', error => {
    console.error(error.code === 'EADDRINUSE' ? 'address already in use' : error)
    process.exit(1)
  })
  server.listen(Number(options.port), '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
}
