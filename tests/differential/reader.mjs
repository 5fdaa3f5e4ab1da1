// Reads bodies with the parsers of Node: see run.py for the protocol.

import { Readable } from 'node:stream';
import readline from 'node:readline';
import bodyParser from 'body-parser';
import busboy from 'busboy';
import fastifyBusboy from '@fastify/busboy';
import formidable from 'formidable';
import multiparty from 'multiparty';
import { readFile } from 'node:fs/promises';

const member = (value) =>
  value !== null && typeof value === 'object' && !Array.isArray(value) && typeof value.model === 'string' ? [value.model] : [];

function request(type, body) {
  const stream = Readable.from([body]);
  stream.headers = { 'content-length': String(body.length) };
  if (type !== null) stream.headers['content-type'] = type;
  stream.method = 'POST';
  return stream;
}

async function content(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

// Some parsers never end on a body that is cut.
function withinSecond(promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error('late')), 1000)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Values read before an error count.
function byEvents(make) {
  return (type, body) =>
    new Promise((resolve) => {
      const found = [];
      const waits = [];
      const end = () => Promise.allSettled(waits).then(() => resolve(found));
      const parser = make(type);
      parser.on('field', (name, value) => name === 'model' && found.push(value));
      parser.on('file', (name, stream) => {
        stream.on('error', () => {});
        if (name === 'model') waits.push(content(stream).then((text) => found.push(text)));
        else stream.resume();
      });
      for (const event of ['close', 'finish', 'error']) parser.on(event, end);
      setTimeout(end, 500);
      Readable.from([body]).pipe(parser);
    });
}

const readers = {
  'JSON.parse': async (type, body) => member(JSON.parse(body.toString())),
  'body-parser': (type, body) =>
    new Promise((resolve, reject) => {
      const stream = request(type, body);
      bodyParser.json({ type: () => true })(stream, {}, (error) => (error ? reject(error) : resolve(member(stream.body))));
    }),
  busboy: byEvents((type) => busboy({ headers: { 'content-type': type ?? '' } })),
  '@fastify/busboy': byEvents((type) => new fastifyBusboy({ headers: { 'content-type': type ?? '' } })),
  formidable: async (type, body) => {
    const [fields, files] = await formidable({ allowEmptyFiles: true, minFileSize: 0 }).parse(request(type, body));
    const texts = await Promise.all((files.model ?? []).map((file) => readFile(file.filepath, 'utf8')));
    return [fields.model ?? []].flat().concat(texts);
  },
  multiparty: (type, body) =>
    new Promise((resolve) => {
      const found = [];
      const form = new multiparty.Form();
      form.on('field', (name, value) => name === 'model' && found.push(value));
      form.on('part', (part) => {
        part.on('error', () => {});
        if (part.name === 'model') content(part).then((text) => found.push(text));
        else part.resume();
      });
      form.on('error', () => resolve(found));
      form.on('close', () => setImmediate(() => resolve(found)));
      setTimeout(() => resolve(found), 500);
      form.parse(request(type, body));
    }),
  'Response.formData': async (type, body) => {
    const values = (await new Response(body, { headers: { 'content-type': type ?? '' } }).formData()).getAll('model');
    return Promise.all(values.map((value) => (typeof value === 'string' ? value : value.text())));
  },
};

process.on('uncaughtException', () => {});
process.on('unhandledRejection', () => {});
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { type, body } = JSON.parse(line);
  const reads = {};
  for (const [name, read] of Object.entries(readers)) {
    try {
      const models = await withinSecond(read(type, Buffer.from(body, 'base64')));
      reads[name] = models.filter((model) => typeof model === 'string');
    } catch {
      reads[name] = null;
    }
  }
  console.log(JSON.stringify({ reads }));
}
