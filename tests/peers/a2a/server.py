"""A server made of the official Python SDK with its durable store, to compare with.

    server.py DATABASE    a path for an SQLite file

Every message becomes a stored task that waits for input, as a quote of Tender's does. It listens on a free port of
loopback, prints one line of JSON when it is ready, and ends with its standard input.
"""

import asyncio
import importlib.metadata
import json
import socket
import sys

import uvicorn
from a2a.server.agent_execution.agent_executor import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import DatabaseTaskStore
from a2a.types import a2a_pb2 as a2a
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette


class Quoting(AgentExecutor):
    """Names a price, and waits."""

    async def execute(self, context, event_queue):
        said = a2a.Message(
            role=a2a.Role.ROLE_AGENT,
            message_id=f'{context.task_id}-quote',
            task_id=context.task_id,
            context_id=context.context_id,
            parts=[a2a.Part(text='At most $0.000001; answer `yes` in this task, or `no`.')],
        )
        # One event, so that the task is stored once.
        await event_queue.enqueue_event(
            a2a.Task(
                id=context.task_id,
                context_id=context.context_id,
                status=a2a.TaskStatus(state=a2a.TaskState.TASK_STATE_INPUT_REQUIRED, message=said),
                history=[context.message],
            )
        )

    async def cancel(self, context, event_queue):
        raise NotImplementedError


async def main(database):
    engine = create_async_engine(f'sqlite+aiosqlite:///{database}')

    # As durable as Tender's own: a write-ahead log that is flushed by every commit.
    @event.listens_for(engine.sync_engine, 'connect')
    def durable(connection, _):
        cursor = connection.cursor()
        cursor.execute('PRAGMA journal_mode = WAL')
        cursor.execute('PRAGMA synchronous = FULL')
        cursor.close()

    store = DatabaseTaskStore(engine)
    await store.initialize()
    listener = socket.create_server(('127.0.0.1', 0), backlog=1024)
    url = f'http://127.0.0.1:{listener.getsockname()[1]}'
    card = a2a.AgentCard(
        name='peer',
        description='Compared with.',
        version='1',
        supported_interfaces=[a2a.AgentInterface(url=url, protocol_binding='JSONRPC', protocol_version='1.0')],
        capabilities=a2a.AgentCapabilities(streaming=True),
        default_input_modes=['text/plain', 'application/json'],
        default_output_modes=['text/plain'],
        skills=[a2a.AgentSkill(id='quote', name='Quote', description='Names a price.', tags=['quote'])],
    )
    handler = DefaultRequestHandler(agent_executor=Quoting(), task_store=store, agent_card=card)
    app = Starlette(routes=create_agent_card_routes(card) + create_jsonrpc_routes(handler, '/'))
    server = uvicorn.Server(uvicorn.Config(app, log_level='critical'))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    build = importlib.metadata.version('a2a-sdk')
    python = f'Python {sys.version_info.major}.{sys.version_info.minor}, uvicorn and aiosqlite'
    print(json.dumps({'ready': True, 'engine': 'a2a-sdk', 'build': build, 'adapter': python, 'url': url}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.should_exit = True
    await serving


asyncio.run(main(sys.argv[1]))
