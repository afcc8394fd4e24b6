// What the sending and the receiving half of the AS2 partner on libas2 share.

import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { createRequire } from 'node:module'

export const libas2 = createRequire(new URL('../../../target/servers/as2_node/package.json', import.meta.url))('libas2')

export const CIPHERS = {
  '3des': 'des-EDE3-CBC',
  'aes128-cbc': 'aes128-CBC', 'aes192-cbc': 'aes192-CBC', 'aes256-cbc': 'aes256-CBC',
  'aes128-gcm': 'aes128-GCM', 'aes192-gcm': 'aes192-GCM', 'aes256-gcm': 'aes256-GCM'
}
export const DIGESTS = { sha1: 'sha-1', sha256: 'sha-256', sha384: 'sha-384', sha512: 'sha-512' }

// Algorithms in the words of our options.
const WORDS = {
  '1.2.840.113549.3.7': '3des',
  '2.16.840.1.101.3.4.1.2': 'aes128-cbc', '2.16.840.1.101.3.4.1.22': 'aes192-cbc', '2.16.840.1.101.3.4.1.42': 'aes256-cbc',
  '2.16.840.1.101.3.4.1.6': 'aes128-gcm', '2.16.840.1.101.3.4.1.26': 'aes192-gcm', '2.16.840.1.101.3.4.1.46': 'aes256-gcm',
  '1.3.14.3.2.26': 'sha1', '2.16.840.1.101.3.4.2.1': 'sha256', '2.16.840.1.101.3.4.2.2': 'sha384', '2.16.840.1.101.3.4.2.3': 'sha512',
  '1.2.840.113549.1.1.7': 'oaep', '1.2.840.113549.1.1.10': 'pss'
}
const word = id => WORDS[id] ?? id

export function sideOf (name, id, key, certificate) {
  const pem = file => file && readFileSync(file)
  return { name, id, url: 'http://127.0.0.1/', certificate: pem(certificate), privateKey: pem(key) }
}

/** A message as libas2's parser takes one of any bytes: a text with a character for each byte. */
export async function parse (headers, body) {
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return libas2.AS2Parser.parse(head + '\r\n' + body.toString('latin1'))
}

/** Header fields as node has them, in pairs. */
export function pairs (rawHeaders) {
  const found = []
  for (let at = 0; at < rawHeaders.length; at += 2) found.push([rawHeaders[at], rawHeaders[at + 1]])
  return found
}

export const field = (headers, name) => headers.find(([known]) => known.toLowerCase() === name)?.[1]

/**
 * Header fields and body of what libas2 composed. It signs a multipart without the line end that it then writes behind it, so
 * that nobody could verify its signed MDNs, itself included: here that line end is left out.
 */
export async function wire (node) {
  const { headers, body } = await node.buildObject()
  const boundary = /boundary="?([^";]+)/.exec(headers['Content-Type'])?.[1]
  return { headers: Object.entries(headers), body: Buffer.from(body.replace(`--\r\n\r\n--${boundary}\r\n`, `--\r\n--${boundary}\r\n`)) }
}

/** Whether a message is encrypted; libas2 misses that where the type stands in quotes. */
export const isEncrypted = node => /smime-type="?(auth-?)?enveloped-data/i.test(node.contentType ?? '')

export const block = headers => Buffer.from(headers.map(([name, value]) => `${name}: ${value}\r\n`).join('') + '\r\n', 'latin1')

/** How a message is encrypted, in the words of our options. */
export function encryptionOf (node) {
  if (!isEncrypted(node)) return { cipher: null, key_transport: null }
  try {
    const { enveloped } = new libas2.AS2EnvelopedData(node.content, true)
    const transport = enveloped.recipientInfos[0].value.keyEncryptionAlgorithm.algorithmId
    return {
      cipher: word(enveloped.encryptedContentInfo.contentEncryptionAlgorithm.algorithmId),
      key_transport: transport === '1.2.840.113549.1.1.1' ? 'pkcs1' : enveloped.recipientInfos[0].variant === 2 ? 'ecdh' : word(transport)
    }
  } catch {
    return { cipher: null, key_transport: null } // another structure, which libas2 cannot read
  }
}

/** How a message is signed, likewise. */
export function signatureOf (node) {
  if (!node?.signed || !node.childNodes[1]) return { digest: null, signature: null }
  const signer = new libas2.AS2SignedData(Buffer.alloc(0), node.childNodes[1].content).signed.signerInfos[0]
  const by = signer.signatureAlgorithm.algorithmId
  const signature = by.startsWith('1.2.840.10045.') ? 'ecdsa' : by.startsWith('1.2.840.113549.1.1.') && word(by) !== 'pss' ? 'pkcs1' : word(by)
  return { digest: word(signer.digestAlgorithm.algorithmId), signature }
}

/** Posts bytes: status, header fields and body of the answer. */
export function post (url, headers, body, seconds) {
  const to = new URL(url)
  const { request } = to.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    const sent = request(to, { method: 'POST', agent: false, rejectUnauthorized: false }, answer => {
      const chunks = []
      answer.on('data', chunk => chunks.push(chunk))
      answer.on('error', reject)
      answer.on('end', () => resolve({ status: answer.statusCode, headers: pairs(answer.rawHeaders), body: Buffer.concat(chunks) }))
    })
    sent.on('error', reject)
    sent.setTimeout(seconds * 1000, () => sent.destroy(new Error(`no answer within ${seconds} s`)))
    for (const [name, value] of headers) sent.setHeader(name, value)
    sent.setHeader('Content-Length', body.length)
    sent.end(body)
  })
}

export function readBody (request) {
  return new Promise((resolve, reject) => {
    const chunks = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('error', reject)
    request.on('end', () => resolve(Buffer.concat(chunks)))
  })
}

/** The fields of an MDN's second part, read by libas2's MIME parser alone. */
export function reportFields (node) {
  const report = libas2.getReportNode(node)
  if (!report) return {}
  const fields = libas2.parseHeaderString(report.childNodes[1].content.toString('latin1'), true)
  return fields
}
