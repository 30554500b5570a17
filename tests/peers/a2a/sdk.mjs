// The official JavaScript SDK as a buyer.
//
//   node sdk.mjs URL BINDING JOB    with the API key in TENDER_KEY; JOB is a job's JSON
//
// It buys the job twice, streaming and blocking, and cancels one more. On success it prints one line of JSON; what it
// did not expect is an error. TENDER_PEERS names the folder that `cargo xtask test` installed the SDK in.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const sdk = (path) => import(pathToFileURL(join(process.env.TENDER_PEERS, 'node_modules/@a2a-js/sdk/dist', path)).href);
const { ClientFactory, ClientFactoryOptions, JsonRpcTransportFactory, RestTransportFactory, DefaultAgentCardResolver } =
  await sdk('client/index.js');
const { TaskState } = await sdk('index.js');

const [url, binding, job] = process.argv.slice(2);

const fetchImpl = (address, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set('X-API-Key', process.env.TENDER_KEY);
  return fetch(address, { ...init, headers });
};

const factory = new ClientFactory(
  ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
    transports: [new JsonRpcTransportFactory({ fetchImpl }), new RestTransportFactory({ fetchImpl })],
    cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
    preferredTransports: [binding]
  })
);
const client = await factory.createFromUrl(url);

const message = (content, task) => ({
  tenant: '',
  message: {
    messageId: randomUUID(),
    role: 1,
    parts: [{ content, metadata: undefined, filename: '', mediaType: '' }],
    contextId: task?.contextId ?? '',
    taskId: task?.id ?? '',
    extensions: [],
    referenceTaskIds: [],
    metadata: undefined
  },
  configuration: undefined,
  metadata: undefined
});
const asked = () => message({ $case: 'data', value: JSON.parse(job) });
const words = (text, task) => message({ $case: 'text', value: text }, task);
const stateOf = (event) => event.payload?.value?.status?.state;
const nameOf = (state) => `TASK_STATE_${TaskState[state].replace(/^TASK_STATE_/, '')}`;

async function all(events) {
  const seen = [];
  for await (const event of events) seen.push(event);
  return seen;
}

// Streaming.
const quoted = await all(client.sendMessageStream(asked()));
const task = quoted[0].payload.value;
assert.equal(quoted[0].payload.$case, 'task');
assert.equal(nameOf(stateOf(quoted.at(-1))), 'TASK_STATE_INPUT_REQUIRED');
const [said, data] = task.status.message.parts;
assert.match(said.content.value, /yes/);
const events = await all(client.sendMessageStream(words('yes', task)));
assert.equal(events[0].payload.$case, 'task');
const done = await client.getTask({ id: task.id, tenant: '', historyLength: undefined });
assert.equal(nameOf(done.status.state), 'TASK_STATE_COMPLETED');
const output = Buffer.from(done.artifacts[0].parts[0].content.value).toString('base64');

// Blocking.
const second = await client.sendMessage(asked());
assert.equal(nameOf(second.status.state), 'TASK_STATE_INPUT_REQUIRED');
const ended = await client.sendMessage(words('yes', second));
assert.equal(ended.id, second.id);
assert.equal(nameOf(ended.status.state), 'TASK_STATE_COMPLETED');
assert.equal(Buffer.from(ended.artifacts[0].parts[0].content.value).toString('base64'), output);

// A quote that is followed by another request ends there when it is cancelled.
const parked = await client.sendMessage(asked());
const followed = client.resubscribeTask({ id: parked.id, tenant: '' });
const first = await followed.next();
assert.equal(nameOf(stateOf(first.value)), 'TASK_STATE_INPUT_REQUIRED');
const cancelled = await client.cancelTask({ id: parked.id, tenant: '', metadata: undefined });
assert.equal(nameOf(cancelled.status.state), 'TASK_STATE_CANCELED');
assert.equal(nameOf(stateOf((await all(followed)).at(-1))), 'TASK_STATE_CANCELED');

await assert.rejects(client.getTask({ id: randomUUID(), tenant: '', historyLength: undefined }), /not found|no task/i);
await assert.rejects(client.cancelTask({ id: task.id, tenant: '', metadata: undefined }), /cancel/i);

const states = events.map(stateOf).filter((state) => state !== undefined);
console.log(JSON.stringify({ price: data.content.value.quote.amount_micro_usd, states: states.map(nameOf), output }));
