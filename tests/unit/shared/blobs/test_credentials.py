"""Where the keys of an S3 store come from."""

from pathlib import Path

import pytest

from shared.blobs.credentials import credentials
from shared.errors import InvalidInput

FILE = (
    "[default]\naws_access_key_id = key\naws_secret_access_key = se%cret\n\n[other]\naws_access_key_id = k2\naws_secret_access_key = s2\n"
)


def test_the_environment_first(tmp_path: Path) -> None:
    (tmp_path / "aws").write_text(FILE)
    file = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "aws")}

    assert credentials({}) == ("", "")
    assert credentials({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **file}) == ("a", "b")
    assert credentials(file) == ("key", "se%cret")
    assert credentials({**file, "AWS_PROFILE": "other"}) == ("k2", "s2")


@pytest.mark.parametrize("content", [None, "[default]\naws_access_key_id = hidden\n", "hidden", FILE.replace("default", "else")])
def test_an_unusable_file_is_named_and_not_shown(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "aws"
    if content is not None:
        path.write_text(content)

    with pytest.raises(InvalidInput, match=r"AWS_SHARED_CREDENTIALS_FILE: .*aws") as failure:
        credentials({"AWS_SHARED_CREDENTIALS_FILE": str(path)})
    assert "hidden" not in str(failure.value)
