"""Discord, as far as a bot needs it: its gateway and its REST API on loopback, for a discord.py that is told so."""

import asyncio
import json
from contextlib import asynccontextmanager

import discord
import yarl
from aiohttp import WSMsgType, web

TOKEN = "a-token-of-the-tests"
#: Larger than what JavaScript keeps exactly, as all ids of Discord are.
GUILD, CHANNEL, DM_CHANNEL, USER, BOT = (str(1_187_000_000_000_000_000 + number) for number in range(1, 6))
_USER = {"id": USER, "username": "pingu", "discriminator": "0", "avatar": None}
_BOT = {"id": BOT, "username": "a-bot", "discriminator": "0", "avatar": None, "bot": True}


def _json(value, status=200):
    """Of this very type: discord.py takes "application/json; charset=utf-8" for text."""
    return web.Response(body=json.dumps(value).encode(), status=status, content_type="application/json")


class FakeDiscord:
    """One guild with one channel, and one user, who can type. ``said`` has what bots have sent, with its answers."""

    def __init__(self):
        self.said = []
        self.typing = []
        self._gateway = None
        self._identified = asyncio.Event()
        self._next_id = int(BOT) + 1_000

    @asynccontextmanager
    async def serve(self, monkeypatch):
        """Serves on a free port, and sends discord.py there."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/users/@me", self._me),
                web.get("/api/oauth2/applications/@me", self._application),
                web.post("/api/channels/{channel}/typing", self._hear_typing),
                web.post("/api/channels/{channel}/messages", self._hear),
                web.get("/gateway", self._talk),
                web.get("/gateway/", self._talk),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api")
        gateway = yarl.URL(f"ws://127.0.0.1:{port}/gateway")
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
        try:
            yield self
        finally:
            await runner.cleanup()

    async def type(self, text, direct=False, author=None):
        """The user types a message; returns its id."""
        await self._identified.wait()
        message = self._message(text, author or _USER, DM_CHANNEL if direct else CHANNEL)
        if not direct:
            message.update(guild_id=GUILD, member={"roles": [], "joined_at": None, "flags": 0})
        await self._dispatch("MESSAGE_CREATE", message)
        return message["id"]

    async def type_as_a_bot(self, text):
        return await self.type(text, author={**_USER, "id": str(int(BOT) + 1), "bot": True})

    def _message(self, text, author, channel):
        self._next_id += 1
        return {
            "id": str(self._next_id),
            "channel_id": channel,
            "author": author,
            "content": text,
            "type": 0,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "pinned": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
        }

    # --- What bots call ---

    async def _me(self, request):
        if request.headers["Authorization"] != f"Bot {TOKEN}":
            return _json({"message": "401: Unauthorized", "code": 0}, status=401)
        return _json(_BOT)

    async def _application(self, request):
        return _json(
            {
                "id": BOT,
                "name": "a-bot",
                "description": "",
                "icon": None,
                "bot_public": False,
                "flags": 0,
                "bot_require_code_grant": False,
                "verify_key": "",
                "owner": _USER,
                "team": None,
                "rpc_origins": [],
            }
        )

    async def _hear_typing(self, request):
        self.typing.append(request.match_info["channel"])
        return web.Response(status=204)

    async def _hear(self, request):
        heard = {"channel": request.match_info["channel"], "files": {}}
        if request.content_type == "application/json":
            heard.update(await request.json())
        else:
            async for part in await request.multipart():
                if part.filename:
                    heard["files"][part.filename] = (await part.read()).decode()
                else:
                    heard.update(json.loads(await part.text()))
        self.said.append(heard)
        return _json(self._message(heard["content"], _BOT, heard["channel"]))

    async def _talk(self, request):
        self._gateway = socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 45_000}})
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.json()["op"] == 2:
                await self._begin()
            elif message.type is WSMsgType.TEXT and message.json()["op"] == 1:
                await socket.send_json({"op": 11})
        return socket

    async def _begin(self):
        me = {"session_id": "s", "resume_gateway_url": "ws://127.0.0.1:9", "user": _BOT, "v": 10}
        await self._dispatch("READY", {**me, "guilds": [], "application": {"id": BOT, "flags": 0}})
        channel = {"id": CHANNEL, "type": 0, "name": "general", "position": 0, "permission_overwrites": []}
        members = [{"user": _BOT, "roles": [], "joined_at": None, "flags": 0}]
        guild = {"id": GUILD, "name": "Penguins", "owner_id": USER, "roles": [], "emojis": [], "features": []}
        more = {"members": members, "channels": [channel], "member_count": 1, "stickers": [], "threads": []}
        await self._dispatch("GUILD_CREATE", {**guild, **more, "unavailable": False})
        self._identified.set()

    async def _dispatch(self, event, data):
        await self._gateway.send_json({"op": 0, "t": event, "s": 1, "d": data})
