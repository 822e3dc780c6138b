"""The Dockerfile language and its translation, without I/O.

`dockerfile/` turns bytes into stages of typed instructions; `to_llb/` turns stages into operations;
`context` and `options` read what the client asked for. Whatever has to be asked of the build (read a file,
resolve an image) is yielded as a request of `requests` and comes back as the value of the yield.
"""

__all__: list[str] = []
