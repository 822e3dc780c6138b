"""Pure rules of exporting: attributes, annotations, epochs, image documents, archive layout. No I/O."""

__all__: list[str] = []
