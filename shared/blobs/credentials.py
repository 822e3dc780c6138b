"""Keys of an S3 store, where AWS's own programs look for them too."""

import configparser
from collections.abc import Mapping

from shared.errors import InvalidInput

FILE = "AWS_SHARED_CREDENTIALS_FILE"


def credentials(environment: Mapping[str, str]) -> tuple[str, str]:
    """Access key and secret from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else from the profile AWS_PROFILE (`default`) of the file
    AWS_SHARED_CREDENTIALS_FILE; empty ones when nothing is said. Raises InvalidInput for a file that is named and can't be used."""
    key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    path = environment.get(FILE, "")
    if key or not path:
        return key, secret
    profile = environment.get("AWS_PROFILE") or "default"
    file = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        with open(path, encoding="utf-8") as text:
            file.read_file(text)
        return file[profile]["aws_access_key_id"], file[profile]["aws_secret_access_key"]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{FILE}: can't read {path}: {type(error).__name__}") from None
    except (configparser.Error, KeyError):  # the parser's words would show the lines
        raise InvalidInput(f"{FILE}: {path} has no usable profile {profile!r}") from None
