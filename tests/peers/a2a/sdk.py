"""The official Python SDK as a buyer.

    sdk.py URL BINDING JOB    with the API key in TENDER_KEY; JOB is a job's JSON

It buys the job twice, streaming and blocking, and declines and cancels two more. On success it prints one line of JSON;
what it did not expect is an AssertionError.
"""

import asyncio
import base64
import json
import os
import sys
import uuid

import httpx
from a2a.client.client import ClientConfig
from a2a.client.client_factory import create_client
from a2a.types import a2a_pb2 as a2a
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

QUOTED = a2a.TaskState.TASK_STATE_INPUT_REQUIRED
COMPLETED = a2a.TaskState.TASK_STATE_COMPLETED
CANCELED = a2a.TaskState.TASK_STATE_CANCELED


def message(part, task=None):
    said = a2a.Message(role=a2a.Role.ROLE_USER, message_id=str(uuid.uuid4()), parts=[part])
    if task is not None:
        said.task_id, said.context_id = task.id, task.context_id
    return a2a.SendMessageRequest(message=said)


def job(text):
    return a2a.Part(data=json_format.Parse(text, Value()))


def words(text):
    return a2a.Part(text=text)


async def all_of(events):
    return [event async for event in events]


def state_of(event):
    kind = event.WhichOneof('payload')
    if kind == 'task':
        return event.task.status.state
    return event.status_update.status.state if kind == 'status_update' else None


async def one_task(client, request):
    """The answer to a blocking send."""
    (event,) = await all_of(client.send_message(request))
    assert event.WhichOneof('payload') == 'task', event
    return event.task


def quote_of(status):
    text, data = status.message.parts
    assert 'yes' in text.text, status
    return json_format.MessageToDict(data.data)['quote']['amount_micro_usd']


async def buy_streaming(client, asked):
    quoted = await all_of(client.send_message(message(job(asked))))
    task = quoted[0].task
    assert quoted[0].WhichOneof('payload') == 'task' and state_of(quoted[-1]) == QUOTED, quoted
    price = quote_of(task.status)
    events = await all_of(client.send_message(message(words('yes'), task)))
    assert events[0].WhichOneof('payload') == 'task', events
    assert state_of(events[-1]) == COMPLETED, events
    return task.id, price, [state_of(event) for event in events if state_of(event) is not None]


async def main(url, binding, asked):
    def config(streaming):
        # A blocking send may last as long as the work.
        http = httpx.AsyncClient(headers={'X-API-Key': os.environ['TENDER_KEY']}, timeout=60 if not streaming else 5)
        return ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=streaming)

    client = await create_client(url, client_config=config(True))
    bought, price, states = await buy_streaming(client, asked)
    done = await client.get_task(a2a.GetTaskRequest(id=bought))
    assert done.status.state == COMPLETED, done
    output = done.artifacts[0].parts[0].raw

    blocking = await create_client(url, client_config=config(False))
    task = await one_task(blocking, message(job(asked)))
    assert task.status.state == QUOTED, task
    again = await one_task(blocking, message(words('yes'), task))
    assert (again.id, again.status.state) == (task.id, COMPLETED), again
    assert again.artifacts[0].parts[0].raw == output, again

    declined = await one_task(blocking, message(job(asked)))
    declined = await one_task(blocking, message(words('no'), declined))
    assert declined.status.state == CANCELED, declined

    # A quote that is followed by a second connection ends there when it is cancelled.
    parked = await one_task(blocking, message(job(asked)))
    followed = client.subscribe(a2a.SubscribeToTaskRequest(id=parked.id))
    first = await anext(followed)
    assert first.task.status.state == QUOTED, first
    cancelled = await blocking.cancel_task(a2a.CancelTaskRequest(id=parked.id))
    assert cancelled.status.state == CANCELED, cancelled
    assert state_of((await all_of(followed))[-1]) == CANCELED

    listed = await client.list_tasks(a2a.ListTasksRequest(page_size=2))
    assert (listed.total_size, len(listed.tasks)) == (4, 2) and listed.next_page_token, listed
    rest = await client.list_tasks(a2a.ListTasksRequest(page_size=50, page_token=listed.next_page_token))
    ids = [task.id for task in [*listed.tasks, *rest.tasks]]
    assert sorted(ids) == sorted([bought, task.id, declined.id, parked.id]) and not rest.next_page_token, rest

    for refused, call in (
        (TaskNotFoundError, client.get_task(a2a.GetTaskRequest(id='0b8ddf5c-1a4e-4b7e-9a3b-0d2f4d7c1e11'))),
        (TaskNotCancelableError, client.cancel_task(a2a.CancelTaskRequest(id=bought))),
    ):
        try:
            answer = await call
        except refused:
            continue
        raise AssertionError(f'{refused.__name__} was expected, not {answer}')

    names = [a2a.TaskState.Name(state) for state in states]
    print(json.dumps({'price': price, 'states': names, 'output': base64.b64encode(output).decode()}))


asyncio.run(main(*sys.argv[1:]))
