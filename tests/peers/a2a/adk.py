"""google-adk's RemoteA2aAgent as a buyer: a question, its price, and `yes`.

    adk.py URL QUESTION    with the API key in TENDER_KEY

It prints one line of JSON: what the agent said to each of the two turns.
"""

import asyncio
import json
import os
import sys
import warnings

import httpx

warnings.filterwarnings('ignore')

from google.adk.agents.remote_a2a_agent import RemoteA2aAgent  # noqa: E402
from google.adk.runners import InMemoryRunner  # noqa: E402
from google.genai import types  # noqa: E402


async def main(url, question):
    http = httpx.AsyncClient(headers={'X-API-Key': os.environ['TENDER_KEY']}, timeout=60)
    card = f'{url}/.well-known/agent-card.json'
    runner = InMemoryRunner(agent=RemoteA2aAgent(name='seller', agent_card=card, httpx_client=http), app_name='buyer')
    session = await runner.session_service.create_session(app_name='buyer', user_id='somebody')

    async def turn(text):
        said = []
        content = types.Content(role='user', parts=[types.Part(text=text)])
        async for event in runner.run_async(user_id='somebody', session_id=session.id, new_message=content):
            assert not event.error_message, event.error_message
            for part in event.content.parts if event.content and event.content.parts else []:
                if part.function_call:
                    said.append({'asks': part.function_call.args})
                elif part.text and not part.thought:
                    said.append({'text': part.text, 'partial': bool(event.partial)})
        return said

    quote = await turn(question)
    print(json.dumps({'quote': quote, 'answer': await turn('yes')}))


asyncio.run(main(*sys.argv[1:]))
