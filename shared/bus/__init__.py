"""The bus: publish/subscribe, calls, work queues, logs with replay, key-value; `memory://` and `nats://`.

The bus is a hint: losing all of it may cost time, never a wrong result (docs/adr). Ports are in `ports.py`.
"""

__all__: list[str] = []
