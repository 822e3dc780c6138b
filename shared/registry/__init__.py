"""The distribution client: resolve, pull (resumable, verified) and push, with docker's token auth, mirrors and per-host settings.

`hosts.py` settings per registry · `challenge.py` pure parsing · `auth.py` tokens · `client.py` one host · `registry.py` what services use.
aiohttp is imported when a client is built, never at the top.
"""

__all__: list[str] = []
