"""What a request means, what a client is shown, who is attached, what is remembered. Pure and synchronous."""

__all__: list[str] = []
