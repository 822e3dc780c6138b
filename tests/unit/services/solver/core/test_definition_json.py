"""Definitions as Go's encoding/json writes them."""

from services.solver.core.definition_json import definition_json
from shared.llb import Definition, Metadata
from shared.model import Digest, ProgressGroup


def test_ops_are_base64_and_the_pointer_comes_last() -> None:
    """Fields that are empty are left out."""
    digest = Digest("sha256:" + "0" * 64)
    about = Metadata(ignore_cache=True, description={"b": "2", "a": "1"}, export_cache=False, progress_group=ProgressGroup(id="g"))
    definition = Definition(data={digest: b"op"}, pointer=b"end", metadata={digest: about})
    assert definition_json(definition) == {
        "def": ["b3A=", "ZW5k"],
        "metadata": {
            digest: {"ignore_cache": True, "description": {"a": "1", "b": "2"}, "export_cache": {}, "progress_group": {"id": "g"}}
        },
    }
